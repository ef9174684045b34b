// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <streambuf>

namespace plait::inline PLAIT_ABI::os {

/// It may be, but nobody can tell.
inline bool is_of_standard_stream(std::streambuf&) noexcept { return false; }

}  // namespace plait::inline PLAIT_ABI::os
