// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstdint>

// Contract: `Mutex` lies in memory that several processes share. It is made once, in its place, and never destroyed; one
// thread of one process owns it, and its owner's death is told to the next.
//   lock(deadline) -> MutexResult     already_mine instead of waiting for oneself
//   try_lock() -> MutexResult         the same without waiting
//   unlock() -> bool                  false, changing nothing, where the calling thread does not own it
//   locked()                          whether somebody owns it, or died with it and nobody has taken it since: a hint
//   owned()                           whether the calling thread does; a forked child does not own what its parent owns
//   owned_by_this_process()           whether one of its threads does
// owner_died: it is the caller's now, as by `acquired`, but its last owner ended, by a signal or by itself, or as a mere
// thread, while it owned it. To die as its owner right after that is no different: the next is told again.

namespace plait::inline PLAIT_ABI::os {

enum class MutexResult : std::uint8_t { acquired, owner_died, timed_out, already_mine };

}  // namespace plait::inline PLAIT_ABI::os

// musl has robust mutexes, but no wait for one by the steady clock.
#if !defined(_WIN32)
#  if defined(__linux__) && defined(__GLIBC__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/mutex.hpp>
#  else
#    include <plait/os/posix/mutex.hpp>
#  endif
#endif
