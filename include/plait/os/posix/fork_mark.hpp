// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <unistd.h>

namespace plait::inline PLAIT_ABI::os {

/// By the process's number: a system call for each question.
class ForkMarkByNumber {
public:
    ForkMarkByNumber() noexcept = default;
    ForkMarkByNumber(const ForkMarkByNumber&) = delete;
    ForkMarkByNumber& operator=(const ForkMarkByNumber&) = delete;

    [[nodiscard]] bool is_copy() const noexcept { return ::getpid() != maker_; }

private:
    const pid_t maker_ = ::getpid();
};

}  // namespace plait::inline PLAIT_ABI::os
