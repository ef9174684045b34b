// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Tasks that were cancelled and are waited for: whichever still runs after ten seconds is reported by name, so that a
/// wait without end has a culprit.
class Stragglers {
public:
    static constexpr std::chrono::seconds patience{10};
    static constexpr std::size_t most_named = 10;

    explicit Stragglers(EventLoop& loop) noexcept : loop_{loop} {}
    Stragglers(const Stragglers&) = delete;
    Stragglers& operator=(const Stragglers&) = delete;
    ~Stragglers() {
        if (timer_) timer_->cancel();
    }

    /// Without effect where the loop closes, which waits for nobody, or there is no memory.
    void add(const AnyTask& task) noexcept {
        if (loop_.is_closed()) return;
        try {
            tasks_.push_back(task);
            if (!timer_) timer_ = loop_.call_later(patience, [this] { report(); });
        } catch (...) {
            // Nothing is lost but the report.
        }
    }

private:
    void report() {
        std::size_t left = 0;
        for (const AnyTask& task : tasks_)
            if (!task.done() && ++left <= most_named)
                loop_.call_exception_handler(
                    {"a task still runs ten seconds after it was cancelled, and is waited for", nullptr, task.name()});
        if (left > most_named)
            loop_.call_exception_handler({"and " + std::to_string(left - most_named) + " tasks more", nullptr, {}});
    }

    EventLoop& loop_;
    std::vector<AnyTask> tasks_;
    std::optional<Handle> timer_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
