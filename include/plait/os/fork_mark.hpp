// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: `ForkMark` tells a process from its copies.
//   ForkMark()                made in a process; does not throw
//   is_copy()                 true in every fork of that process, and in theirs, by whatever call they were made; false in
//                             itself. Cheap enough to be asked each time; from any thread.
// Neither copied nor moved.

#if defined(_WIN32)
#  include <plait/os/windows/fork_mark.hpp>
#else
#  include <plait/os/posix/fork_mark.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/fork_mark.hpp>
#  else
namespace plait::inline PLAIT_ABI::os {
using ForkMark = ForkMarkByNumber;
}  // namespace plait::inline PLAIT_ABI::os
#  endif
#endif
