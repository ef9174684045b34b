// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract:
//   PollItem{handle, events, ready}   what to watch one handle for, and what was seen: `readable`, `writable`, `hung_up`
//   poll(items, deadline) -> bool     waits until one is ready or the deadline passes; signals do not end it
//   Waker                             `wake()` from any thread makes `handle()` readable until `clear()`; never blocks
//     writing_end(), Waker::wake(end)   for another process, which was given that end, and may close it, but not clear it
//   Poller                            watches any number of handles, level-triggered; one thread's
//     add(handle, events, stamp)        from now on, for `readable`, `writable` or both
//     change(handle, events, stamp)     instead of what was asked before; the same as add where the system knows it no more
//     remove(handle)                    no more; before it is closed
//     wait(deadline, told)              until one is ready, the deadline has passed, a signal came, or an hour is over:
//                                       then told(handle, stamp, events) for each that is ready; told does not throw

#if !defined(_WIN32)
#  include <plait/os/posix/poller.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/poller.hpp>
#  else
#    include <plait/os/posix/poller_fallback.hpp>
#  endif
#endif
