// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/event.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/travel.hpp"

#include <chrono>
#include <thread>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using plait::multiprocessing::Event;
using support::ForkedChild;
using support::within;

TEST_CASE("an event is set or not, in every process") {
    const Event event;
    CHECK_FALSE(event.is_set());
    CHECK_FALSE(event.wait(0s));
    CHECK(ForkedChild{[&] {
              if (event.is_set()) return 1;
              event.set();
              event.set();
              return 0;
          }}.join() == 0);
    CHECK(event.is_set());
    event.wait();
    CHECK(event.wait(0s));
    CHECK(event.wait(1s));
    event.clear();
    event.clear();
    CHECK_FALSE(event.is_set());
    CHECK_FALSE(event.wait(-1s));
}

TEST_CASE("a set releases all who wait, though it is cleared at once") {
    const Event event;
    for (int round = 0; round < 20; ++round) {
        std::vector<ForkedChild> waiters;
        for (int i = 0; i < 5; ++i) waiters.emplace_back([&] { return event.wait(30s) ? 0 : 1; });
        REQUIRE(within(30s, [&] { return event.waiting() == 5; }));
        event.set();
        event.clear();
        for (ForkedChild& waiter : waiters) CHECK(waiter.join(20s) == 0);
        CHECK_FALSE(event.is_set());
    }
    CHECK(event.waiting() == 0);
}

TEST_CASE("a wait for an event ends at its time, and not before") {
    const Event event;
    const support::SignalStorm storm;
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(event.wait(150ms));
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 150ms);
    CHECK(time < 30s);
}

TEST_CASE("two processes take turns by two events") {
    constexpr int rounds = 5'000;
    const Event ping;
    const Event pong;
    ForkedChild child{[&] {
        for (int i = 0; i < rounds; ++i) {
            if (!ping.wait(30s)) return 1;
            ping.clear();
            pong.set();
        }
        return 0;
    }};
    int lost = 0;
    for (int i = 0; i < rounds && lost == 0; ++i) {
        ping.set();
        if (!pong.wait(30s)) ++lost;
        pong.clear();
    }
    CHECK(lost == 0);
    CHECK(child.join() == 0);
}

TEST_CASE("a waiter that was killed is in nobody's way") {
    const Event event;
    std::vector<ForkedChild> waiters;
    for (int i = 0; i < 3; ++i) waiters.emplace_back([&] { return event.wait(30s) ? 0 : 1; });
    REQUIRE(within(30s, [&] { return event.waiting() == 3; }));
    waiters[0].kill();
    waiters[1].signal(SIGSTOP);
    waiters[1].kill();
    event.set();
    CHECK(waiters[2].join(20s) == 0);
    event.clear();
    ForkedChild later{[&] { return event.wait(30s) ? 0 : 1; }};
    REQUIRE(within(30s, [&] { return event.waiting() == 3; }));  // those who were killed are still counted
    event.set();
    CHECK(later.join(20s) == 0);
}

TEST_CASE("an event that crosses to another process is the same") {
    auto [here, there] = plait::os::make_channel();
    ForkedChild child{[&, theirs = &there] {
        const auto [first, second] = support::receive<std::tuple<Event, Event>>(*theirs);
        if (!first.wait(30s)) return 1;
        second.set();
        return 0;
    }};
    const Event first;
    const Event second;
    support::send(here, std::tuple{first, second});
    REQUIRE(within(30s, [&] { return first.waiting() == 1; }));
    first.set();
    CHECK(second.wait(30s));
    CHECK(child.join() == 0);
    CHECK((support::arrived(first) == first));
    CHECK_FALSE((first == second));
}
