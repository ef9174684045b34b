// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/function.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/report.hpp>
#include <plait/os/process.hpp>

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

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
            if (shared_->finished) return false;
            if (!thread_.joinable()) {
                const os::BlockSignals blocked;
                thread_ = std::thread([shared = shared_] { shared->run(); });
            }
            shared_->waiting.push_back({Pointer::share(&state), std::move(callback)});
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
    struct Entry {
        plait::detail::StatePointer<plait::detail::FutureStateBase> state;
        plait::detail::MoveOnlyFunction<void()> function;
    };
    /// Shared with the thread, which may outlive the pool that one of its callbacks destroys.
    struct Shared {
        std::mutex mutex;
        std::condition_variable news;
        std::deque<Entry> waiting;
        bool finished = false;
        std::thread::id thread = {};

        void run() {
            std::unique_lock lock{mutex};
            thread = std::this_thread::get_id();
            for (;;) {
                while (!waiting.empty()) {
                    Entry entry = std::move(waiting.front());
                    waiting.pop_front();
                    lock.unlock();
                    try {
                        entry.function();
                    } catch (...) {
                        plait::detail::report_unraisable("a future's callback threw", std::current_exception());
                    }
                    entry = Entry{};  // destroyed here, not under the lock: what it captured is the user's
                    lock.lock();
                }
                if (finished) return;
                news.wait(lock);
            }
        }
    };

    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
    std::thread thread_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
