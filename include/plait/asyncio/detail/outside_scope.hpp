// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/core/config.hpp>

#include <cstddef>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// For a scope of a coroutine: a manual clock stands, for another process works for the loop.
class OutsideScope {
public:
    explicit OutsideScope(bool applies = true) noexcept : loop_{*running().loop}, count_{applies ? 1U : 0U} {
        loop_.awaited_outside += count_;
    }
    OutsideScope(const OutsideScope&) = delete;
    OutsideScope& operator=(const OutsideScope&) = delete;
    ~OutsideScope() { loop_.awaited_outside -= count_; }

private:
    LoopCore& loop_;
    const std::size_t count_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
