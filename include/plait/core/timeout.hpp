// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <algorithm>
#include <chrono>
#include <ratio>
#include <stdexcept>
#include <type_traits>

namespace plait::inline PLAIT_ABI {

/// How long a wait may last: made from any `std::chrono` duration, in nanoseconds, saturating.
///
/// Python: the `timeout` arguments. Zero or less looks once; what nanoseconds cannot hold, such as `hours::max()`, is
/// never. Measured on the steady clock from the call that takes it.
///
///     event.wait(500ms);
///     event.wait(Timeout::never());
///
/// Throws: std::invalid_argument for a floating-point duration that is not a number.
class Timeout {
public:
    template <class Rep, class Period>
    constexpr Timeout(std::chrono::duration<Rep, Period> duration) : duration_{saturated(duration)} {}
    template <class Number>
        requires(std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool>)
    Timeout(Number) = delete;  // say the unit: 5s, 500ms
    template <class Truth>
        requires std::is_same_v<Truth, bool>
    Timeout(Truth) = delete;  // not to wait has names of its own: try_acquire, get_nowait, put_nowait

    static constexpr Timeout never() noexcept { return Timeout{}; }

    [[nodiscard]] constexpr bool is_never() const noexcept { return duration_ == (std::chrono::nanoseconds::max)(); }
    /// Whether nothing is to be waited for: the duration was zero or less.
    [[nodiscard]] constexpr bool is_zero() const noexcept { return duration_ == std::chrono::nanoseconds::zero(); }
    /// Never negative; the longest there is for never.
    [[nodiscard]] constexpr std::chrono::nanoseconds duration() const noexcept { return duration_; }

private:
    constexpr Timeout() noexcept : duration_{(std::chrono::nanoseconds::max)()} {}

    template <class Rep, class Period>
    static constexpr std::chrono::nanoseconds saturated(std::chrono::duration<Rep, Period> duration);

    std::chrono::nanoseconds duration_;
};

template <class Rep, class Period>
constexpr std::chrono::nanoseconds Timeout::saturated(std::chrono::duration<Rep, Period> duration) {
    using std::chrono::nanoseconds;
    // Compared in floating point, whose range holds every duration type: the integer conversion is what could overflow.
    using Seconds = std::chrono::duration<double>;
    const double seconds = std::chrono::duration_cast<Seconds>(duration).count();
    if (seconds != seconds) throw std::invalid_argument("plait::Timeout: the duration is not a number");
    if (seconds >= Seconds((nanoseconds::max)()).count()) return (nanoseconds::max)();
    if (seconds <= 0) return nanoseconds::zero();
    if constexpr (!std::chrono::treat_as_floating_point_v<Rep> && std::ratio_divide<Period, std::nano>::den != 1) {
        // A period that is no number of nanoseconds: to convert all at once would overflow for less than a year.
        const auto whole = std::chrono::duration_cast<std::chrono::seconds>(duration);
        if (whole >= std::chrono::duration_cast<std::chrono::seconds>((nanoseconds::max)()))
            return (nanoseconds::max)();
        return whole + std::chrono::ceil<nanoseconds>(duration - whole);
    } else {
        return std::chrono::ceil<nanoseconds>(duration);
    }
}

namespace detail {

/// A point on the steady clock by which a wait ends; far timeouts saturate to never.
class Deadline {
public:
    using Clock = std::chrono::steady_clock;

    explicit Deadline(Timeout timeout) : at_{(Clock::time_point::max)()} {
        if (timeout.is_never()) return;
        const auto now = Clock::now();
        if (timeout.duration() < (Clock::time_point::max)() - now)
            at_ = now + std::chrono::ceil<Clock::duration>(timeout.duration());
    }
    static constexpr Deadline never() noexcept { return Deadline{(Clock::time_point::max)()}; }
    static constexpr Deadline at(Clock::time_point at) noexcept { return Deadline{at}; }

    [[nodiscard]] constexpr bool is_never() const noexcept { return at_ == (Clock::time_point::max)(); }
    [[nodiscard]] bool has_passed() const { return !is_never() && Clock::now() >= at_; }
    [[nodiscard]] constexpr Clock::time_point time_point() const noexcept { return at_; }
    /// What is left of it: never negative.
    [[nodiscard]] Timeout left() const {
        return is_never() ? Timeout::never() : Timeout{(std::max)(at_ - Clock::now(), Clock::duration::zero())};
    }

    friend constexpr bool operator<(Deadline a, Deadline b) noexcept { return a.at_ < b.at_; }

private:
    constexpr explicit Deadline(Clock::time_point at) noexcept : at_{at} {}

    Clock::time_point at_;
};

/// Calls `attempt(Timeout)` until it succeeds or `at` has come on the clock that it belongs to; returns whether it did.
template <class Clock, class Duration, class Attempt>
bool attempt_until(const std::chrono::time_point<Clock, Duration>& at, Attempt attempt) {
    // Far times are compared in floating point, whose range holds their difference.
    using Seconds = std::chrono::duration<double>;
    for (;;) {
        const auto now = Clock::now();
        Seconds left = Seconds(at.time_since_epoch()) - Seconds(now.time_since_epoch());
        if (left < Seconds{1} && (left < Seconds{-1} || now >= at)) return attempt(Timeout{Seconds::zero()});
        // Another clock may be set meanwhile: look at it again at least every second.
        if constexpr (!std::is_same_v<Clock, std::chrono::steady_clock>) left = (std::min)(left, Seconds{1});
        if (attempt(Timeout{left})) return true;
    }
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI
