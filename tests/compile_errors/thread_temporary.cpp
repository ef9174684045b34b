// expect: deleted
// SPDX-License-Identifier: MIT
#include <plait/threading/thread.hpp>

void work();

#if defined(NO_MISTAKE)
void start(plait::threading::Thread& thread) { thread.start(); }
#else
void start() { plait::threading::Thread(work).start(); }  // it would be joined at once
#endif
