// SPDX-License-Identifier: MIT
#include <plait/core/wait.hpp>

#include "support/catch.hpp"

#include <plait/threading/event.hpp>
#include <plait/threading/pool.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <list>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace plait;
using plait::threading::Event;
using plait::threading::ThreadPool;

namespace {

/// Promises and their futures.
struct Calls {
    explicit Calls(std::size_t count) : promises(count) {
        for (auto& promise : promises) futures.push_back(promise.future());
    }
    std::vector<Promise<int>> promises;
    std::vector<Future<int>> futures;
};

std::exception_ptr failure() { return std::make_exception_ptr(std::runtime_error("failed")); }

}  // namespace

TEST_CASE("a wait for all returns when all have ended, whichever way") {
    Calls calls(3);
    calls.promises[0].set_value(1);
    CHECK(calls.futures[1].cancel());
    calls.promises[2].set_exception(failure());
    const auto [done, pending] = wait(calls.futures);
    CHECK(done.size() == 3);
    CHECK(pending.empty());
    CHECK_THROWS_AS(calls.futures[2].get(), std::runtime_error);
}

TEST_CASE("a wait whose time is over tells which have not ended, in the order given") {
    Calls calls(3);
    calls.promises[1].set_value(7);
    for (const auto timeout : {Timeout{0s}, Timeout{1ms}}) {
        const auto [done, pending] = wait(calls.futures, {.timeout = timeout});
        REQUIRE(done.size() == 1);
        CHECK(done[0].get() == 7);
        CHECK(pending.size() == 2);
    }
}

TEST_CASE("a wait for the first returns with the first") {
    Calls calls(3);
    calls.promises[2].set_value(7);
    const auto [done, pending] = wait(calls.futures, {.timeout = 30s, .return_when = FIRST_COMPLETED});
    REQUIRE(done.size() == 1);
    CHECK(done[0].get() == 7);
    CHECK(pending.size() == 2);
}

TEST_CASE("a wait for the first exception passes over values and cancellations") {
    Calls calls(4);
    calls.promises[0].set_value(1);
    CHECK(calls.futures[1].cancel());
    {
        const auto [done, pending] = wait(calls.futures, {.timeout = 1ms, .return_when = FIRST_EXCEPTION});
        CHECK(done.size() == 2);
    }
    calls.promises[2].set_exception(failure());
    const auto [done, pending] = wait(calls.futures, {.timeout = 30s, .return_when = FIRST_EXCEPTION});
    CHECK(done.size() == 3);
    CHECK(pending.size() == 1);
    CHECK(calls.futures[2].exception() != nullptr);
}

TEST_CASE("a wait looks at no error: one that nobody takes is reported") {
    static int reports = 0;
    const auto before = set_unraisable_hook([](const std::string&, std::exception_ptr) { ++reports; });
    {
        Calls calls(1);
        calls.promises[0].set_exception(failure());
        CHECK(wait(calls.futures, {.return_when = FIRST_EXCEPTION}).done.size() == 1);
    }
    set_unraisable_hook(before);
    CHECK(reports == 1);
}

TEST_CASE("a wait for nothing returns at once, and a future that stands there twice counts once") {
    CHECK(wait(std::vector<Future<int>>{}).done.empty());
    Calls calls(1);
    calls.promises[0].set_value(1);
    const std::list<Future<int>> twice{calls.futures[0], calls.futures[0]};
    CHECK(wait(twice).done.size() == 1);
    int sum = 0;
    for (const auto& future : as_completed(twice)) sum += future.get();
    CHECK(sum == 1);
    CHECK_THROWS_AS(wait(std::vector<Future<int>>(2)), UsageError);
}

TEST_CASE("futures come in the order in which they end") {
    Calls calls(3);
    calls.promises[1].set_value(1);
    auto ended = as_completed(calls.futures, 30s);
    CHECK(ended.next()->get() == 1);
    calls.promises[2].set_value(2);
    CHECK(ended.next()->get() == 2);
    calls.promises[0].set_value(0);
    CHECK(ended.next()->get() == 0);
    CHECK_FALSE(ended.next().has_value());
}

TEST_CASE("when the time is over it says how many are missing") {
    Calls calls(3);
    calls.promises[1].set_value(1);
    auto ended = as_completed(calls.futures, 1ms);
    CHECK(ended.next()->get() == 1);
    std::string text;
    try {
        static_cast<void>(ended.next());
    } catch (const TimeoutError& error) {
        text = error.what();
    }
    CHECK(text == "2 of 3 calls had not ended in time");
}

TEST_CASE("who waits is woken by the end that it waits for, and by each") {
    ThreadPool pool(2);
    for (int round = 0; round < 300; ++round) {
        std::vector<Future<int>> futures;
        for (int i = 0; i < 4; ++i) futures.push_back(pool.apply_async([i] { return i; }));
        CHECK_FALSE(wait(futures, {.timeout = 30s, .return_when = FIRST_COMPLETED}).done.empty());
        int sum = 0;
        for (const auto& future : as_completed(futures, 30s)) sum += future.get();
        REQUIRE(sum == 6);
    }
}

TEST_CASE("a call may wait for several of its own pool, which has one thread") {
    ThreadPool pool(1);
    const Future<int> outer = pool.apply_async([&] {
        std::vector<Future<int>> inner;
        for (int i = 0; i < 4; ++i) inner.push_back(pool.apply_async([i] { return i; }));
        int sum = 0;
        for (const auto& future : as_completed(inner)) sum += future.get();
        return sum + static_cast<int>(wait(inner).done.size());
    });
    CHECK(outer.get(30s) == 10);
}

TEST_CASE("who stops waiting leaves the calls as they are") {
    ThreadPool pool(1);
    Event go_on;
    std::vector<Future<int>> futures;
    for (int i = 0; i < 3; ++i)
        futures.push_back(pool.apply_async([&go_on, i] {
            go_on.wait();
            return i;
        }));
    CHECK(wait(futures, {.timeout = 1ms}).pending.size() == 3);
    {
        const auto abandoned = as_completed(futures);
    }
    go_on.set();
    CHECK(wait(futures, {.timeout = 30s}).done.size() == 3);
    CHECK(futures[2].get() == 2);
}

TEST_CASE("what is ready has ended for those who do not wait, too") {
    ThreadPool pool(1);
    for (int round = 0; round < 2000; ++round) {
        const std::vector<Future<int>> futures{pool.apply_async([] { return 1; })};
        auto ended = as_completed(futures, 0s);
        // Its callbacks come a moment later.
        REQUIRE(futures[0].get(30s) == 1);
        REQUIRE(ended.next().has_value());
    }
}
