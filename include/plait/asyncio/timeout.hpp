// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/expiry.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>

#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

struct TimeoutFunction;

}  // namespace detail

/// The time limit that a body runs under, for asking and changing it: what `timeout` hands to its body.
///
///     co_await timeout(2s, [&](TimeoutScope& scope) -> Coroutine<void> {
///         Request request = co_await read_request();
///         scope.reschedule(request.patience);          // from now
///         co_await answer(request);
///     });
///
/// Python: asyncio.Timeout. Lifetime: until the body's end. Threads: from its loop's only.
class TimeoutScope {
public:
    using TimePoint = EventLoop::Clock::time_point;

    TimeoutScope(const TimeoutScope&) = delete;
    TimeoutScope& operator=(const TimeoutScope&) = delete;

    /// Sets the limit anew, from now or to a time of the loop's clock; `Timeout::never()` lifts it. One that has passed
    /// strikes at once.
    ///
    /// Throws: UsageError where the time is up already.
    void reschedule(Timeout delay) { set(delay); }
    void reschedule(TimePoint when) { set(when); }
    /// When it strikes, on the loop's clock; `TimePoint::max()` where there is no limit.
    TimePoint when() const noexcept { return expiry_.when(); }
    /// Whether the time is up, and the body was cancelled.
    bool expired() const noexcept { return expiry_.expired(); }

private:
    friend detail::TimeoutFunction;

    template <class Limit>
    explicit TimeoutScope(Limit limit) : expiry_{limit} {}
    template <class Limit>
    void set(Limit limit) {
        if (expired())
            throw UsageError("TimeoutScope::reschedule: the time is up, and the body is being cancelled; do it before");
        expiry_.start(limit);
    }

    detail::Expiry expiry_;
};

namespace detail {

template <class Body>
struct TimeoutResult {};
template <class Body>
    requires Awaitable<Body>
struct TimeoutResult<Body> {
    using Type = Awaited<Body>;
};
template <class Body>
    requires(CoroutineFunction<Body> && !std::is_invocable_v<Body&, TimeoutScope&>)
struct TimeoutResult<Body> {
    using Type = typename std::invoke_result_t<Body&>::value_type;
};
template <class Body>
    requires IsCoroutine<std::invoke_result_t<Body&, TimeoutScope&>>::value
struct TimeoutResult<Body> {
    using Type = typename std::invoke_result_t<Body&, TimeoutScope&>::value_type;
};

/// What can run under a time limit: an awaitable, or a function that returns a coroutine and may take a TimeoutScope&.
template <class Body>
concept TimeoutBody = requires { typename TimeoutResult<std::decay_t<Body>>::Type; };

struct TimeoutFunction {
    using TimePoint = TimeoutScope::TimePoint;

    /// Runs `body` for `limit` at most, from the await on, and gives its value. It is a function, kept until its end, or
    /// anything that can be awaited. (For g++ 12 give a lambda whose captures have destructors a name first.)
    ///
    ///     int x = co_await timeout(2s, [&]() -> Coroutine<int> {
    ///         co_await connect();
    ///         co_return co_await ask();
    ///     });
    ///     int y = co_await timeout(2s, late(1));
    ///
    /// Python: `async with asyncio.timeout(2)`. When the time is up the body is cancelled where it waits; TimeoutError is
    /// thrown when it has ended, and only if it ended by that: a value or another error of its own stands. Of nested
    /// ones whose time is up, the outermost throws.
    /// Cancel: reaches the body, and comes back as CancelledError.
    template <TimeoutBody Body>
    auto operator()(Timeout limit, Body&& body) const {
        return within(limit, own(std::forward<Body>(body)));
    }

protected:
    template <class Body>
    static auto own(Body&& body) {
        if constexpr (Awaitable<Body>)
            return kept(std::forward<Body>(body));
        else
            return std::decay_t<Body>(std::forward<Body>(body));
    }
    template <class Limit, class Body>
    static Coroutine<typename TimeoutResult<Body>::Type> within(Limit limit, Body body) {
        TimeoutScope scope{limit};
        try {
            if constexpr (Awaitable<Body>)
                co_return co_await std::move(body);
            else if constexpr (std::is_invocable_v<Body&, TimeoutScope&>)
                co_return co_await body(scope);
            else
                co_return co_await body();
        } catch (const CancelledError&) {
            if (!scope.expiry_.explains_cancel()) throw;
        }
        throw TimeoutError("timeout: the time was up, and the body was cancelled");
    }
};

struct TimeoutAtFunction : private TimeoutFunction {
    /// As `timeout`, until a time of the loop's clock.
    ///
    ///     co_await timeout_at(get_running_loop().time() + 2s, late(1));
    ///
    /// Python: asyncio.timeout_at.
    template <TimeoutBody Body>
    auto operator()(TimePoint when, Body&& body) const {
        return within(when, own(std::forward<Body>(body)));
    }
};

}  // namespace detail

inline constexpr detail::TimeoutFunction timeout{};
inline constexpr detail::TimeoutAtFunction timeout_at{};

}  // namespace plait::inline PLAIT_ABI::asyncio
