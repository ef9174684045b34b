// expect: plait: this callable cannot go to another process: a lambda with captures needs this program's memory
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

void start(int number) {
    plait::multiprocessing::Process child([number] { return number; });
    child.start();
}
