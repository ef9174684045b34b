// SPDX-License-Identifier: MIT
#include <plait/core/parking.hpp>
#include <plait/core/timeout.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <atomic>
#include <chrono>
#include <thread>

using namespace std::chrono_literals;
using plait::Timeout;
using plait::detail::Deadline;
using support::patience;
using support::Race;
using support::random_time;
namespace parking = plait::detail::parking;

TEST_CASE("what is handed over while a sleep times out or is interrupted is told to the sleeper, once") {
    const char place{};
    const char self{};
    int given = 0;
    std::atomic<bool> patient_one_ended{false};
    parking::Result results[3] = {};
    const auto may_sleep = [] { return true; };
    Race race{"parking: hand over, interrupt and timeout", 20'000};
    const auto failure = race.run(
        [&] {
            int got = 0;
            for (const parking::Result result : results) got += result == parking::Result::handed_over ? 1 : 0;
            patient_one_ended = false;
            return got == given && results[2] == parking::Result::handed_over && parking::waiting(&place) == 0;
        },
        [&] {
            given = 0;
            do {
                parking::wake_one(&place, [&](parking::Sleepers sleepers) {
                    given += sleepers != parking::Sleepers::none ? 1 : 0;
                    return parking::Result::handed_over;
                });
                std::this_thread::yield();
            } while (!patient_one_ended);
        },
        [&] {
            const Deadline deadline{Timeout{random_time(40us)}};
            results[0] = parking::sleep(&place, deadline, may_sleep, parking::Place::last, &self);
        },
        [&] { results[1] = parking::sleep(&place, Deadline{Timeout{random_time(40us)}}, may_sleep); },
        [&] {
            results[2] = parking::sleep(&place, Deadline{Timeout{patience}}, may_sleep);
            patient_one_ended = true;
        },
        [&] { parking::interrupt(&place, &self); });
    CHECK(failure == "");
}
