// SPDX-License-Identifier: MIT
#include <plait/threading/detail/fork_join.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <plait/threading/pool.hpp>
#include <plait/threading/rlock.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::threading;
using plait::Future;
using plait::PoolTerminatedError;
using plait::UsageError;
using support::within;

namespace {

int fibonacci(ThreadPool& pool, int n) {
    if (n < 2) return n;
    int left = 0;
    int right = 0;
    pool.parallel_invoke([&] { left = fibonacci(pool, n - 1); }, [&] { right = fibonacci(pool, n - 2); });
    return left + right;
}

}  // namespace

TEST_CASE("parallel_invoke calls each of its callables once, from outside and from a call") {
    ThreadPool pool(2);
    std::array<std::atomic<int>, 3> calls{};
    const auto all = [&] { pool.parallel_invoke([&] { ++calls[0]; }, [&] { ++calls[1]; }, [&] { ++calls[2]; }); };
    all();
    pool.apply(all);
    for (const auto& each : calls) CHECK(each == 2);
    pool.parallel_invoke([&] { ++calls[0]; });
    CHECK(calls[0] == 3);
}

TEST_CASE("a recursion that forks at every step is right with one worker and with several") {
    for (const int workers : {1, 2, 3, 8}) {
        ThreadPool pool(workers);
        CHECK(fibonacci(pool, 18) == 2584);
        CHECK(pool.apply([&] { return fibonacci(pool, 18); }) == 2584);
    }
}

TEST_CASE("parts of an invocation run at the same time") {
    ThreadPool pool(2);
    Event first;
    Event second;
    bool met = false;
    bool met_too = false;
    pool.parallel_invoke(
        [&] {
            first.set();
            met = second.wait(30s);
        },
        [&] {
            second.set();
            met_too = first.wait(30s);
        });
    CHECK(met);
    CHECK(met_too);
}

TEST_CASE("all parts are called, then the first error in their order is thrown") {
    for (const int workers : {1, 2}) {
        ThreadPool pool(workers);
        for (int round = 0; round < 100; ++round) {
            std::atomic<int> calls{0};
            const auto fail = [&](const char* text) {
                ++calls;
                throw std::runtime_error(text);
            };
            std::string text;
            try {
                pool.parallel_invoke([&] { ++calls; }, [&] { fail("second"); }, [&] { fail("third"); });
            } catch (const std::runtime_error& error) {
                text = error.what();
            }
            CHECK(text == "second");
            CHECK(calls == 3);
        }
    }
}

TEST_CASE("from outside a closed pool invokes nothing, but what runs in it goes on forking") {
    ThreadPool pool(2);
    Event closed;
    const Future<int> running = pool.apply_async([&] {
        closed.wait();
        return fibonacci(pool, 15);
    });
    pool.close();
    bool called = false;
    CHECK_THROWS_AS(pool.parallel_invoke([&] { called = true; }), UsageError);
    closed.set();
    CHECK(running.get(30s) == 610);
    pool.join();
    CHECK_FALSE(called);
}

TEST_CASE("after close the idle workers still help who forks") {
    ThreadPool pool(2);
    Event closed;
    const Future<bool> running = pool.apply_async([&] {
        closed.wait();
        Event first;
        Event second;
        bool met = false;
        // Neither ends without the other, and there are two workers.
        pool.parallel_invoke(
            [&] {
                first.set();
                met = second.wait(30s);
            },
            [&] {
                second.set();
                static_cast<void>(first.wait(30s));
            });
        return met;
    });
    pool.close();
    REQUIRE(within(30s, [&] { return pool.waiting() == 1; }));
    closed.set();
    CHECK(running.get(60s));
    pool.join();
}

TEST_CASE("terminate fails the parts that have not begun") {
    ThreadPool pool(1);
    Event begun;
    Event go_on;
    bool second = false;
    const Future<void> running = pool.apply_async([&] {
        pool.parallel_invoke(
            [&] {
                begun.set();
                go_on.wait();
            },
            [&] { second = true; });
    });
    begun.wait();
    pool.terminate();
    go_on.set();
    CHECK_THROWS_AS(running.get(30s), PoolTerminatedError);
    CHECK_FALSE(second);
    pool.join();
}

TEST_CASE("a part that waits runs neither its siblings nor strangers") {
    // Each part holds the lock while it waits: a sibling or a stranger, run on its stack, would enter where it is.
    for (const int workers : {1, 2}) {
        ThreadPool pool(workers);
        RLock lock;
        int inside = 0;
        int most = 0;
        const auto critical = [&] {
            const std::scoped_lock guard{lock};
            most = (std::max)(most, ++inside);
            pool.apply([] {});
            pool.parallel_invoke([] {}, [] {});
            --inside;
        };
        for (int round = 0; round < 200; ++round) {
            std::vector<Future<void>> strangers;
            for (int i = 0; i < 3; ++i) strangers.push_back(pool.apply_async(critical));
            pool.parallel_invoke(critical, critical, critical);
            for (const auto& stranger : strangers) stranger.get(30s);
        }
        CHECK(most == 1);
    }
}

TEST_CASE("what a part leaves unawaited is run all the same") {
    ThreadPool pool(2);
    std::atomic<int> ran{0};
    for (int round = 0; round < 100; ++round) {
        const auto leave_one = [&] { pool.post([&] { ++ran; }); };
        pool.apply([&] { pool.parallel_invoke(leave_one, leave_one, leave_one); });
    }
    pool.close();
    pool.join();
    CHECK(ran == 300);
}

TEST_CASE("many threads invoke at once, and each gets its own results") {
    ThreadPool pool(2);
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 20; ++round) right += fibonacci(pool, 12) == 144 ? 1 : 0;
        });
    for (auto& thread : threads) thread.join();
    CHECK(right == 80);
}

TEST_CASE("a call of one pool may invoke in another") {
    ThreadPool outer(1);
    ThreadPool inner(1);
    CHECK(outer.apply([&] { return fibonacci(inner, 10); }) == 55);
}

TEST_CASE("a call that waits for a future which another worker's part must bring is not in its way") {
    ThreadPool pool(2);
    for (int round = 0; round < 200; ++round) {
        plait::Promise<int> promise;
        int got = 0;
        pool.parallel_invoke([&, future = promise.future()] { got = future.get(30s); }, [&] { promise.set_value(7); });
        CHECK(got == 7);
    }
}

TEST_CASE("while a stranger runs where a part was stolen, a spare runs what the part has submitted") {
    ThreadPool pool(2);
    Event set_by_child;
    Event stolen;
    Event child_queues;
    plait::Promise<Future<bool>> stranger;
    const Future<void> call = pool.apply_async([&] {
        pool.parallel_invoke([&] { child_queues.wait(); },
                             [&] {
                                 stolen.set();
                                 const Future<bool> awaited = stranger.future().get(30s);
                                 const Future<void> child = pool.apply_async([&] { set_by_child.set(); });
                                 child_queues.set();
                                 static_cast<void>(awaited.get());  // it still queues, and is run here
                                 child.get();
                             });
    });
    stolen.wait();
    const Future<bool> waits = pool.apply_async([&] { return set_by_child.wait(30s); });
    stranger.set_value(waits);
    call.get(60s);
    CHECK(waits.get(30s));
}
