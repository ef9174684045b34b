// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/core/config.hpp>

#include <cstdint>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// The request by which a block of code cancels the task that it runs in, itself: made once at most, and taken back at
/// the block's end. Whoever then meets a CancelledError asks `others_left` whether it was another's.
class OwnCancel {
public:
    // A request that is due when the block begins strikes within it, and counts as made there.
    OwnCancel() noexcept
        : task_{*running().task}, requests_before_{task_.cancel_requests() - (task_.cancel_due() ? 1u : 0u)} {}
    OwnCancel(const OwnCancel&) = delete;
    OwnCancel& operator=(const OwnCancel&) = delete;
    ~OwnCancel() { take_back(); }

    [[nodiscard]] TaskBase& task() const noexcept { return task_; }
    [[nodiscard]] bool made() const noexcept { return made_; }
    void make() {
        made_ = true;
        // What others said stays: it may not have been heard yet.
        static const std::string nothing;
        task_.cancel(task_.cancel_requests() != 0 ? task_.cancel_message() : nothing);
    }
    /// Where it has not struck yet it never will.
    void take_back() noexcept {
        if (!made_ || std::exchange(taken_back_, true)) return;
        if (task_.uncancel() <= requests_before_) task_.drop_due_cancel();
    }
    /// Whether others have asked the task to end since the block began; of use once this request is taken back.
    [[nodiscard]] bool others_left() const noexcept { return task_.cancel_requests() > requests_before_; }

private:
    TaskBase& task_;
    std::uint32_t requests_before_;
    bool made_ = false;
    bool taken_back_ = false;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
