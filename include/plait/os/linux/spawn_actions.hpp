// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/handle.hpp>

#include <spawn.h>

namespace plait::inline PLAIT_ABI::os {

inline constexpr bool spawn_closes_other_handles = true;

/// After the actions that are there: what is open from `first` on is closed before the program is executed. Returns the
/// error number.
inline int close_others_at_spawn(posix_spawn_file_actions_t& actions, NativeHandle first) noexcept {
    return ::posix_spawn_file_actions_addclosefrom_np(&actions, first);
}

}  // namespace plait::inline PLAIT_ABI::os
