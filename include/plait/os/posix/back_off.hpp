// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <chrono>

namespace plait::inline PLAIT_ABI::os::detail {

using namespace plait::detail;

/// Pauses between two looks at what another process will change: short ones first, then up to two milliseconds.
class BackOff {
public:
    static constexpr std::chrono::nanoseconds longest = std::chrono::milliseconds{2};

    /// Pauses once, no longer than until `deadline`.
    void pause(Deadline deadline) noexcept {
        if (yields_ < 16) {
            ++yields_;
            ::sched_yield();
            return;
        }
        const auto time = (std::min)(next_, deadline.left().duration());
        next_ = (std::min)(next_ * 2, longest);
        timespec sleep{};
        sleep.tv_nsec = static_cast<long>(time.count());
        ::nanosleep(&sleep, nullptr);  // a signal cuts it short, and there is a look the sooner
    }

private:
    int yields_ = 0;
    std::chrono::nanoseconds next_ = std::chrono::microseconds{50};
};

}  // namespace plait::inline PLAIT_ABI::os::detail
