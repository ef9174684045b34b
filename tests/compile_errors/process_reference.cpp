// expect: plait: a non-const reference parameter cannot be written back to this process
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

#if defined(NO_MISTAKE)
void increment(const int& number);
#else
void increment(int& number);
#endif

void start(int number) { plait::multiprocessing::Process child(increment, number); }
