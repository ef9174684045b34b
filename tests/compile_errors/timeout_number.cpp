// expect: deleted function
// SPDX-License-Identifier: MIT
#include <plait/threading/event.hpp>

#if defined(NO_MISTAKE)
bool wait(plait::threading::Event& event) { return event.wait(std::chrono::seconds{5}); }
#else
bool wait(plait::threading::Event& event) { return event.wait(5); }  // five of what?
#endif
