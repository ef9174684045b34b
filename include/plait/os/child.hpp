// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: one child process, and how it ended.
//   ExitStatus{known, code}             code as Python tells it: negative for a signal; unknown where the host reaped it
//   Child                               move-only; pid(), status(), send_signal(number)
//     reap() -> bool                    whether it has ended; its status is there from then on
//     wait_for_news(deadline)           returns at its end, at the deadline, or now and then: ask reap() again
//     wait(deadline) -> bool            the two, until it has ended or the deadline has passed
//     sentinel()                        a handle that becomes readable at its end
//   fork_child(body) -> Child           a copy of this program that runs `body()` and ends with the code it returns
//   fork_flushed_child(body) -> Child   the same for who holds locks, and has flushed the standard streams before
//   spawn_self(arguments, …) -> Child   a fresh start of this program's executable, given one channel end as handle 3
//   adopt_served_child(pid, watch, news) -> Child   one that a server made for this program
//   ChildReaper                         for a single-threaded parent of many: waits for handles and for deaths at once
//   signal_process_group(child, number) the child and its process group; a stopped one is woken to hear it
// Threads: wait_for_news and sentinel from any; the others one at a time.
// A Child that goes is neither waited for nor ended: that is its owner's policy. Nobody else's child is ever reaped.

#if !defined(_WIN32)
#  include <plait/os/posix/child.hpp>
#  include <plait/os/posix/child_reaper.hpp>
#endif
