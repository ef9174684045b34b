// SPDX-License-Identifier: MIT
#include <plait/threading/detail/turnstile.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::Timeout;
using plait::detail::Deadline;
using plait::threading::detail::Turnstile;
using support::within;

namespace {

/// A thread that sleeps until the count has come to `count`, or the turnstile is closed.
class Sleeper {
public:
    Sleeper(Turnstile& turnstile, std::uint64_t count, Timeout timeout = 30s)
        : thread_{[this, &turnstile, count, timeout] {
              const Deadline deadline{timeout};
              const auto pending = [&](Turnstile::Reading now) { return now.count < count && !now.closed; };
              while (pending(turnstile.read()) && turnstile.sleep(deadline, nullptr, pending)) ++woken_;
              ended_ = true;
          }} {}
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;
    ~Sleeper() { thread_.join(); }
    [[nodiscard]] bool ends() const {
        return within(20s, [&] { return ended_.load(); });
    }
    [[nodiscard]] bool ended() const { return ended_; }
    [[nodiscard]] int woken() const { return woken_; }

private:
    std::atomic<int> woken_{0};
    std::atomic<bool> ended_{false};
    std::thread thread_;
};

bool come_to_sleep(const Turnstile& turnstile, std::size_t count) {
    return within(20s, [&] { return turnstile.waiting() == count; });
}

void advance(Turnstile& turnstile, std::uint64_t steps = 1, std::size_t limit = 1) {
    turnstile.acquire();
    turnstile.advance(steps, limit);
}

}  // namespace

TEST_CASE("a turnstile counts") {
    static constinit Turnstile turnstile;
    CHECK(turnstile.acquire().count == 0);
    turnstile.release();
    CHECK(turnstile.read().count == 0);
    advance(turnstile);
    advance(turnstile, 41);
    CHECK(turnstile.read().count == 42);
    CHECK_FALSE(turnstile.read().closed);
    turnstile.acquire();
    CHECK(turnstile.read().count == 42);
    turnstile.close();
    CHECK(turnstile.read().count == 42);
    CHECK(turnstile.read().closed);
    CHECK(turnstile.acquire().closed);
    turnstile.release();
}

TEST_CASE("one thread at a time holds a turnstile") {
    Turnstile turnstile;
    std::uint64_t plain = 0;
    std::atomic<bool> exact{true};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 20'000; ++i) {
                if (turnstile.acquire().count != plain) exact = false;
                ++plain;
                if (i % 1000 == 0) std::this_thread::yield();
                if (i % 100 != 0) {
                    turnstile.advance();
                } else {
                    --plain;
                    turnstile.release();
                }
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(exact);
    CHECK(turnstile.read().count == 3 * (20'000 - 200));
}

TEST_CASE("who finds a turnstile held for long gets it all the same") {
    Turnstile turnstile;
    turnstile.acquire();
    std::atomic<bool> begun{false};
    std::thread other{[&] {
        begun = true;
        advance(turnstile);
    }};
    CHECK(within(20s, [&] { return begun.load(); }));
    const auto end = std::chrono::steady_clock::now() + 3ms;
    while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
    CHECK(turnstile.read().count == 0);
    turnstile.release();
    other.join();
    CHECK(turnstile.read().count == 1);
}

TEST_CASE("each advance wakes as many sleepers as it says, longest asleep first") {
    Turnstile turnstile;
    Sleeper first{turnstile, 1};
    CHECK(come_to_sleep(turnstile, 1));
    Sleeper second{turnstile, 1};
    CHECK(come_to_sleep(turnstile, 2));
    Sleeper third{turnstile, 1};
    CHECK(come_to_sleep(turnstile, 3));
    advance(turnstile, 1, 0);
    CHECK(turnstile.waiting() == 3);
    turnstile.nudge(1);
    CHECK(first.ends());
    CHECK(turnstile.waiting() == 2);
    advance(turnstile);
    CHECK(second.ends());
    CHECK(turnstile.waiting() == 1);
    advance(turnstile);
    CHECK(third.ends());
}

TEST_CASE("a close wakes all sleepers") {
    Turnstile turnstile;
    const Sleeper first{turnstile, 9};
    const Sleeper second{turnstile, 9};
    CHECK(come_to_sleep(turnstile, 2));
    turnstile.acquire();
    turnstile.close();
    CHECK(first.ends());
    CHECK(second.ends());
    CHECK(first.woken() == 1);
}

TEST_CASE("a sleep ends with its time, and another one is not disturbed") {
    Turnstile turnstile;
    const Sleeper longer{turnstile, 1};
    CHECK(come_to_sleep(turnstile, 1));
    const Sleeper shorter{turnstile, 1, 2ms};
    CHECK(shorter.ends());
    CHECK(shorter.woken() == 0);
    CHECK(turnstile.waiting() == 1);
    advance(turnstile);
    CHECK(longer.ends());
}

TEST_CASE("no advance is missed between a look and the sleep") {
    Turnstile turnstile;
    Turnstile back;
    constexpr std::uint64_t rounds = 5'000;
    std::thread other{[&] {
        for (std::uint64_t i = 1; i <= rounds; ++i) {
            const auto pending = [&](Turnstile::Reading now) { return now.count < i; };
            while (pending(turnstile.read())) static_cast<void>(turnstile.sleep(Deadline::never(), nullptr, pending));
            advance(back);
        }
    }};
    for (std::uint64_t i = 1; i <= rounds; ++i) {
        advance(turnstile);
        const auto pending = [&](Turnstile::Reading now) { return now.count < i; };
        while (pending(back.read())) static_cast<void>(back.sleep(Deadline::never(), nullptr, pending));
    }
    other.join();
    CHECK(turnstile.waiting() + back.waiting() == 0);
}
