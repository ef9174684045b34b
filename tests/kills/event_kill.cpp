// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/event.hpp>

#include "kills/campaign.hpp"
#include "support/catch.hpp"
#include "support/deadline.hpp"

using namespace std::chrono_literals;
using kills::Campaign;
using kills::Try;
using plait::multiprocessing::Event;
using support::within;

TEST_CASE("a process that is killed at any step of a set has set the event or not, and holds up nobody") {
    Campaign campaign{"event, set and clear"};
    CHECK(campaign.run([](Try& run) {
        const Event event;
        for (int i = 0; i < 2; ++i) run.survivor([&] { return event.wait(30s) ? 0 : 1; });
        if (!within(10s, [&] { return event.waiting() == 2; })) run.count_lost();
        run.victim([&] {
            event.set();
            event.clear();
        });
        run.survivor([&] {
            run.await_death();
            run.promptly([&] { event.set(); });
            return 0;
        });
        run.promptly([&] { run.finish(); });
        if (!event.is_set()) run.count_lost();
    }) == "");
}

TEST_CASE("a process that is killed at any step of a wait for an event holds up nobody") {
    Campaign campaign{"event, waiting"};
    CHECK(campaign.run([](Try& run) {
        const Event event;
        run.victim([&] { static_cast<void>(event.wait(30s)); });
        run.survivor([&] { return event.wait(30s) ? 0 : 1; });
        if (!within(10s, [&] { return event.waiting() == 2 || (event.waiting() == 1 && run.has_victim_ended()); }))
            run.count_lost();
        run.promptly([&] { event.set(); });
        run.finish();
        event.clear();
        if (event.is_set()) run.count_duplicated();
        run.promptly([&] { event.set(); });
        if (!event.wait(0s)) run.count_lost();
    }) == "");
}
