// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/detail/bound_call.hpp>
#include <plait/threading/detail/timer_thread.hpp>

#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::threading {

/// Calls a function once, some time after `start`, unless it is cancelled before.
///
/// Python: threading.Timer. Inside an event loop use its `call_later`; to wait yourself, `Event::wait(timeout)`.
///
///     Timer alarm(5s, [&] { connection.abort(); });
///     alarm.start();
///     answer = connection.read();
///     if (!alarm.cancel()) report_lateness();
///
/// The function and its arguments are stored by value and moved into the call, as a Thread's; it may take a StopToken
/// before them. It runs in a thread of its own, "Timer-1" and so on, so that a slow one delays no other. What that needs is
/// allocated when the timer fires: where the system gives no memory or no thread, the call runs in the one that all timers
/// share. What leaves it goes to `excepthook`.
/// Time: measured on the steady clock from `start`, never early. Zero or less fires at once, hours::max() never. Timers
/// of equal deadlines fire in the order of their starts.
/// Threads: every member but moves and destruction from any thread. A pending timer costs no thread: all share one,
/// which the first start starts and nobody joins.
/// Lifetime: the destructor cancels a timer that has not fired, and waits for the end of a call that has begun, except in
/// that call. In the child of a fork the parent's pending timers do not fire, and count as finished.
class Timer {
public:
    template <class F, class... Args>
        requires detail::CallableLater<F, Args...>
    explicit Timer(Timeout interval, F&& function, Args&&... args)
        : state_{new detail::TimerStateOf<detail::BoundCallOf<F, Args...>>(std::forward<F>(function),
                                                                           std::forward<Args>(args)...)},
          interval_{interval} {}
    Timer(Timer&& other) noexcept : state_{std::exchange(other.state_, nullptr)}, interval_{other.interval_} {}
    Timer& operator=(Timer other) noexcept {
        std::swap(state_, other.state_);
        std::swap(interval_, other.interval_);
        return *this;
    }
    ~Timer() {
        if (state_ != nullptr) detail::TimerThread::instance().abandon(*state_);
    }

    /// Lets the interval begin; of a timer that was cancelled, nothing. Throws: UsageError the second time;
    /// std::system_error where the system gives no thread to wait for the first timer, after which it can be tried again.
    void start() & { detail::TimerThread::instance().start(state(), interval_); }
    void start() && = delete;  // name it: a temporary Timer would be cancelled at once
    /// Returns whether it will never fire: false once its time has come. It wakes those who join, and waits for nobody.
    bool cancel() { return detail::TimerThread::instance().cancel(state()); }
    /// Waits until the call has ended, with the thread-locals of its thread, or the timer is cancelled. Throws: UsageError
    /// before `start`, and in the call.
    void join() { static_cast<void>(join(Timeout::never())); }
    /// Waits for `timeout` at most; returns whether that is so.
    [[nodiscard]] bool join(Timeout timeout) { return detail::TimerThread::instance().join(state(), timeout); }

    /// Whether the call has ended, or the timer is cancelled.
    bool finished() const { return detail::TimerThread::instance().is_done(state()); }
    /// Whether it was started, and is not finished.
    bool is_alive() const { return detail::TimerThread::instance().is_alive(state()); }

private:
    [[nodiscard]] detail::TimerState& state() const {
        if (state_ == nullptr) throw UsageError("this Timer was moved from: use the one that it was moved to");
        return *state_;
    }

    detail::TimerState* state_;
    Timeout interval_;
};

}  // namespace plait::inline PLAIT_ABI::threading
