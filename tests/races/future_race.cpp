// SPDX-License-Identifier: MIT
#include <plait/core/error.hpp>
#include <plait/core/future.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <atomic>
#include <chrono>
#include <optional>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::Future;
using plait::Promise;
using plait::TimeoutError;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("a result reaches who waits for it, who gives up or not, and each callback once") {
    std::optional<Promise<int>> promise;
    std::optional<Future<int>> future;
    std::atomic<int> callbacks{0};
    bool got = false;
    bool wrong = false;
    const auto renew = [&] {
        promise.emplace();
        future.emplace(promise->future());
        callbacks = 0;
        wrong = false;
    };
    renew();
    Race race{"future: result against waits and callbacks", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = got && !wrong && callbacks == 2;
            renew();
            return fine;
        },
        [&] { promise->set_value(42); }, [&] { got = future->wait(patience) && future->get() == 42; },
        [&] {
            future->add_done_callback([&](const Future<int>&) { ++callbacks; });
            if (future->wait(random_time(20us))) wrong = future->get() != 42;
            future->add_done_callback([&](const Future<int>&) { ++callbacks; });
        });
    CHECK(failure == "");
}

TEST_CASE("a call is begun or cancelled, never both") {
    std::optional<Promise<int>> promise;
    std::optional<Future<int>> future;
    bool begun = false;
    bool cancelled[2] = {};
    int got = 0;
    const auto renew = [&] {
        promise.emplace();
        future.emplace(promise->future());
    };
    renew();
    Race race{"future: cancel against start", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = begun ? !cancelled[0] && !cancelled[1] && got == 42
                                    : cancelled[0] && cancelled[1] && got == -1 && future->cancelled();
            renew();
            return fine;
        },
        [&] {
            begun = promise->set_running();
            if (begun) promise->set_value(42);
        },
        [&] { cancelled[0] = future->cancel(); }, [&] { cancelled[1] = future->cancel(); },
        [&] {
            try {
                got = future->get(patience);
            } catch (const CancelledError&) {
                got = -1;
            } catch (const TimeoutError&) {
                got = 0;
            }
        });
    CHECK(failure == "");
}
