// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>

#include <coroutine>
#include <new>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// A task's sleep of a while.
class TimedSleep final : private TimerNode, private Waiter {
public:
    explicit TimedSleep(TaskBase& task) noexcept : task_{task} {}
    ~TimedSleep() {
        if (is_timed()) task_.loop()->timers.remove(*this);
    }
    template <class P>
    void begin(std::coroutine_handle<P> handle, Timeout delay) noexcept {
        task_.loop()->start_timer(*this, delay);
        task_.suspend(handle, this);
    }
    TaskBase& task() const noexcept { return task_; }

private:
    void on_time() noexcept override { task_.wake(); }
    bool cancel_wait() noexcept override {
        task_.loop()->stop_timer(*this);
        return false;
    }

    TaskBase& task_;
};

class SleepAwaiter : public AwaiterBase {
public:
    explicit SleepAwaiter(Timeout delay) noexcept : delay_{delay} {}
    ~SleepAwaiter() {
        if (timed_) sleep_.~TimedSleep();
    }

    static bool await_ready() noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        TaskBase* const task = running().task;
        if (delay_.is_zero()) {
            task_ = task;
            task->suspend(handle, nullptr);
            task->wake();
        } else {
            const Timeout delay = delay_;
            timed_ = true;
            ::new (static_cast<void*>(&sleep_)) TimedSleep(*task);
            sleep_.begin(handle, delay);
        }
    }
    void await_resume() const { (timed_ ? &sleep_.task() : task_)->check_cancelled(); }

private:
    bool timed_ = false;
    union {
        Timeout delay_;
        TaskBase* task_;
        TimedSleep sleep_;
    };
};

/// What `sleep(delay)` gives: nothing happens before it is awaited.
class [[nodiscard("it sleeps only when it is awaited")]] Sleep {
public:
    explicit Sleep(Timeout delay) noexcept : delay_{delay} {}
    SleepAwaiter operator co_await() const noexcept { return SleepAwaiter{delay_}; }

private:
    Timeout delay_;
};

struct SleepFunction {
    /// Lets other tasks run until `delay` has passed since the await; zero or less is one pass of the loop. With a value,
    /// gives that.
    ///
    ///     co_await sleep(1s);
    ///     int x = co_await sleep(1s, 42);
    ///
    /// Python: asyncio.sleep. Cancel: ends it at once.
    Sleep operator()(Timeout delay) const noexcept { return Sleep{delay}; }
    template <class T>
    Coroutine<std::decay_t<T>> operator()(Timeout delay, T&& value) const {
        return with_value<std::decay_t<T>>(delay, std::forward<T>(value));
    }

private:
    template <class T>
    static Coroutine<T> with_value(Timeout delay, T value) {
        co_await Sleep{delay};
        co_return std::move(value);
    }
};

}  // namespace detail

inline constexpr detail::SleepFunction sleep{};

}  // namespace plait::inline PLAIT_ABI::asyncio
