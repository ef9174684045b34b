// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection/turns.hpp>
#include <plait/multiprocessing/pipe.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <chrono>
#include <optional>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::detail::Deadline;
using plait::multiprocessing::Pipe;
using plait::multiprocessing::PipeEnds;
using plait::multiprocessing::detail::Turns;
using support::patience;
using support::Race;
using support::random_time;

TEST_CASE("one thread at a time has a turn, and who waits for it gets it, whoever gives up or sends meanwhile") {
    Turns turns;
    int inside = 0;
    int overlaps = 0;
    int entered[2] = {};
    const auto visit = [&](Turns::Use use, Deadline deadline) {
        if (turns.enter(use, deadline) != Turns::Entry::entered) return false;
        if (use == Turns::Use::receive && ++inside != 1) ++overlaps;
        plait::detail::sync_point();
        if (use == Turns::Use::receive) --inside;
        return !turns.leave(use);
    };
    Race race{"turns: two that wait, one that gives up, one in the other direction", 10'000};
    const auto failure = race.run(
        [&] {
            const bool fine = overlaps == 0 && entered[0] == 2 && entered[1] == 2 && turns.waiting() == 0;
            for (int& count : entered) count = 0;
            return fine;
        },
        [&] {
            for (int i = 0; i < 2; ++i) entered[0] += visit(Turns::Use::receive, Deadline{patience}) ? 1 : 0;
        },
        [&] {
            for (int i = 0; i < 2; ++i) entered[1] += visit(Turns::Use::receive, Deadline{patience}) ? 1 : 0;
        },
        [&] { visit(Turns::Use::receive, Deadline{random_time(20us)}); },
        [&] { visit(Turns::Use::send, Deadline{patience}); });
    CHECK(failure == "");
}

TEST_CASE("a close wakes who receives, who waits for a turn and who looks, and the end is closed once they have left") {
    std::optional<PipeEnds> ends = Pipe();
    int refused = 0;
    const auto receive = [&](int& count) {
        try {
            static_cast<void>(ends->first.recv<int>(patience));
        } catch (const UsageError&) {
            ++count;
        }
    };
    int first = 0;
    int second = 0;
    Race race{"connection: two that receive, one that polls, one that closes", 2'000};
    const auto failure = race.run(
        [&] {
            // The other end sees it: nobody holds this one open.
            const bool fine = first == 1 && second == 1 && ends->second.poll();
            refused += first + second;
            first = second = 0;
            ends = Pipe();
            return fine;
        },
        [&] { receive(first); }, [&] { receive(second); },
        [&] {
            try {
                static_cast<void>(ends->first.poll(random_time(20us)));
            } catch (const UsageError&) {
            }
        },
        [&] { ends->first.close(); });
    CHECK(failure == "");
    CHECK(refused > 0);
}
