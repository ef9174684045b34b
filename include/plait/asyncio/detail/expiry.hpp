// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/own_cancel.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::TimeoutError;

}  // namespace plait::inline PLAIT_ABI::asyncio

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Cancels the running task when its time has come, unless it is destroyed before. Whoever then meets a CancelledError
/// asks `explains_cancel` whether it was this.
class Expiry final : private TimerNode {
public:
    using TimePoint = LoopCore::Clock::time_point;

    explicit Expiry(Timeout limit) { start(limit); }
    explicit Expiry(TimePoint when) { start(when); }
    ~Expiry() { loop().stop_timer(*this); }

    /// Instead of the time that it had, while it has not expired.
    void start(Timeout limit) {
        if (limit.is_never()) return start(TimerWheel::never, 0);
        const Nanoseconds now = loop().now();
        const Nanoseconds length = limit.duration().count();
        start(length < TimerWheel::never - now ? now + length : TimerWheel::never, now);
    }
    void start(TimePoint when) {
        start(std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch()).count(), loop().now());
    }
    [[nodiscard]] TimePoint when() const noexcept {
        return TimePoint{std::chrono::duration_cast<TimePoint::duration>(std::chrono::nanoseconds{when_})};
    }
    [[nodiscard]] bool expired() const noexcept { return request_.made(); }

    /// Stops it, and takes its request back. True where nobody else has asked the task to end.
    bool explains_cancel() noexcept {
        loop().stop_timer(*this);
        request_.take_back();
        return expired() && !request_.others_left();
    }

private:
    void start(Nanoseconds when, Nanoseconds now) {
        loop().stop_timer(*this);
        when_ = when;
        if (when <= now)
            request_.make();
        else if (when != TimerWheel::never)
            loop().timers.add(*this, when);
    }
    void on_time() noexcept override { request_.make(); }
    [[nodiscard]] LoopCore& loop() const noexcept { return *request_.task().loop(); }

    OwnCancel request_;
    Nanoseconds when_ = TimerWheel::never;
};

/// An awaitable as it is kept until it is awaited: a coroutine is taken, others are copied unless they are temporaries.
template <class A>
std::remove_cvref_t<A> kept(A&& awaitable) {
    if constexpr (IsCoroutine<std::remove_cvref_t<A>>::value)
        return std::move(awaitable);
    else
        return std::forward<A>(awaitable);
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
