// expect: plait: this callable cannot go to another process: a lambda with captures needs this program's memory
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

void start(int number) {
#if defined(NO_MISTAKE)
    plait::multiprocessing::Process child([](int copy) { return copy; }, number);
#else
    plait::multiprocessing::Process child([number] { return number; });
#endif
    child.start();
}
