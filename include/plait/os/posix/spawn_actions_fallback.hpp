// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/handle.hpp>

#include <spawn.h>

namespace plait::inline PLAIT_ABI::os {

inline constexpr bool spawn_closes_other_handles = false;

inline int close_others_at_spawn(posix_spawn_file_actions_t&, NativeHandle) noexcept { return 0; }

}  // namespace plait::inline PLAIT_ABI::os
