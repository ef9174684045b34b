// SPDX-License-Identifier: MIT
#include <plait/asyncio/barrier.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <vector>

using namespace std::chrono_literals;
using plait::BrokenBarrierError;
using plait::asyncio::Barrier;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}
Task<std::size_t> arrive(Barrier& barrier) { return aio::create_task(barrier.wait()); }

constexpr int broke = -1;

/// The index, or `broke`.
Task<int> try_arrive(Barrier& barrier) {
    return aio::create_task([&]() -> Coroutine<int> {
        try {
            co_return static_cast<int>(co_await barrier.wait());
        } catch (const BrokenBarrierError&) {
            co_return broke;
        }
    });
}
Coroutine<std::vector<int>> results(std::vector<Task<int>>& tasks) {
    std::vector<int> all;
    for (auto& task : tasks) {
        const int result = co_await task;
        all.push_back(result);
    }
    co_return all;
}

}  // namespace

TEST_CASE("a barrier is for one task or more") {
    CHECK_THROWS_AS(Barrier(0), std::invalid_argument);
    CHECK_THROWS_AS(Barrier(-1), std::invalid_argument);
    const Barrier barrier(3);
    CHECK(barrier.parties() == 3);
    CHECK(barrier.n_waiting() == 0);
    CHECK_FALSE(barrier.broken());
}

TEST_CASE("a barrier of one lets it pass again and again, without another task running") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(1);
        bool other_ran = false;
        auto other = aio::create_task([&]() -> Coroutine<void> {
            other_ran = true;
            co_return;
        });
        for (int i = 0; i < 3; ++i) {
            const std::size_t index = co_await barrier.wait();
            CHECK(index == 0);
        }
        CHECK_FALSE(other_ran);
        co_await other;
    });
}

TEST_CASE("the last to arrive lets all pass, each with a number of its own, round after round") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(3);
        for (int round = 0; round < 3; ++round) {
            auto a = arrive(barrier);
            auto b = arrive(barrier);
            co_await settle();
            CHECK(barrier.n_waiting() == 2);
            CHECK(barrier.waiting() == 2);
            CHECK_FALSE(a.done());
            const std::size_t last = co_await barrier.wait();
            CHECK(last == 2);
            CHECK(barrier.n_waiting() == 0);
            const std::size_t first = co_await a;
            const std::size_t second = co_await b;
            CHECK(first == 0);
            CHECK(second == 1);
        }
    });
}

TEST_CASE("who arrives while a round is let go waits for the next") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(2);
        std::vector<int> rounds;
        const auto walk = [&](int id) -> Coroutine<void> {
            for (int round = 0; round < 3; ++round) {
                co_await barrier.wait();
                rounds.push_back(round * 10 + id);
            }
        };
        auto a = aio::create_task(walk(1));
        auto b = aio::create_task(walk(2));
        co_await a;
        co_await b;
        // Nobody is a round ahead.
        for (std::size_t i = 0; i < rounds.size(); ++i) CHECK(rounds[i] / 10 == static_cast<int>(i / 2));
        CHECK(rounds.size() == 6);

        auto c = arrive(barrier);
        co_await settle();
        co_await barrier.wait();
        auto d = arrive(barrier);  // c has passed, but not had its turn
        co_await settle();
        CHECK(c.done());
        CHECK_FALSE(d.done());
        CHECK(barrier.n_waiting() == 1);
        co_await barrier.wait();
        co_await d;
    });
}

TEST_CASE("a task that is cancelled while it waits has not arrived") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(3);
        auto a = arrive(barrier);
        auto b = arrive(barrier);
        co_await settle();
        a.cancel();
        CHECK(barrier.n_waiting() == 1);
        co_await settle();
        CHECK(a.cancelled());
        auto c = arrive(barrier);
        co_await settle();
        CHECK_FALSE(b.done());
        CHECK_FALSE(c.done());
        const std::size_t last = co_await barrier.wait();
        const std::size_t first = co_await b;
        const std::size_t second = co_await c;
        CHECK(first == 0);  // numbers stay distinct
        CHECK(second == 1);
        CHECK(last == 2);
    });
}

TEST_CASE("a task that is cancelled after its round was full leaves the others to pass") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(3);
        auto a = arrive(barrier);
        auto b = arrive(barrier);
        co_await settle();
        co_await barrier.wait();
        a.cancel();
        co_await settle();
        CHECK(a.cancelled());
        const std::size_t second = co_await b;
        CHECK(second == 1);
        CHECK(barrier.n_waiting() == 0);
        CHECK_FALSE(barrier.broken());
    });
}

TEST_CASE("abort breaks the barrier for who waits and who comes, until reset") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(3);
        std::vector<Task<int>> tasks{try_arrive(barrier), try_arrive(barrier)};
        co_await settle();
        barrier.abort();
        CHECK(barrier.broken());
        CHECK(barrier.n_waiting() == 0);
        tasks.push_back(try_arrive(barrier));
        const std::vector<int> broken = co_await results(tasks);
        CHECK(broken == std::vector<int>{broke, broke, broke});
        barrier.abort();
        CHECK(barrier.broken());

        barrier.reset();
        CHECK_FALSE(barrier.broken());
        tasks = {try_arrive(barrier), try_arrive(barrier), try_arrive(barrier)};
        const std::vector<int> whole = co_await results(tasks);
        CHECK(whole == std::vector<int>{0, 1, 2});
    });
}

TEST_CASE("reset breaks the round that waits, and the next begins at once") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(2);
        auto a = try_arrive(barrier);
        co_await settle();
        barrier.reset();
        CHECK_FALSE(barrier.broken());
        CHECK(barrier.n_waiting() == 0);
        std::vector<Task<int>> tasks{a, try_arrive(barrier), try_arrive(barrier)};
        const std::vector<int> ends = co_await results(tasks);
        CHECK(ends == std::vector<int>{broke, 0, 1});
        barrier.reset();
        CHECK_FALSE(barrier.broken());
    });
}

TEST_CASE(
    "broken when half have passed and one of them waits again, a barrier breaks the next round, not the full one") {
    for (const bool abort : {false, true})
        run_virtual([abort]() -> Coroutine<void> {
            Barrier barrier(4);
            auto again = aio::create_task([&]() -> Coroutine<int> {
                co_await barrier.wait();
                co_return co_await try_arrive(barrier);
            });
            auto breaker = aio::create_task([&, abort]() -> Coroutine<void> {
                co_await barrier.wait();
                co_await aio::sleep(0s);
                CHECK(barrier.n_waiting() == 1);
                abort ? barrier.abort() : barrier.reset();
            });
            auto slow = aio::create_task([&]() -> Coroutine<int> {
                const int index = co_await try_arrive(barrier);
                co_return index;
            });
            co_await settle();
            const std::size_t last = co_await barrier.wait();
            CHECK(last == 3);
            co_await breaker;
            const int second_round = co_await again;
            CHECK(second_round == broke);
            const int first_round = co_await slow;
            CHECK(first_round == 2);
            CHECK(barrier.broken() == abort);
            CHECK(barrier.n_waiting() == 0);
        });
}

TEST_CASE("abort between a full round and its tasks' turns comes too late for them") {
    run_virtual([]() -> Coroutine<void> {
        Barrier barrier(3);
        std::vector<Task<int>> tasks{try_arrive(barrier), try_arrive(barrier)};
        co_await settle();
        co_await barrier.wait();
        barrier.abort();
        const std::vector<int> ends = co_await results(tasks);
        CHECK(ends == std::vector<int>{0, 1});
        CHECK(barrier.broken());
    });
}

TEST_CASE("a barrier may be destroyed when its round has passed, before its tasks' turns") {
    run_virtual([]() -> Coroutine<void> {
        auto barrier = std::make_unique<Barrier>(3);
        std::vector<Task<int>> tasks{try_arrive(*barrier), try_arrive(*barrier)};
        co_await settle();
        co_await barrier->wait();
        barrier.reset();
        const std::vector<int> ends = co_await results(tasks);
        CHECK(ends == std::vector<int>{0, 1});
    });
}
