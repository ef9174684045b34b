// SPDX-License-Identifier: MIT
#include <plait/threading/timer.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

using namespace std::chrono_literals;
using plait::threading::Timer;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("a timer that is cancelled when its time comes has fired, or never does") {
    std::optional<Timer> timer;
    std::atomic<int> fired{0};
    std::atomic<bool> started{false};
    bool cancels = false;
    bool cancelled[2] = {};
    bool ended = false;
    const auto cancel = [&](int self) {
        while (!started) std::this_thread::yield();
        for (auto steps = support::random_below(100); steps > 0; --steps) plait::detail::sync_point();
        cancelled[self] = cancels && timer->cancel();
    };
    const auto renew = [&] {
        started = false;
        fired = 0;
        cancels = support::random_below(4) != 0;  // else it must fire
        timer.emplace(random_time(40us), [&] { ++fired; });
    };
    renew();
    Race race{"timer: cancel against fire", 5'000};
    const auto failure = race.run(
        [&] {
            const bool fine =
                ended && cancelled[0] == cancelled[1] && fired == (cancelled[0] ? 0 : 1) && timer->finished();
            renew();
            return fine;
        },
        [&] {
            timer->start();
            started = true;
            ended = timer->join(patience);
        },
        [&] { cancel(0); }, [&] { cancel(1); });
    CHECK(failure == "");
}
