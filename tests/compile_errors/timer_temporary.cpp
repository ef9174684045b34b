// expect: deleted
// SPDX-License-Identifier: MIT
#include <plait/threading/timer.hpp>

void work();

#if defined(NO_MISTAKE)
void start(plait::threading::Timer& timer) { timer.start(); }
#else
void start() { plait::threading::Timer(std::chrono::seconds{5}, work).start(); }  // it would be cancelled at once
#endif
