// expect: plait: a non-const reference parameter cannot be written back to this process
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

void increment(int& number);

void start(int number) { plait::multiprocessing::Process child(increment, number); }
