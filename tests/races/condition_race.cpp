// SPDX-License-Identifier: MIT
#include <plait/threading/condition.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <chrono>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;
using plait::threading::Condition;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("a notification that meets a timeout reaches who got it, or who waits on") {
    Condition condition;
    bool waits = false;
    bool reached = false;
    Race race{"condition: notify against timeout", 20'000};
    const auto failure = race.run(
        [&] {
            waits = false;
            return reached && condition.waiting() == 0 && !condition.locked();
        },
        [&] {
            for (;;) {
                {
                    const std::scoped_lock guard{condition};
                    // Who has said that it waits, and let go of the lock, is waiting.
                    if (waits) return condition.notify();
                }
                std::this_thread::yield();
            }
        },
        [&] {
            const std::scoped_lock guard{condition};
            // Who says that it was notified, and has nothing to do, passes it on.
            if (condition.wait(random_time(30us))) condition.notify();
        },
        [&] {
            const std::scoped_lock guard{condition};
            waits = true;
            reached = condition.wait(patience);
        });
    CHECK(failure == "");
}

TEST_CASE("a predicate that has become true is seen, whatever the notification meets") {
    Condition condition;
    bool ready = false;
    bool seen = false;
    Race race{"condition: notify against wait_for", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = seen && condition.waiting() == 0;
            ready = false;
            return fine;
        },
        [&] {
            const std::scoped_lock guard{condition};
            ready = true;
            condition.notify_all();
        },
        [&] {
            const std::scoped_lock guard{condition};
            seen = condition.wait_for([&] { return ready; }, patience);
        },
        [&] {
            const std::scoped_lock guard{condition};
            static_cast<void>(condition.wait_for([&] { return ready; }, random_time(30us)));
        });
    CHECK(failure == "");
}
