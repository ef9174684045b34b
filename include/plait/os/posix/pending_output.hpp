// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstdio>

namespace plait::inline PLAIT_ABI::os {

inline bool may_hold_output(std::FILE&) noexcept { return true; }

}  // namespace plait::inline PLAIT_ABI::os
