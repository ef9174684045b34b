// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/core/config.hpp>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// For a scope of a coroutine: a manual clock stands, for another process works for the loop.
class OutsideScope {
public:
    OutsideScope() : loop_{*running().loop} { ++loop_.awaited_outside; }
    OutsideScope(const OutsideScope&) = delete;
    OutsideScope& operator=(const OutsideScope&) = delete;
    ~OutsideScope() { --loop_.awaited_outside; }

private:
    LoopCore& loop_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
