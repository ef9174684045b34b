// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/function.hpp>
#include <plait/core/timeout.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Where other threads leave calls for a loop, and where the loop sleeps when it has nothing to do.
///
/// Held by whoever may still send: it outlives its loop, and a closed one takes nothing more.
/// Threads: `post` from any; everything else from the loop's.
class Mailbox {
public:
    using Mail = plait::detail::MoveOnlyFunction<void()>;

    /// Leaves a call for the loop, and wakes it if it sleeps. False, with nothing done, once the loop is closed.
    template <class F>
    bool post(F&& call) {
        const std::scoped_lock lock{mutex_};
        if (closed_) return false;
        mail_.emplace_back(std::forward<F>(call));
        // Under the mutex, which carries the mail itself: the flag only spares the loop a look into an empty box.
        full_.store(true, std::memory_order_relaxed);
        // Also under the mutex: once it is free the loop may see the mail, end, and let go of the box.
        if (sleeping_) awake_.notify_one();
        return true;
    }

    [[nodiscard]] bool has_mail() const noexcept { return full_.load(std::memory_order_relaxed); }
    /// Exchanges the mail, oldest first, with the empty `mail`.
    void take(std::vector<Mail>& mail) noexcept {
        const std::scoped_lock lock{mutex_};
        mail_.swap(mail);
        full_.store(false, std::memory_order_relaxed);
    }
    /// Sleeps until there is mail or `deadline` has passed.
    void wait(plait::detail::Deadline deadline);
    /// Refuses what comes from now on, and gives back what nobody has read.
    std::vector<Mail> close() noexcept {
        const std::scoped_lock lock{mutex_};
        closed_ = true;
        full_.store(false, std::memory_order_relaxed);
        return std::move(mail_);
    }

private:
    std::atomic<bool> full_{false};  // whether mail_ has anything; written under the mutex
    std::mutex mutex_;               // guards everything below
    std::condition_variable awake_;
    std::vector<Mail> mail_;
    bool sleeping_ = false;
    bool closed_ = false;
};

inline void Mailbox::wait(plait::detail::Deadline deadline) {
    using Clock = plait::detail::Deadline::Clock;
    std::unique_lock lock{mutex_};
    sleeping_ = true;
    while (mail_.empty() && !deadline.has_passed()) {
        if (deadline.is_never()) {
            awake_.wait(lock);
            continue;
        }
        auto until = deadline.time_point();
        if constexpr (!plait::detail::waits_follow_steady_clock) {
            // This wait follows the wall clock, which may be set back meanwhile: look again at least every second.
            until = (std::min)(until, Clock::now() + std::chrono::seconds{1});
        }
        awake_.wait_until(lock, until);
    }
    sleeping_ = false;
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
