// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/barrier.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/travel.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::BrokenBarrierError;
using plait::Timeout;
using plait::UsageError;
using plait::multiprocessing::Barrier;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

namespace {

constexpr int broken = 50;  // the exit code of one that was told so

/// A child that waits once, and exits with its index.
ForkedChild waiter_at(const Barrier& barrier, Timeout timeout = 30s) {
    return ForkedChild{[barrier, timeout] {
        try {
            return static_cast<int>(barrier.wait(timeout));
        } catch (const BrokenBarrierError&) {
            return broken;
        }
    }};
}

std::vector<ForkedChild> waiters_at(const Barrier& barrier, std::size_t count) {
    std::vector<ForkedChild> waiters;
    const std::size_t before = barrier.n_waiting();
    for (std::size_t i = 1; i <= count; ++i) {
        waiters.push_back(waiter_at(barrier));
        if (!within(30s, [&] { return barrier.n_waiting() == before + i; })) throw std::runtime_error("no waiter");
    }
    return waiters;
}

// What an action does, it does to this: a captureless one reaches nothing else. Its children share it.
struct Board {
    std::atomic<int> calls{0};
    std::atomic<int> caller{0};
    std::atomic<int> entered{0};  // by how many who then stay
    std::atomic<int> may_end{0};
};
Board& board() {
    static const SharedVariable<Board> shared;
    return *shared;
}
void count_call() {
    ++board().calls;
    board().caller = ::getpid();
}
void stay() {
    ++board().entered;
    while (board().may_end == 0) std::this_thread::yield();
}

}  // namespace

TEST_CASE("a number of parties that cannot be is refused") {
    CHECK_THROWS_AS(Barrier{0}, std::invalid_argument);
    CHECK_THROWS_AS(Barrier{-1}, std::invalid_argument);
    CHECK_THROWS_AS(Barrier{Barrier::max_parties + 1}, std::invalid_argument);
    const Barrier alone{1};
    CHECK(alone.wait() == 0);
    CHECK(alone.wait(0s) == 0);
    CHECK(alone.parties() == 1);
}

TEST_CASE("the last to arrive lets all go, each with a number of its own") {
    constexpr int rounds = 2'000;  // where they slept until their next look this would take longer than a case may
    constexpr std::size_t parties = 4;
    const Barrier barrier{static_cast<std::ptrdiff_t>(parties)};
    const SharedVariable<std::array<std::atomic<int>, rounds>> sums;
    const SharedVariable<std::atomic<int>> arrivals{0};
    const auto work = [&] {
        for (int round = 0; round < rounds; ++round) {
            ++*arrivals;
            (*sums)[static_cast<std::size_t>(round)] += 1 << (4 * static_cast<int>(barrier.wait(30s)));
            if (arrivals->load() < static_cast<int>(parties) * (round + 1)) return 1;
        }
        return 0;
    };
    std::vector<ForkedChild> children;
    for (std::size_t i = 1; i < parties; ++i) children.emplace_back(work);
    CHECK(work() == 0);
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    int wrong = 0;
    for (const auto& sum : *sums) wrong += sum.load() == 0x1111 ? 0 : 1;
    CHECK(wrong == 0);
    CHECK(barrier.n_waiting() == 0);
    CHECK_FALSE(barrier.broken());
}

TEST_CASE("the action runs once a round, in who arrives last, before anybody is let go") {
    board().calls = 0;
    const Barrier barrier{3, count_call};
    for (int round = 1; round <= 10; ++round) {
        std::vector<ForkedChild> waiters = waiters_at(barrier, 2);
        CHECK(board().calls == round - 1);
        ForkedChild last{[&] { return static_cast<int>(barrier.wait(30s)) + board().calls.load(); }};
        const pid_t pid = last.pid();
        CHECK(last.join() == 2 + round);
        CHECK(waiters[0].join() == 0);
        CHECK(waiters[1].join() == 1);
        CHECK(board().caller == pid);
    }
    CHECK(board().calls == 10);
    const Barrier other{1, [] { ++board().calls; }, 1s};
    CHECK(other.wait() == 0);
    CHECK(board().calls == 11);
}

TEST_CASE("an action that throws breaks the barrier, and throws where it ran") {
    const Barrier barrier{2, [] { throw std::out_of_range("action"); }};
    std::vector<ForkedChild> waiters = waiters_at(barrier, 1);
    CHECK_THROWS_AS(barrier.wait(), std::out_of_range);
    CHECK(waiters[0].join() == broken);
    CHECK(barrier.broken());
    CHECK_THROWS_AS(barrier.wait(), BrokenBarrierError);
    barrier.reset();
    CHECK_FALSE(barrier.broken());
}

TEST_CASE("when the process that runs the action dies, the others are told") {
    board().entered = 0;
    board().may_end = 0;
    const Barrier barrier{3, stay};
    std::vector<ForkedChild> waiters = waiters_at(barrier, 2);
    ForkedChild last = waiter_at(barrier);
    REQUIRE(within(30s, [&] { return board().entered == 1; }));
    ForkedChild early = waiter_at(barrier);  // for the next round
    CHECK(barrier.n_waiting() == 3);
    last.kill();
    for (ForkedChild& waiter : waiters) CHECK(waiter.join(20s) == broken);
    CHECK(early.join(20s) == broken);
    CHECK(barrier.broken());

    barrier.reset();
    board().may_end = 1;
    std::vector<ForkedChild> again = waiters_at(barrier, 2);
    CHECK(barrier.wait(30s) == 2);
    for (ForkedChild& waiter : again) CHECK(waiter.join() != broken);
}

TEST_CASE("while the action runs it is too late for a timeout, and who comes then waits for the next round") {
    board().entered = 0;
    board().may_end = 0;
    const Barrier barrier{2, stay};
    ForkedChild waiter = waiter_at(barrier, 4s);
    REQUIRE(within(30s, [&] { return barrier.n_waiting() == 1; }));
    ForkedChild last = waiter_at(barrier);
    REQUIRE(within(30s, [&] { return board().entered == 1; }));
    ForkedChild next = waiter_at(barrier, 20ms);
    CHECK_FALSE(waiter.join(4'100ms));
    CHECK_FALSE(next.join(0ms));
    board().may_end = 1;
    CHECK(waiter.join() == 0);
    CHECK(last.join() == 1);
    // And now its own time is over, for nobody else comes.
    CHECK(next.join() == broken);
}

TEST_CASE("a wait in the action is refused") {
    static const Barrier* inner = nullptr;
    const Barrier barrier{1, [] { inner->wait(); }};
    inner = &barrier;
    CHECK_THROWS_AS(barrier.wait(), UsageError);
    CHECK(barrier.broken());
}

TEST_CASE("a wait that takes too long breaks the barrier for all") {
    const Barrier barrier{3};
    std::vector<ForkedChild> waiters = waiters_at(barrier, 1);
    const support::SignalStorm storm;
    const auto begin = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(barrier.wait(150ms), BrokenBarrierError);
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 150ms);
    CHECK(time < 30s);
    CHECK(waiters[0].join() == broken);
    CHECK(barrier.n_waiting() == 0);
    CHECK_THROWS_AS(barrier.wait(), BrokenBarrierError);

    const Barrier short_tempered{2, 10ms};
    CHECK_THROWS_AS(short_tempered.wait(), BrokenBarrierError);
    short_tempered.reset();
    CHECK_THROWS_AS(short_tempered.wait(0s), BrokenBarrierError);
}

TEST_CASE("abort breaks the barrier until it is reset") {
    const Barrier barrier{3};
    std::vector<ForkedChild> waiters = waiters_at(barrier, 2);
    barrier.abort();
    barrier.abort();
    for (ForkedChild& waiter : waiters) CHECK(waiter.join() == broken);
    CHECK(barrier.broken());
    CHECK(waiter_at(barrier).join() == broken);
    barrier.reset();
    std::vector<ForkedChild> again = waiters_at(barrier, 2);
    CHECK(barrier.wait(30s) == 2);
    for (int i = 0; i < 2; ++i) CHECK(again[static_cast<std::size_t>(i)].join() == i);
}

TEST_CASE("reset sends away who waits, and the next round passes") {
    const Barrier barrier{3};
    barrier.reset();  // nobody is there
    for (int round = 0; round < 5; ++round) {
        std::vector<ForkedChild> waiters = waiters_at(barrier, 2);
        for (ForkedChild& waiter : waiters) waiter.signal(SIGSTOP);
        barrier.reset();
        CHECK_FALSE(barrier.broken());
        CHECK(barrier.n_waiting() == 0);
        // Those of the old round, who have not seen it yet, are not in the way of a new one.
        std::vector<ForkedChild> others = waiters_at(barrier, 2);
        CHECK(barrier.wait(30s) == 2);
        for (ForkedChild& other : others) CHECK(other.join() != broken);
        for (ForkedChild& waiter : waiters) waiter.signal(SIGCONT);
        for (ForkedChild& waiter : waiters) CHECK(waiter.join() == broken);
    }
}

TEST_CASE("a reset during the action breaks its round, and the next does not wait for it longer than it has to") {
    board().entered = 0;
    board().may_end = 0;
    const Barrier barrier{2, stay};
    std::vector<ForkedChild> waiters = waiters_at(barrier, 1);
    ForkedChild last = waiter_at(barrier);
    REQUIRE(within(30s, [&] { return board().entered == 1; }));
    barrier.reset();
    CHECK(waiters[0].join(20s) == broken);
    CHECK_FALSE(barrier.broken());
    std::vector<ForkedChild> next = waiters_at(barrier, 1);
    const auto begin = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(barrier.wait(150ms), BrokenBarrierError);  // one action at a time
    CHECK(std::chrono::steady_clock::now() - begin < 30s);
    CHECK(next[0].join() == broken);
    board().may_end = 1;
    CHECK(last.join() == broken);
    barrier.reset();
    next = waiters_at(barrier, 1);
    CHECK(barrier.wait(30s) == 1);
    CHECK(next[0].join() == 0);
}

TEST_CASE("who dies after it arrived has arrived") {
    const Barrier barrier{3};
    std::vector<ForkedChild> waiters = waiters_at(barrier, 2);
    waiters[0].kill();
    CHECK(barrier.n_waiting() == 2);
    CHECK(barrier.wait(30s) == 2);
    CHECK(waiters[1].join() == 1);
    // The next round lacks one, and ends as everybody's timeout says.
    waiters = waiters_at(barrier, 1);
    CHECK_THROWS_AS(barrier.wait(150ms), BrokenBarrierError);
    CHECK(waiters[0].join() == broken);
}

TEST_CASE("a reset that races the last arrival makes the round pass for all or for none") {
    constexpr int rounds = 300;
    const Barrier barrier{2};
    const SharedVariable<std::array<std::atomic<int>, rounds>> passed;
    const SharedVariable<std::atomic<int>> ready{0};
    const auto arrive = [&] {
        for (int round = 0; round < rounds; ++round) {
            ++*ready;
            while (ready->load() < 3 * round + 3) std::this_thread::yield();
            try {
                barrier.wait(30s);
                ++(*passed)[static_cast<std::size_t>(round)];
            } catch (const BrokenBarrierError&) {
                // Alone now, perhaps, for the other came after the reset: it is let go by another one.
            }
        }
        return 0;
    };
    ForkedChild first{arrive};
    ForkedChild second{arrive};
    for (int round = 0; round < rounds; ++round) {
        while (ready->load() < 3 * round + 2) std::this_thread::yield();
        ++*ready;
        barrier.reset();
        while (ready->load() < 3 * round + 5 && round + 1 < rounds) barrier.reset();
    }
    while (!first.join(1ms)) barrier.reset();
    while (!second.join(1ms)) barrier.reset();
    CHECK(first.join() == 0);
    CHECK(second.join() == 0);
    int mixed = 0;
    for (const auto& count : *passed) mixed += count.load() == 1 ? 1 : 0;
    CHECK(mixed == 0);
}

TEST_CASE("a barrier that crosses to another process is the same, with its action") {
    board().calls = 0;
    auto [here, there] = plait::os::make_channel();
    ForkedChild child{[&, theirs = &there] {
        const auto barrier = support::receive<Barrier>(*theirs);
        return static_cast<int>(barrier.wait(30s)) + static_cast<int>(barrier.wait(30s));
    }};
    const Barrier barrier{2, count_call, 30s};
    support::send(here, barrier);
    const auto first = barrier.wait();
    const auto second = barrier.wait();
    CHECK(child.join() == static_cast<int>(2 - first - second));
    CHECK(board().calls == 2);
    CHECK((support::arrived(barrier) == barrier));
    const Barrier plain{1};
    CHECK((support::arrived(plain) == plain));
    CHECK(support::arrived(plain).wait() == 0);
}
