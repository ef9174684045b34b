// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract:
//   PollItem{handle, events, ready}   what to watch one handle for, and what was seen: `readable`, `writable`, `hung_up`
//   poll(items, deadline) -> bool     waits until one is ready or the deadline passes; signals do not end it
//   Waker                             `wake()` from any thread makes `handle()` readable until `clear()`; never blocks
//     writing_end(), Waker::wake(end)   for another process, which was given that end, and may close it, but not clear it

#if !defined(_WIN32)
#  include <plait/os/posix/poller.hpp>
#endif
