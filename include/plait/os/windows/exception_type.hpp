// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <string>

namespace plait::inline PLAIT_ABI::os {

// No compiler's runtime there is asked: some have no call for it.
inline const char* current_exception_type() noexcept { return nullptr; }

inline std::string readable_type(const char* name) { return name != nullptr ? name : "an unknown type"; }

}  // namespace plait::inline PLAIT_ABI::os
