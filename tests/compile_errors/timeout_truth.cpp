// expect: deleted function
// SPDX-License-Identifier: MIT
#include <plait/threading/lock.hpp>

#if defined(NO_MISTAKE)
bool take(plait::threading::Lock& lock) { return lock.try_acquire(); }
#else
bool take(plait::threading::Lock& lock) { return lock.acquire(false); }  // Python's acquire(blocking=False)
#endif
