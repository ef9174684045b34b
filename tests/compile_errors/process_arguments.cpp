// expect: plait: the arguments do not fit the callable: give one for each parameter
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

void greet(int number, double other);

void start() { plait::multiprocessing::Process child(greet, 1); }
