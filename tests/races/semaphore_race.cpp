// SPDX-License-Identifier: MIT
#include <plait/threading/semaphore.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <chrono>

using namespace std::chrono_literals;
using plait::threading::Semaphore;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("a permit that is released while an acquire times out is neither lost nor given twice") {
    Semaphore semaphore{0};
    bool acquired = false;
    Race race{"semaphore: release against timed acquire", 30'000};
    const auto failure = race.run(
        [&] {
            const bool fine = semaphore.value() == (acquired ? 0 : 1) && semaphore.waiting() == 0;
            if (!acquired) static_cast<void>(semaphore.try_acquire());
            return fine;
        },
        [&] { semaphore.release(); },  //
        [&] { acquired = semaphore.acquire(random_time(30us)); });
    CHECK(failure == "");
}

TEST_CASE("a permit passes one that gives up and reaches one that waits") {
    Semaphore semaphore{0};
    bool reached = false;
    Race race{"semaphore: release, one that gives up and one that waits", 20'000};
    const auto failure = race.run([&] { return reached && semaphore.value() == 0 && semaphore.waiting() == 0; },
                                  [&] { semaphore.release(); },
                                  [&] {
                                      if (semaphore.acquire(random_time(30us))) semaphore.release();
                                  },
                                  [&] { reached = semaphore.acquire(patience); });
    CHECK(failure == "");
}

TEST_CASE("several permits released at once reach as many who wait") {
    Semaphore semaphore{0};
    bool reached[2] = {};
    Race race{"semaphore: release of two against two that wait", 20'000};
    const auto failure =
        race.run([&] { return reached[0] && reached[1] && semaphore.value() == 0 && semaphore.waiting() == 0; },
                 [&] { semaphore.release(2); },  //
                 [&] { reached[0] = semaphore.acquire(patience); }, [&] { reached[1] = semaphore.acquire(patience); });
    CHECK(failure == "");
}
