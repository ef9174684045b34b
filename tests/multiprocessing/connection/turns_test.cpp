// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection/turns.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/forked_child.hpp"

#include <chrono>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::detail::Deadline;
using plait::multiprocessing::detail::Turns;
using support::within;
using Use = Turns::Use;
using Entry = Turns::Entry;

namespace {

const Deadline passed = Deadline::at({});

}  // namespace

TEST_CASE("one thread receives, one sends, and any number look, at the same time") {
    Turns turns;
    CHECK(turns.enter(Use::receive, passed) == Entry::entered);
    CHECK(turns.enter(Use::send, passed) == Entry::entered);
    CHECK(turns.enter(Use::look, passed) == Entry::entered);
    CHECK(turns.enter(Use::look, passed) == Entry::entered);
    CHECK(turns.enter(Use::receive, passed) == Entry::timed_out);
    CHECK(turns.enter(Use::send, Deadline{1ms}) == Entry::timed_out);
    CHECK_FALSE(turns.leave(Use::receive));
    CHECK(turns.enter(Use::receive, passed) == Entry::entered);
    CHECK_FALSE(turns.leave(Use::look));
    CHECK_FALSE(turns.leave(Use::send));
    CHECK_FALSE(turns.leave(Use::receive));
}

TEST_CASE("a turn goes from one to the next, in each direction by itself") {
    Turns turns;
    const Use use = GENERATE(Use::receive, Use::send);
    REQUIRE(turns.enter(use, passed) == Entry::entered);
    int count = 0;  // guarded by the turn
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 100; ++round) {
                if (turns.enter(use, Deadline::never()) != Entry::entered) return;
                ++count;
                static_cast<void>(turns.leave(use));
            }
        });
    CHECK(within(30s, [&] { return turns.waiting() == 3; }));
    CHECK_FALSE(turns.leave(use));
    for (std::thread& thread : threads) thread.join();
    CHECK(count == 300);
}

TEST_CASE("who closes sends those away who wait, and the last one out is told") {
    Turns turns;
    REQUIRE(turns.enter(Use::receive, passed) == Entry::entered);
    REQUIRE(turns.enter(Use::send, passed) == Entry::entered);
    Entry waited = Entry::entered;
    std::thread waiter{[&] { waited = turns.enter(Use::receive, Deadline::never()); }};
    CHECK(within(30s, [&] { return turns.waiting() == 1; }));
    CHECK_FALSE(turns.closed());
    CHECK(turns.close());
    CHECK_FALSE(turns.close());
    CHECK(turns.closed());
    waiter.join();
    CHECK(waited == Entry::closed);
    CHECK(turns.enter(Use::look, passed) == Entry::closed);
    CHECK_FALSE(turns.leave(Use::receive));
    CHECK_FALSE(turns.leave(Use::look));  // who closed looked
    CHECK(turns.leave(Use::send));
}

TEST_CASE("who closes what nobody uses is the last one out") {
    Turns turns;
    CHECK(turns.close());
    CHECK(turns.leave(Use::look));
}

TEST_CASE("a copied process has no turn that a thread of the original had, and can close, and is the last one out") {
    Turns turns;
    REQUIRE(turns.enter(Use::receive, passed) == Entry::entered);
    REQUIRE(turns.enter(Use::look, passed) == Entry::entered);
    const bool closed_before = GENERATE(false, true);
    if (closed_before) REQUIRE(turns.close());
    support::ForkedChild copy{[&] {
        if (turns.closed() != closed_before) return 1;
        if (!closed_before) {
            if (turns.enter(Use::receive, Deadline::never()) != Entry::copied) return 2;
            if (turns.enter(Use::send, passed) != Entry::entered) return 3;
            if (turns.leave(Use::send)) return 4;
            support::ForkedChild second{[&] { return turns.enter(Use::receive, passed) == Entry::copied ? 0 : 1; }};
            if (second.join(30s) != 0) return 5;
        }
        if (!turns.close()) return 6;
        if (turns.close()) return 7;
        return turns.leave(Use::look) ? 0 : 8;
    }};
    CHECK(copy.join(30s) == 0);
    CHECK(turns.closed() == closed_before);
    CHECK_FALSE(turns.leave(Use::receive));
}
