// SPDX-License-Identifier: MIT
#include <plait/core/stop_token.hpp>
#include <plait/threading/event.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <atomic>
#include <chrono>
#include <optional>

using plait::StopCallback;
using plait::StopSource;
using plait::threading::Event;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("a stop ends the wait that was given its token, and no callback runs once its object has gone") {
    std::optional<StopSource> source{std::in_place};
    Event event;
    bool stopped = false;
    bool set = false;
    bool late = false;
    Race race{"stop: request against wait, and against the end of a callback", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = stopped && !set && !late && event.waiting() == 0;
            source.emplace();
            return fine;
        },
        [&] { stopped = source->request_stop(); }, [&] { set = event.wait(patience, source->get_token()); },
        [&] {
            std::atomic<int> runs{0};
            {
                const StopCallback callback{source->get_token(), [&] {
                                                ++runs;
                                                plait::detail::sync_point();
                                                ++runs;
                                            }};
                plait::detail::sync_point();
            }
            late = runs == 1;
        });
    CHECK(failure == "");
}
