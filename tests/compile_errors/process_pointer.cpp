// expect: plait: a pointer cannot cross to another process, where its address means nothing
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

void use(int* number);

void start(int number) { plait::multiprocessing::Process child(use, &number); }
