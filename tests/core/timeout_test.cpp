// SPDX-License-Identifier: MIT
#include <plait/core/timeout.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>

using namespace std::chrono_literals;
using plait::Timeout;
using plait::detail::attempt_until;
using plait::detail::Deadline;

TEST_CASE("a timeout is made from any duration") {
    CHECK(Timeout{5s}.duration() == 5s);
    CHECK(Timeout{0.25s}.duration() == 250ms);
    CHECK(Timeout{std::chrono::duration<float, std::milli>{1.5F}}.duration() == 1500us);
    CHECK(Timeout{24h}.duration() == 24h);
}

TEST_CASE("what nanoseconds cannot hold is never") {
    CHECK(Timeout{std::chrono::hours::max()}.is_never());
    CHECK(Timeout{std::chrono::duration<double>::max()}.is_never());
    CHECK(Timeout{std::chrono::duration<double>{std::numeric_limits<double>::infinity()}}.is_never());
    CHECK(Timeout{std::chrono::nanoseconds::max()}.is_never());
    CHECK(Timeout::never().is_never());
    CHECK_FALSE(Timeout{24h * 365}.is_never());
}

TEST_CASE("zero or less looks once") {
    CHECK(Timeout{0s}.is_zero());
    CHECK(Timeout{-1ns}.is_zero());
    CHECK(Timeout{std::chrono::hours::min()}.is_zero());
    CHECK(Timeout{-std::chrono::duration<double>{std::numeric_limits<double>::infinity()}}.is_zero());
    CHECK_FALSE(Timeout{1ns}.is_zero());
}

TEST_CASE("a fraction of a nanosecond is rounded up, so that no wait is too short") {
    CHECK(Timeout{std::chrono::duration<double, std::nano>{0.1}}.duration() == 1ns);
}

TEST_CASE("a duration that is not a number is refused") {
    const std::chrono::duration<double> not_a_number{std::numeric_limits<double>::quiet_NaN()};
    CHECK_THROWS_AS(Timeout{not_a_number}, std::invalid_argument);
}

TEST_CASE("a timeout is made at compile time and needs no destruction") {
    static constexpr Timeout timeout{1h};
    STATIC_REQUIRE(timeout.duration() == 3600s);
    STATIC_REQUIRE(std::is_trivially_destructible_v<Timeout>);
    STATIC_REQUIRE(std::is_convertible_v<std::chrono::minutes, Timeout>);
}

TEST_CASE("a deadline passes when its timeout has, and one without an end never") {
    CHECK(Deadline{0s}.has_passed());
    CHECK_FALSE(Deadline{1h}.has_passed());
    CHECK_FALSE(Deadline::never().has_passed());
    CHECK(Deadline{Timeout::never()}.is_never());
    CHECK(Deadline{std::chrono::nanoseconds::max() - 1ns}.is_never());
    CHECK(Deadline::never().left().is_never());
    CHECK(Deadline{0s}.left().is_zero());
    CHECK(Deadline{1h}.left().duration() > 59min);
    CHECK(Deadline{1s} < Deadline{1h});
}

namespace {

/// A clock that stands still until it is set.
struct ManualClock {
    using duration = std::chrono::milliseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<ManualClock>;
    static time_point now() { return current; }
    static inline time_point current{};
};

}  // namespace

TEST_CASE("attempts until a time of any clock are repeated until it comes") {
    ManualClock::current = ManualClock::time_point{};
    int attempts = 0;
    const auto at = ManualClock::time_point{2500ms};
    CHECK_FALSE(attempt_until(at, [&](Timeout timeout) {
        ++attempts;
        CHECK(timeout.duration() <= 1s);
        ManualClock::current += 1s;
        return false;
    }));
    CHECK(attempts == 4);
    CHECK(attempt_until(at, [](Timeout timeout) { return timeout.is_zero(); }));
}

TEST_CASE("a time that is long past is tried once, and the farthest is not the past") {
    int attempts = 0;
    const auto fail = [&](Timeout timeout) {
        ++attempts;
        CHECK(timeout.is_zero());
        return false;
    };
    CHECK_FALSE(attempt_until(std::chrono::system_clock::time_point::min(), fail));
    CHECK_FALSE(attempt_until(std::chrono::steady_clock::time_point::min(), fail));
    CHECK(attempts == 2);
    const auto succeed = [](Timeout timeout) { return !timeout.is_zero(); };
    CHECK(attempt_until(std::chrono::system_clock::time_point::max(), succeed));
    CHECK(attempt_until(std::chrono::steady_clock::time_point::max(), succeed));
}

TEST_CASE("periods that are no number of nanoseconds hold long timeouts too, and round up") {
    using Samples = std::chrono::duration<std::int64_t, std::ratio<1, 44100>>;
    using Frames = std::chrono::duration<std::int64_t, std::ratio<1001, 30000>>;
    constexpr std::int64_t year = 365 * 86400;
    CHECK(Timeout{Samples{44100 * year * 20}}.duration() == std::chrono::seconds{year * 20});
    CHECK(Timeout{Samples{44100 * year * 20 + 1}}.duration() == std::chrono::seconds{year * 20} + 22676ns);
    CHECK(Timeout{Samples{1}}.duration() == 22676ns);
    CHECK(Timeout{Frames{3000 * year}}.duration() == std::chrono::seconds{1001 * year / 10});
    CHECK(Timeout{Frames::max()}.is_never());
    CHECK(Timeout{Samples::max()}.is_never());
    CHECK(Timeout{Samples{-1}}.is_zero());
}
