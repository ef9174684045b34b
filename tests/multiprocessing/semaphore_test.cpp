// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/semaphore.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/travel.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::multiprocessing::BoundedSemaphore;
using plait::multiprocessing::Semaphore;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

TEST_CASE("a semaphore gives as many permits as it has") {
    CHECK(Semaphore{}.value() == 1);
    const Semaphore semaphore{2};
    CHECK(semaphore.try_acquire());
    semaphore.acquire();
    CHECK(semaphore.value() == 0);
    CHECK_FALSE(semaphore.try_acquire());
    CHECK_FALSE(semaphore.acquire(0s));
    CHECK_FALSE(semaphore.acquire(-1s));
    CHECK_FALSE(ForkedChild{[&] { return semaphore.try_acquire() ? 1 : 0; }}.join());
    semaphore.release(3);
    CHECK(semaphore.value() == 3);
    CHECK(semaphore.acquire(1s));
}

TEST_CASE("a number of permits that cannot be is refused, and changes nothing") {
    CHECK_THROWS_AS(Semaphore{-1}, std::invalid_argument);
    CHECK_THROWS_AS(BoundedSemaphore{-1}, std::invalid_argument);
    CHECK_THROWS_AS(Semaphore{Semaphore::max_value + 1}, std::invalid_argument);
    const Semaphore semaphore{0};
    CHECK_THROWS_AS(semaphore.release(0), std::invalid_argument);
    CHECK_THROWS_AS(semaphore.release(-1), std::invalid_argument);
    CHECK_THROWS_AS(semaphore.release(Semaphore::max_value + 1), UsageError);
    CHECK(semaphore.value() == 0);
    semaphore.release(Semaphore::max_value);
    CHECK(semaphore.value() == Semaphore::max_value);
    CHECK_THROWS_AS(semaphore.release(), UsageError);
    CHECK(semaphore.value() == Semaphore::max_value);
    CHECK(semaphore.try_acquire());
}

TEST_CASE("a bounded semaphore finds a permit that was given back twice") {
    const BoundedSemaphore semaphore{3};
    CHECK_THROWS_AS(semaphore.release(), UsageError);
    semaphore.acquire();
    CHECK_THROWS_AS(semaphore.release(2), UsageError);
    CHECK(semaphore.value() == 2);
    CHECK(ForkedChild{[&] {  // not who acquired it
              semaphore.release();
              try {
                  semaphore.release();
                  return 1;
              } catch (const UsageError&) {
                  return 0;
              }
          }}
              .join() == 0);
    CHECK(semaphore.value() == 3);
    const std::scoped_lock guard{semaphore};
    CHECK(semaphore.try_acquire_for(1s));
    CHECK(semaphore.try_acquire_until(std::chrono::steady_clock::now() + 1s));
    CHECK_FALSE(semaphore.try_lock());
    semaphore.release(2);
}

TEST_CASE("each permit that is released goes to one who waits") {
    const Semaphore semaphore{0};
    const SharedVariable<std::atomic<int>> got{0};
    std::vector<ForkedChild> children;
    for (int i = 0; i < 6; ++i)
        children.emplace_back([&] {
            for (int n = 0; n < 2; ++n) {
                if (!semaphore.acquire(30s)) return 1;
                ++*got;
            }
            return 0;
        });
    REQUIRE(within(30s, [&] { return semaphore.waiting() == 6; }));
    int released = 0;
    for (const int more : {1, 3, 2, 5, 1}) {
        semaphore.release(more);
        released += more;
        REQUIRE(within(30s, [&] { return got->load() == released; }));
        CHECK(semaphore.value() == 0);
    }
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    CHECK(semaphore.waiting() == 0);
}

TEST_CASE("two processes take turns by two semaphores, and none sleeps until its next look") {
    constexpr int rounds = 2'000;
    const Semaphore ping{0};
    const Semaphore pong{0};
    ForkedChild child{[&] {
        for (int i = 0; i < rounds; ++i) {
            if (!ping.acquire(30s)) return 1;
            pong.release();
        }
        return 0;
    }};
    int lost = 0;
    for (int i = 0; i < rounds && lost == 0; ++i) {
        ping.release();
        if (!pong.acquire(30s)) ++lost;
    }
    CHECK(lost == 0);
    CHECK(child.join() == 0);
}

TEST_CASE("a timed acquire of a semaphore gives up at its time") {
    const Semaphore semaphore{0};
    const support::SignalStorm storm;
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(semaphore.acquire(150ms));
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 150ms);
    CHECK(time < 30s);
    CHECK(semaphore.value() == 0);
}

TEST_CASE("permits are conserved while timed waiters give up") {
    constexpr int rounds = 3'000;
    const Semaphore semaphore{0};
    const SharedVariable<std::atomic<long>> got{0};
    const SharedVariable<std::atomic<bool>> over{false};
    std::vector<ForkedChild> children;
    for (int i = 0; i < 3; ++i)
        children.emplace_back([&, i] {
            while (!over->load())
                if (semaphore.acquire(std::chrono::microseconds{5 * i})) ++*got;
            return 0;
        });
    for (int i = 0; i < rounds; ++i) {
        semaphore.release(2);
        if (i % 8 == 0) std::this_thread::yield();
    }
    CHECK(within(30s, [&] { return got->load() == 2 * rounds; }));
    *over = true;
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    CHECK(semaphore.value() == 0);
    CHECK(got->load() == 2 * rounds);
}

TEST_CASE("a waiter that is killed takes no permit, and none of the others' wakes for good") {
    for (int round = 0; round < 10; ++round) {
        const Semaphore semaphore{0};
        const auto wait = [&] { return semaphore.acquire(30s) ? 0 : 1; };
        ForkedChild first{wait};
        REQUIRE(within(30s, [&] { return semaphore.waiting() == 1; }));
        ForkedChild second{wait};
        REQUIRE(within(30s, [&] { return semaphore.waiting() == 2; }));
        // The first is the system's first choice for the wake, and killed so soon that it cannot take the permit.
        first.signal(SIGSTOP);
        semaphore.release();
        first.kill();
        // It may have taken the permit before it stopped.
        if (!second.join(5s) && semaphore.value() == 0 && !second.join(5s))
            second.kill();
        else
            CHECK(second.join(20s) == 0);
    }
}

TEST_CASE("a permit of a process that was killed is lost until somebody releases it") {
    const Semaphore semaphore{1};
    ForkedChild holder{[&] {
        semaphore.acquire();
        return support::wait_for_ever();
    }};
    REQUIRE(within(30s, [&] { return semaphore.value() == 0; }));
    holder.kill();
    CHECK_FALSE(semaphore.acquire(1ms));
    semaphore.release();
    CHECK(semaphore.try_acquire());
}

TEST_CASE("a guard takes a permit and gives it back, also for an exception") {
    const Semaphore semaphore{2};
    try {
        const std::scoped_lock guard{semaphore};
        const std::unique_lock inner{semaphore, std::try_to_lock};
        CHECK(semaphore.value() == 0);
        throw 1;
    } catch (int) {
    }
    CHECK(semaphore.value() == 2);
    CHECK(semaphore.try_acquire_for(1s));
    CHECK(semaphore.try_acquire_until(std::chrono::system_clock::now() + 1s));
}

TEST_CASE("a semaphore that crosses to another process is the same, with its bound") {
    auto [here, there] = plait::os::make_channel();
    ForkedChild child{[&, theirs = &there] {
        const auto [free, bounded] = support::receive<std::tuple<Semaphore, BoundedSemaphore>>(*theirs);
        free.release(5);
        try {
            bounded.release();
            return 1;
        } catch (const UsageError&) {
        }
        return bounded.try_acquire() ? 0 : 2;
    }};
    const Semaphore free{0};
    const BoundedSemaphore bounded{2};
    support::send(here, std::tuple{free, bounded});
    CHECK(child.join() == 0);
    CHECK(free.value() == 5);
    CHECK(bounded.value() == 1);
    CHECK((support::arrived(free) == free));
    CHECK((support::arrived(bounded) == bounded));
}
