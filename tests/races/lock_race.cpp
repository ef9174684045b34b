// SPDX-License-Identifier: MIT
#include <plait/threading/lock.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <chrono>

using namespace std::chrono_literals;
using plait::threading::Lock;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("one thread at a time holds a lock, and who waits for it gets it, whoever gives up meanwhile") {
    Lock lock;
    int inside = 0;
    int overlaps = 0;
    int acquired[3] = {};
    const auto visit = [&](int thread, bool got) {
        if (!got) return;
        ++acquired[thread];
        if (++inside != 1) ++overlaps;
        plait::detail::sync_point();
        --inside;
        lock.release();
    };
    Race race{"lock: two that wait and one that gives up", 30'000};
    const auto failure = race.run(
        [&] {
            const bool fine =
                overlaps == 0 && acquired[0] == 2 && acquired[1] == 2 && !lock.locked() && lock.waiting() == 0;
            for (int& count : acquired) count = 0;
            return fine;
        },
        [&] {
            visit(0, lock.acquire(patience));
            visit(0, lock.acquire(patience));
        },
        [&] {
            visit(1, lock.acquire(patience));
            visit(1, lock.acquire(patience));
        },
        [&] { visit(2, lock.acquire(random_time(20us))); });
    CHECK(failure == "");
}
