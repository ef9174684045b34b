// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <string>
#include <type_traits>
#include <utility>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x) {
    co_await aio::sleep(1s);
    co_return x;
}
Coroutine<int> seven() { co_return 7; }

}  // namespace

TEST_CASE("create_task keeps the function and its arguments: a lambda's captures live as long as the task") {
    run_virtual([]() -> Coroutine<void> {
        Task<std::string> task;
        {
            std::string captured(100, 'x');
            auto lambda = [captured](const std::string& argument) -> Coroutine<std::string> {
                co_await aio::sleep(1s);
                co_return captured.substr(0, 2) + argument;
            };
            task = aio::create_task(std::move(lambda), std::string("y"));
        }
        const std::string text = co_await task;
        CHECK(text == "xxy");
    });
}

TEST_CASE("ensure_future gives a task of any awaitable, and a task itself") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::ensure_future(late(1));
        STATIC_REQUIRE(std::is_same_v<decltype(task), Task<int>>);
        auto same = aio::ensure_future(task);
        CHECK(same == task);
        auto slept = aio::ensure_future(aio::sleep(1s));
        STATIC_REQUIRE(std::is_same_v<decltype(slept), Task<void>>);
        co_await slept;
        CHECK(same.done());
    });
}

TEST_CASE("a task is made of anything that can be awaited, once") {
    run_virtual([]() -> Coroutine<void> {
        auto slept = aio::create_task(aio::sleep(1s));
        co_await slept;
        auto coroutine = late(2);
        auto task = aio::create_task(std::move(coroutine));
        CHECK_THROWS_AS(aio::create_task(std::move(coroutine)), plait::UsageError);
        const int value = co_await task;
        CHECK(value == 2);
    });
}

TEST_CASE("a task begins with the name that its options give it") {
    run_virtual([]() -> Coroutine<> {
        CHECK(aio::create_task(seven(), {.name = "named"}).name() == "named");
        auto task = aio::create_task({.name = "kept"}, [](int x) -> Coroutine<int> { co_return x; }, 3);
        CHECK(task.name() == "kept");
        CHECK(co_await task == 3);
    });
}

TEST_CASE("an eager task takes its first step where it is made") {
    run_virtual([]() -> Coroutine<> {
        int steps = 0;
        const auto step = [&]() -> Coroutine<int> {
            ++steps;
            CHECK(aio::current_task().name() == "eager");
            co_await aio::sleep(0s);
            co_return ++steps;
        };
        const auto self = aio::current_task();
        auto task = aio::create_task(step(), {.name = "eager", .eager_start = true});
        CHECK(steps == 1);
        CHECK(aio::current_task() == self);
        CHECK_FALSE(task.done());
        CHECK(co_await task == 2);
        auto at_once = aio::create_task(seven(), {.eager_start = true});
        CHECK(at_once.done());
        CHECK(co_await at_once == 7);
        // One within another, and one that awaits a task.
        auto outer = aio::create_task({.eager_start = true}, [&]() -> Coroutine<int> {
            auto inner = aio::create_task(step(), {.name = "eager", .eager_start = true});
            CHECK(steps == 3);
            co_return co_await inner;
        });
        CHECK(steps == 3);
        CHECK(co_await outer == 4);
    });
}

TEST_CASE("an eager task of a loop that does not run begins with it") {
    aio::EventLoop loop;
    auto task = loop.create_task(seven(), {.eager_start = true});
    CHECK_FALSE(task.done());
    CHECK(loop.run_until_complete(task) == 7);
}

TEST_CASE("create_task takes a named coroutine, and options after a function too") {
    run_virtual([]() -> Coroutine<void> {
        auto coroutine = seven();
        auto task = aio::create_task(coroutine);
        CHECK_FALSE(coroutine.valid());
        auto named = aio::create_task(seven, {.name = "named"});
        CHECK(named.name() == "named");
        CHECK(co_await task + co_await named == 14);
    });
}
