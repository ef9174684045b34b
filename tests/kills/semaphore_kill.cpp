// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/semaphore.hpp>

#include "kills/campaign.hpp"
#include "support/catch.hpp"
#include "support/deadline.hpp"

using namespace std::chrono_literals;
using kills::Campaign;
using kills::Try;
using plait::multiprocessing::Semaphore;
using support::SharedVariable;
using support::within;

TEST_CASE("a process that is killed at any step takes no more than its own permit with it") {
    Campaign campaign{"semaphore, competing"};
    CHECK(campaign.run([](Try& run) {
        const Semaphore semaphore{2};
        run.victim([&] {
            semaphore.acquire();
            semaphore.release();
        });
        for (int i = 0; i < 2; ++i)
            run.survivor([&] {
                do {
                    run.promptly([&] { semaphore.acquire(); });
                    run.promptly([&] { semaphore.release(); });
                } while (!run.is_over());
                return 0;
            });
        run.finish();
        if (semaphore.value() < 1) run.count_lost();
        if (semaphore.value() > 2) run.count_duplicated();
    }) == "");
}

TEST_CASE("a process that is killed while it waits for a permit leaves it to another") {
    Campaign campaign{"semaphore, waiting"};
    CHECK(campaign.run([](Try& run) {
        const Semaphore semaphore{0};
        const SharedVariable<std::atomic<int>> taken{0};
        run.victim([&] {
            if (taken->load() != 0) support::wait_for_ever();
            semaphore.acquire();
            plait::detail::sync_point();
            ++*taken;
        });
        run.survivor([&] { return semaphore.acquire(30s) ? 0 : 1; });
        if (!within(10s,
                    [&] { return semaphore.waiting() == 2 || (semaphore.waiting() == 1 && run.has_victim_ended()); }))
            run.count_lost();
        semaphore.release();
        run.promptly([&] { semaphore.release(); });
        run.finish();
        // The survivor has one of the two permits. The other is free, or went with the victim, which wrote that down or not.
        if (semaphore.value() > 1 - taken->load()) run.count_duplicated();
    }) == "");
}

TEST_CASE("a process that is killed at any step of a release has released or not, and who waits gets the next") {
    Campaign campaign{"semaphore, releasing"};
    CHECK(campaign.run([](Try& run) {
        const Semaphore semaphore{0};
        for (int i = 0; i < 2; ++i) run.survivor([&] { return semaphore.acquire(30s) ? 0 : 1; });
        if (!within(10s, [&] { return semaphore.waiting() == 2; })) run.count_lost();
        run.victim([&] { semaphore.release(); });
        run.survivor([&] {
            run.await_death();
            run.promptly([&] { semaphore.release(2); });
            return 0;
        });
        run.promptly([&] { run.finish(); });
        if (semaphore.waiting() != 0) run.count_lost();
    }) == "");
}
