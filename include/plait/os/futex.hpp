// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstdint>

// Contract: sleeping on a 32-bit word that may lie in memory shared by several processes.
//   futex_wait(word, expected, deadline) -> FutexResult    sleeps if the word is `expected`, until a wake or the deadline
//   futex_wake(word, count) -> std::size_t                 wakes so many sleepers; how many, where the system tells
// A wake is a hint. It may go to a process that is killed before it acts on it, `woken` may be for no reason (a signal,
// say), and without a system call for it a sleeper looks at the word every two milliseconds and nobody is counted. A
// sleeper that is killed is in nobody's way.

namespace plait::inline PLAIT_ABI::os {

enum class FutexResult : std::uint8_t { woken, changed, timed_out };

}  // namespace plait::inline PLAIT_ABI::os

#if !defined(_WIN32)
#  include <plait/os/posix/back_off.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/futex.hpp>
#  else
#    include <plait/os/posix/futex.hpp>
#  endif
#endif
