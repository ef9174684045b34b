// SPDX-License-Identifier: MIT
#include <plait/threading/event.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using plait::StopSource;
using plait::threading::Event;
using support::within;

namespace {

/// Threads that wait on `event`; `released()` joins them and tells how many `wait` let go.
class Waiters {
public:
    Waiters(Event& event, int count) {
        for (int i = 0; i < count; ++i) threads_.emplace_back([&] { released_ += event.wait(30s) ? 1 : 0; });
        while (event.waiting() != static_cast<std::size_t>(count)) std::this_thread::yield();
    }
    int released() {
        for (auto& thread : threads_) thread.join();
        return released_;
    }

private:
    std::atomic<int> released_{0};
    std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("an event starts clear, and remembers set and clear") {
    Event event;
    CHECK_FALSE(event.is_set());
    event.set();
    event.set();
    CHECK(event.is_set());
    CHECK(event.wait(0s));
    event.clear();
    event.clear();
    CHECK_FALSE(event.is_set());
}

TEST_CASE("set releases every waiting thread, round after round") {
    Event event;
    for (int round = 0; round < 2; ++round) {
        Waiters waiters{event, 5};
        event.set();
        CHECK(waiters.released() == 5);
        CHECK(event.waiting() == 0);
        event.clear();
    }
}

TEST_CASE("a clear right after set catches none of the released again") {
    Event event;
    Waiters waiters{event, 5};
    event.set();
    event.clear();
    CHECK(waiters.released() == 5);
}

TEST_CASE("a wait that times out says so, and leaves nothing behind") {
    Event event;
    CHECK_FALSE(event.wait(1ms));
    CHECK_FALSE(event.wait(0ms));
    CHECK_FALSE(event.wait(-1h));
    CHECK(event.waiting() == 0);
}

TEST_CASE("the longest duration is never, not the past") {
    Event event;
    std::thread setter{[&] {
        while (event.waiting() == 0) std::this_thread::yield();
        event.set();
    }};
    CHECK(event.wait(std::chrono::hours::max()));
    setter.join();
}

TEST_CASE("what was written before set is seen after wait") {
    Event event;
    int value = 0;
    std::thread writer{[&] {
        value = 42;
        event.set();
    }};
    event.wait();
    CHECK(value == 42);
    writer.join();
}

TEST_CASE("a released thread may destroy the event while set is still returning") {
    for (int round = 0; round < 2000; ++round) {
        auto event = std::make_unique<Event>();
        std::thread setter{[&event = *event] { event.set(); }};
        event->wait();
        event.reset();
        setter.join();
    }
}

TEST_CASE("an event is ready before main and needs no destruction") {
    static constinit Event event;
    CHECK_FALSE(event.is_set());
    STATIC_REQUIRE(std::is_trivially_destructible_v<Event>);
}

TEST_CASE("no set is lost between two threads that wait for each other in turn") {
    Event ping;
    Event pong;
    constexpr int rounds = 20'000;
    std::thread other{[&] {
        for (int round = 0; round < rounds; ++round) {
            ping.wait();
            ping.clear();
            pong.set();
        }
    }};
    for (int round = 0; round < rounds; ++round) {
        ping.set();
        pong.wait();
        pong.clear();
    }
    other.join();
    CHECK(ping.waiting() + pong.waiting() == 0);
}

TEST_CASE("waits that time out while set arrives lose nothing") {
    Event event;
    std::atomic<int> seen{0};
    std::atomic<bool> stop{false};
    std::thread waiter{[&] {
        while (!stop)
            if (event.wait(20us)) {
                event.clear();
                ++seen;
            }
    }};
    for (int sent = 0; sent < 5'000; ++sent) {
        event.set();
        while (seen == sent) std::this_thread::yield();
    }
    stop = true;
    waiter.join();
    CHECK(seen == 5'000);
}

TEST_CASE("an event is neither copied nor asked for its truth") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Event>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<bool, Event&>);
}

TEST_CASE("a requested stop ends the wait that was given its token, and no other") {
    Event event;
    StopSource source;
    std::atomic<int> stopped{0};
    std::thread with_token{[&] { stopped += event.wait(source.get_token()) ? 0 : 1; }};
    std::thread with_both{[&] { stopped += event.wait(30s, source.get_token()) ? 0 : 1; }};
    std::thread without{[&] { stopped += event.wait(30s) ? 0 : 1; }};
    CHECK(within(20s, [&] { return event.waiting() == 3; }));
    source.request_stop();
    with_token.join();
    with_both.join();
    CHECK(stopped == 2);
    CHECK(event.waiting() == 1);
    CHECK_FALSE(event.wait(source.get_token()));
    event.set();
    without.join();
    CHECK(stopped == 2);
    CHECK(event.wait(source.get_token()));
}

TEST_CASE("who sleeps on another event at the same place is not woken by the set of the one before") {
    namespace parking = plait::detail::parking;
    Event event;
    CHECK_FALSE(event.wait(1ns));  // its set is going to look for sleepers
    std::thread setter;
    bool seen_too_early = true;
    // While nobody can begin a sleep there: were the event seen to be set, it could be destroyed and made anew.
    const auto hold = [&] {
        setter = std::thread{[&] { event.set(); }};
        seen_too_early = within(100ms, [&] { return event.is_set(); });
        return false;
    };
    CHECK(parking::sleep(&event, plait::detail::Deadline::never(), hold) == parking::Result::unwanted);
    setter.join();
    CHECK_FALSE(seen_too_early);
    CHECK(event.is_set());
}
