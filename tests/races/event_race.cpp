// SPDX-License-Identifier: MIT
#include <plait/threading/event.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <atomic>
#include <chrono>
#include <thread>

using namespace std::chrono_literals;
using plait::threading::Event;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("a set meets waits that begin, and one that times out") {
    Event event;
    bool released = false;
    bool in_time = false;
    Race race{"event: set against wait and timed wait", 30'000};
    const auto failure = race.run(
        [&] {
            const bool fine = released && event.is_set() && event.waiting() == 0;
            event.clear();
            return fine;
        },
        [&] { event.set(); },  //
        [&] { released = event.wait(patience); }, [&] { in_time = event.wait(random_time(20us)); });
    CHECK(failure == "");
}

TEST_CASE("a set that is cleared at once releases who waited, and a second clear takes nothing from it") {
    Event event;
    std::atomic<bool> set{false};
    std::atomic<bool> gave_up{false};
    bool released = false;
    Race race{"event: set, clear and wait", 20'000};
    const auto failure = race.run(
        [&] {
            set = false;
            event.clear();
            return released && event.waiting() == 0;
        },
        [&] {
            // The wait has begun once it sleeps; until it does, each clear may take the set from it.
            while (event.waiting() == 0 && !gave_up) std::this_thread::yield();
            event.set();
            event.clear();
            set = true;
        },
        [&] {
            released = event.wait(patience);
            gave_up = !released;
        },
        [&] {
            while (!set) event.clear();
        });
    CHECK(failure == "");
}

TEST_CASE("two threads wait for each other's events in turn") {
    Event ping;
    Event pong;
    bool fine = true;
    Race race{"event: ping and pong", 20'000};
    const auto failure = race.run([&] { return fine && !ping.is_set() && !pong.is_set(); },
                                  [&] {
                                      ping.set();
                                      fine = pong.wait(patience) && fine;
                                      pong.clear();
                                  },
                                  [&] {
                                      const bool came = ping.wait(patience);
                                      ping.clear();
                                      if (came) pong.set();
                                  });
    CHECK(failure == "");
}
