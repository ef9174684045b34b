// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/loop.hpp>

namespace support {

/// Runs a loop pass by pass, and tells where it would sleep for ever. The loop has a manual clock.
class LoopDriver {
public:
    explicit LoopDriver(plait::asyncio::EventLoop& loop) noexcept : loop_{loop} {}

    /// One pass. False, with nothing done, where only another thread could give the loop anything to do.
    bool pass() {
        if (idle()) return false;
        wait_for_pass();
        return true;
    }
    /// One pass, which may wait for another thread.
    void wait_for_pass() {
        const plait::asyncio::detail::RunningScope scope{loop_, Access::running_flag(loop_)};
        core().run_once();
    }
    [[nodiscard]] bool idle() const { return settled() && (core().timers.empty() || core().awaited_outside != 0); }
    /// Whether every task waits, and only time can go on.
    [[nodiscard]] bool settled() const { return core().ready.empty() && !core().mailbox->has_mail(); }
    [[nodiscard]] bool any_task() const { return core().tasks.following != &core().tasks; }
    [[nodiscard]] bool any_timer() const { return !core().timers.empty(); }

private:
    using Access = plait::asyncio::detail::LoopAccess;
    [[nodiscard]] plait::asyncio::detail::LoopCore& core() const { return Access::core(loop_); }

    plait::asyncio::EventLoop& loop_;
};

}  // namespace support
