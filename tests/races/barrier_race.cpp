// SPDX-License-Identifier: MIT
#include <plait/core/error.hpp>
#include <plait/threading/barrier.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <chrono>
#include <cstddef>
#include <thread>

using plait::BrokenBarrierError;
using plait::threading::Barrier;
using support::patience;
using support::Race;

TEST_CASE("a reset that meets the last arrival lets all pass, or none") {
    Barrier barrier(2);
    std::size_t index[2] = {};
    int broken[2] = {};
    // Who is turned away comes again. Had one passed and the other not, the other would wait alone, and break the round
    // by its timeout: then it is turned away a second time.
    const auto pass = [&](std::size_t self) {
        for (broken[self] = 0; broken[self] < 2; ++broken[self]) {
            try {
                index[self] = barrier.wait(patience);
                return;
            } catch (const BrokenBarrierError&) {
            }
        }
    };
    Race race{"barrier: reset against last arrival", 20'000};
    const auto failure = race.run(
        [&] {
            return broken[0] < 2 && broken[1] < 2 && index[0] + index[1] == 1 && barrier.n_waiting() == 0 &&
                   !barrier.broken();
        },
        [&] { pass(0); }, [&] { pass(1); },  //
        [&] {
            // Most often one has arrived by then.
            for (int i = 0; i < 20 && barrier.n_waiting() == 0; ++i) std::this_thread::yield();
            barrier.reset();
        });
    CHECK(failure == "");
}

TEST_CASE("an abort that meets the last arrival lets all pass, or none") {
    Barrier barrier(2);
    bool passed[2] = {};
    const auto pass = [&](std::size_t self) {
        try {
            static_cast<void>(barrier.wait(patience));
            passed[self] = true;
        } catch (const BrokenBarrierError&) {
            passed[self] = false;
        }
    };
    Race race{"barrier: abort against last arrival", 20'000};
    const auto failure = race.run(
        [&] {
            const bool fine = passed[0] == passed[1] && barrier.broken() && barrier.n_waiting() == 0;
            barrier.reset();
            return fine;
        },
        [&] { pass(0); }, [&] { pass(1); }, [&] { barrier.abort(); });
    CHECK(failure == "");
}

TEST_CASE("three threads pass a barrier of three again and again, each with an index of its own") {
    Barrier barrier(3);
    int sum[3] = {};
    const auto pass = [&](std::size_t self) {
        sum[self] = 0;
        for (int i = 0; i < 3; ++i) sum[self] += 1 << (3 * static_cast<int>(barrier.wait(patience)));
    };
    Race race{"barrier: three parties", 10'000};
    const auto failure =
        race.run([&] { return sum[0] + sum[1] + sum[2] == 3 + (3 << 3) + (3 << 6) && barrier.n_waiting() == 0; },
                 [&] { pass(0); }, [&] { pass(1); }, [&] { pass(2); });
    CHECK(failure == "");
}
