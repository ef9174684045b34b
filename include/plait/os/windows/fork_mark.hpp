// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

namespace plait::inline PLAIT_ABI::os {

/// There are no forks here.
class ForkMark {
public:
    ForkMark() noexcept = default;
    ForkMark(const ForkMark&) = delete;
    ForkMark& operator=(const ForkMark&) = delete;

    [[nodiscard]] static bool is_copy() noexcept { return false; }
};

}  // namespace plait::inline PLAIT_ABI::os
