// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// Cancels the running task when its time has come, unless it is destroyed before. Whoever then meets a CancelledError
/// asks `explains_cancel` whether it was this.
class Expiry final : private TimerNode {
public:
    explicit Expiry(Timeout timeout) : task_{*running().task}, requests_before_{task_.cancel_requests()} {
        if (timeout.is_zero())
            expire();
        else
            task_.loop()->start_timer(*this, timeout);
    }
    ~Expiry() { stop(); }

    /// Stops it, and takes its request back. True where nobody else has asked the task to end.
    bool explains_cancel() noexcept {
        stop();
        return expired_ && task_.cancel_requests() <= requests_before_;
    }

private:
    void on_time() noexcept override { expire(); }
    void expire() {
        expired_ = true;
        was_due_ = task_.cancel_due();
        // One that is due will end the wait, and its message is to be seen.
        if (was_due_)
            task_.count_cancel_request();
        else
            task_.cancel({});
    }
    void stop() noexcept {
        task_.loop()->stop_timer(*this);
        if (!expired_ || std::exchange(taken_back_, true)) return;
        // Where the result came first, the request must not strike at some later await.
        if (task_.uncancel() <= requests_before_ && !was_due_) task_.drop_due_cancel();
    }

    TaskBase& task_;
    std::uint32_t requests_before_;
    bool expired_ = false;
    bool was_due_ = false;  // another's request was waiting to be thrown
    bool taken_back_ = false;
};

struct WaitForFunction {
    /// Awaits for `timeout` at most, and gives the result.
    ///
    ///     int x = co_await wait_for(late(1), 2s);
    ///
    /// Python: asyncio.wait_for. What has not ended then is cancelled, and has ended when TimeoutError is thrown; if it
    /// makes of that a value or an error of its own, that is the result. At zero or less a coroutine is not even started.
    /// Cancel: reaches what is awaited, and comes back as CancelledError.
    template <class A>
        requires Awaitable<A>
    auto operator()(A&& awaitable, Timeout timeout) const {
        return limited(child_or_awaitable(std::forward<A>(awaitable)), timeout);
    }

private:
    template <class A>
    static std::remove_cvref_t<A> child_or_awaitable(A&& awaitable) {
        if constexpr (IsCoroutine<std::remove_cvref_t<A>>::value)
            return std::move(awaitable);
        else
            return std::forward<A>(awaitable);
    }

    template <class A>
    static Coroutine<Awaited<A>> limited(A awaitable, Timeout timeout) {
        if constexpr (IsCoroutine<A>::value) {
            if (timeout.is_zero()) throw_timeout();
        }
        Expiry expiry{timeout};
        try {
            co_return co_await std::move(awaitable);
        } catch (const CancelledError&) {
            if (!expiry.explains_cancel()) throw;
        }
        throw_timeout();
    }
    [[noreturn]] static void throw_timeout() {
        throw TimeoutError("wait_for: it had not ended in time, and was cancelled");
    }
};

}  // namespace detail

inline constexpr detail::WaitForFunction wait_for{};

}  // namespace plait::inline PLAIT_ABI::asyncio
