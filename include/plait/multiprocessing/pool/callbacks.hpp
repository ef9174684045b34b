// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/function.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/process.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// The thread on which a pool's callbacks run, one after the other: they are the user's code, may take their time, and
/// may call the pool. It is there from the first callback on.
class Callbacks {
public:
    Callbacks() = default;
    Callbacks(const Callbacks&) = delete;
    Callbacks& operator=(const Callbacks&) = delete;
    ~Callbacks() { finish(); }

    /// Takes `callback`, and keeps `state` alive for it. False where that cannot be: the caller runs it.
    bool add(plait::detail::FutureStateBase& state, plait::detail::MoveOnlyFunction<void()>& callback) noexcept {
        using Pointer = plait::detail::StatePointer<plait::detail::FutureStateBase>;
        try {
            const std::scoped_lock lock{shared_->mutex};
            if (!is_open()) return false;
            // Room first: what is not taken stays the caller's.
            shared_->waiting.emplace_back();
            shared_->waiting.back() = {Pointer::share(&state), std::move(callback)};
        } catch (...) {
            return false;
        }
        shared_->news.notify_one();
        return true;
    }
    /// Takes `function`, for when `deadline` has passed; `finish` drops it if that is later. False where that cannot be.
    bool add_at(plait::detail::Deadline deadline, plait::detail::MoveOnlyFunction<void()>& function) noexcept {
        const bool is_due = deadline.has_passed();
        try {
            const std::scoped_lock lock{shared_->mutex};
            if (!is_open()) return false;
            if (is_due)
                shared_->waiting.emplace_back().function = std::move(function);
            else
                shared_->later.push_back({deadline, std::move(function)});
        } catch (...) {
            return false;
        }
        shared_->news.notify_one();
        return true;
    }

    /// Runs what waits, and ends the thread. One caller at a time, and none from a callback.
    void finish() noexcept {
        {
            const std::scoped_lock lock{shared_->mutex};
            shared_->finished = true;
        }
        shared_->news.notify_one();
        if (!thread_.joinable()) return;
        if (is_this_thread())
            thread_.detach();  // a callback destroys the pool
        else
            thread_.join();
    }
    /// Whether a callback asks.
    [[nodiscard]] bool is_this_thread() const noexcept {
        const std::scoped_lock lock{shared_->mutex};
        return shared_->thread == std::this_thread::get_id();
    }

private:
    /// Under the mutex: whether something can be added. Throws where the thread cannot be had.
    bool is_open() {
        if (shared_->finished) return false;
        if (!thread_.joinable()) {
            const os::BlockSignals blocked;
            thread_ = std::thread([shared = shared_] { shared->run(); });
        }
        return true;
    }

    struct Entry {
        plait::detail::StatePointer<plait::detail::FutureStateBase> state;
        plait::detail::MoveOnlyFunction<void()> function;
    };
    struct LateEntry {
        plait::detail::Deadline deadline;
        plait::detail::MoveOnlyFunction<void()> function;
    };
    /// Shared with the thread, which may outlive the pool that one of its callbacks destroys.
    struct Shared {
        std::mutex mutex;
        std::condition_variable news;
        std::deque<Entry> waiting;
        std::vector<LateEntry> later;
        bool finished = false;
        std::thread::id thread = {};

        void run() {
            std::unique_lock lock{mutex};
            thread = std::this_thread::get_id();
            for (;;) {
                while (!waiting.empty()) {
                    Entry entry = std::move(waiting.front());
                    waiting.pop_front();
                    run(lock, std::move(entry));
                }
                if (finished) break;
                if (!run_due(lock)) wait_for_news(lock);
            }
            const std::vector<LateEntry> dropped = std::move(later);
            lock.unlock();
        }
        static void run(std::unique_lock<std::mutex>& lock, Entry entry) {
            lock.unlock();
            try {
                entry.function();
            } catch (...) {
                plait::detail::report_unraisable("a future's callback threw", std::current_exception());
            }
            entry = Entry{};  // destroyed here, not under the lock: what it captured is the user's
            lock.lock();
        }
        /// Returns whether a time had come.
        bool run_due(std::unique_lock<std::mutex>& lock) {
            const auto is_due = [](const LateEntry& entry) { return entry.deadline.has_passed(); };
            const auto due = std::find_if(later.begin(), later.end(), is_due);
            if (due == later.end()) return false;
            Entry entry{{}, std::move(due->function)};
            later.erase(due);
            run(lock, std::move(entry));
            return true;
        }
        void wait_for_news(std::unique_lock<std::mutex>& lock) {
            if (later.empty()) return news.wait(lock);
            using plait::detail::Deadline;
            Deadline next = Deadline::never();
            for (const LateEntry& entry : later) next = (std::min)(next, entry.deadline);
            // Where this wait follows the wall clock, it may be set back meanwhile: look again within a second.
            news.wait_until(lock, (std::min)(next.time_point(), Deadline::Clock::now() + std::chrono::seconds{1}));
        }
    };

    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
    std::thread thread_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
