// SPDX-License-Identifier: MIT
#include <plait/core/timer_wheel.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

using plait::detail::Nanoseconds;
using plait::detail::TimerNode;
using plait::detail::TimerWheel;

namespace {

constexpr Nanoseconds millisecond = 1'000'000;
constexpr Nanoseconds second = 1000 * millisecond;

class Timer final : public TimerNode {
public:
    Timer(int number, std::vector<int>& fired, std::vector<int>& dropped)
        : number_{number}, fired_{fired}, dropped_{dropped} {}
    void on_time() noexcept override { fired_.push_back(number_); }
    void on_drop() noexcept override { dropped_.push_back(number_); }

private:
    int number_;
    std::vector<int>& fired_;
    std::vector<int>& dropped_;
};

/// Timers by number, in a wheel.
class Bench {
public:
    ~Bench() { wheel.clear(); }
    Timer& add(Nanoseconds deadline) {
        timers_.push_back(std::make_unique<Timer>(static_cast<int>(timers_.size()), fired, dropped));
        wheel.add(*timers_.back(), deadline);
        return *timers_.back();
    }
    Timer& operator[](std::size_t number) { return *timers_[number]; }

    std::vector<int> fired;
    std::vector<int> dropped;
    TimerWheel wheel;

private:
    std::vector<std::unique_ptr<Timer>> timers_;
};

}  // namespace

TEST_CASE("a timer fires at its deadline, not before, and once") {
    for (const Nanoseconds deadline : {Nanoseconds{1}, millisecond, 67 * millisecond, 5 * second, 300 * second,
                                       86'400 * second, 10'000'000 * second, INT64_MAX - 1}) {
        Bench bench;
        bench.add(deadline);
        bench.wheel.expire(deadline - 1);
        CHECK(bench.fired.empty());
        CHECK(bench.wheel.next_deadline() <= deadline);
        bench.wheel.expire(deadline);
        bench.wheel.expire(deadline);
        CHECK(bench.fired == std::vector<int>{0});
        CHECK(bench.wheel.empty());
        CHECK(bench.wheel.next_deadline() == TimerWheel::never);
    }
}

TEST_CASE("a lone timer's deadline is told exactly, so that a loop wakes once for it") {
    Bench bench;
    bench.add(3 * second + 12'345);
    CHECK(bench.wheel.next_deadline() == 3 * second + 12'345);
    bench.wheel.expire(second);
    CHECK(bench.wheel.next_deadline() == 3 * second + 12'345);
    bench.add(2 * second + 7);
    CHECK(bench.wheel.next_deadline() == 2 * second + 7);
    bench.wheel.expire(2 * second + 7);
    CHECK(bench.wheel.next_deadline() == 3 * second + 12'345);
}

TEST_CASE("timers of one deadline fire as they were added, however far it was") {
    Bench bench;
    const Nanoseconds deadline = 400 * second;
    bench.add(deadline);
    bench.wheel.expire(200 * second);
    bench.add(deadline);
    bench.wheel.expire(deadline - 20 * millisecond);
    bench.add(deadline);
    bench.wheel.expire(deadline - 1);
    bench.add(deadline);
    bench.add(deadline - 1);  // due already, before the others
    bench.add(deadline);
    bench.wheel.expire(deadline);
    CHECK(bench.fired == std::vector<int>{4, 0, 1, 2, 3, 5});
}

TEST_CASE("timers of one deadline fire as they were added, also when the one that made the first late has gone") {
    Bench bench;
    Timer& first = bench.add(90);
    bench.add(70);
    bench.wheel.remove(first);
    bench.add(70);
    bench.wheel.expire(100);
    CHECK(bench.fired == std::vector<int>{1, 2});
}

TEST_CASE("timers of the past fire at once, in deadline order") {
    Bench bench;
    bench.wheel.expire(10 * second);
    bench.add(3 * second);
    bench.add(second);
    bench.add(-second);
    bench.add(2 * second);
    bench.wheel.expire(10 * second);
    CHECK(bench.fired == std::vector<int>{2, 1, 3, 0});
}

TEST_CASE("a removed timer does not fire, wherever it was, and leaves nothing behind") {
    Bench bench;
    const std::vector<Nanoseconds> deadlines{5, second, 300 * second, 86'400 * second};
    for (const Nanoseconds deadline : deadlines) bench.add(deadline);
    for (std::size_t i = 0; i < deadlines.size(); ++i) {
        CHECK(bench[i].is_timed());
        bench.wheel.remove(bench[i]);
        CHECK_FALSE(bench[i].is_timed());
    }
    CHECK(bench.wheel.empty());
    CHECK(bench.wheel.next_deadline() == TimerWheel::never);
    bench.wheel.expire(INT64_MAX - 1);
    CHECK(bench.fired.empty());
}

TEST_CASE("a timer that fires may add and remove others") {
    class Adder final : public TimerNode {
    public:
        Adder(TimerWheel& wheel, TimerNode& added, TimerNode& removed)
            : wheel_{wheel}, added_{added}, removed_{removed} {}
        void on_time() noexcept override {
            wheel_.remove(removed_);
            wheel_.add(added_, deadline() + 1);
        }

    private:
        TimerWheel& wheel_;
        TimerNode& added_;
        TimerNode& removed_;
    };
    Bench bench;
    Timer late{7, bench.fired, bench.dropped};
    Timer removed{8, bench.fired, bench.dropped};
    Adder adder{bench.wheel, late, removed};
    bench.wheel.add(adder, 10);
    bench.wheel.add(removed, 10);
    bench.add(20);
    bench.wheel.expire(10);
    CHECK(bench.fired.empty());
    CHECK(bench.wheel.next_deadline() == 11);
    bench.wheel.expire(15);
    CHECK(bench.fired == std::vector<int>{7});
}

TEST_CASE("clearing drops every timer") {
    Bench bench;
    bench.add(1);
    bench.add(300 * second);
    bench.wheel.clear();
    CHECK(bench.dropped.size() == 2);
    CHECK(bench.wheel.empty());
}

TEST_CASE("random timers fire as a sorted list of them would") {
    std::mt19937_64 random{20240601};
    const auto below = [&](std::uint64_t bound) { return static_cast<Nanoseconds>(random() % bound); };
    for (int round = 0; round < 30; ++round) {
        Bench bench;
        std::vector<std::pair<Nanoseconds, int>> model;  // deadline and number, sorted; as added where equal
        std::vector<int> expected;
        Nanoseconds now = below(std::uint64_t{1} << (10 + round));
        int made = 0;
        for (int step = 0; step < 400; ++step) {
            const auto range = std::uint64_t{1} << (random() % 42);
            switch (random() % 4) {
                case 0:
                case 1: {
                    // Some in the past, many equal.
                    const Nanoseconds deadline = now + below(range) / 64 * 64 - below(200);
                    bench.add(deadline);
                    const auto place = std::upper_bound(model.begin(), model.end(), deadline,
                                                        [](Nanoseconds a, const auto& b) { return a < b.first; });
                    model.emplace(place, deadline, made++);
                    break;
                }
                case 2:
                    if (!model.empty()) {
                        const auto victim = model.begin() + below(model.size());
                        bench.wheel.remove(bench[static_cast<std::size_t>(victim->second)]);
                        model.erase(victim);
                    }
                    break;
                default: {
                    now += below(range);
                    while (!model.empty() && model.front().first <= now) {
                        expected.push_back(model.front().second);
                        model.erase(model.begin());
                    }
                    bench.wheel.expire(now);
                    REQUIRE(bench.fired == expected);
                    REQUIRE(bench.wheel.size() == model.size());
                    if (!model.empty()) {
                        REQUIRE(bench.wheel.next_deadline() <= model.front().first);
                        REQUIRE(bench.wheel.next_deadline() > now);
                    }
                    break;
                }
            }
        }
    }
}

TEST_CASE("a loop that follows next_deadline gets to a far timer in a few steps, among many others") {
    Bench bench;
    for (int i = 0; i < 1000; ++i) bench.add(3600 * second + i * millisecond / 100);
    int steps = 0;
    while (bench.fired.empty()) {
        const Nanoseconds next = bench.wheel.next_deadline();
        REQUIRE(next <= 3600 * second);
        bench.wheel.expire(next);
        REQUIRE(++steps < 10);
    }
    CHECK(bench.fired.front() == 0);
}
