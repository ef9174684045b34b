// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cerrno>
#include <string>
#include <system_error>

namespace plait::inline PLAIT_ABI::os {

/// A failed call of the operating system as an exception: `call` names it and, where that helps, what it was for.
[[noreturn]] inline void throw_system_error(const std::string& call, int error = errno) {
    throw std::system_error(error, std::system_category(), call);
}

}  // namespace plait::inline PLAIT_ABI::os
