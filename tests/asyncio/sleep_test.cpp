// SPDX-License-Identifier: MIT
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

TEST_CASE("sleep lets the time pass, and gives its value") {
    run_virtual([]() -> Coroutine<void> {
        const auto start = aio::get_running_loop().time();
        co_await aio::sleep(90min);
        CHECK(aio::get_running_loop().time() - start == 90min);
        const std::string value = co_await aio::sleep(1s, std::string("value"));
        CHECK(value == "value");
        const std::unique_ptr<int> moved = co_await aio::sleep(0s, std::make_unique<int>(3));
        CHECK(*moved == 3);
    });
}

TEST_CASE("a sleep of zero or less is one pass, and others run in it") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<int> order;
        auto other = aio::create_task([&]() -> Coroutine<void> {
            for (int i = 0; i < 3; ++i) {
                order.push_back(2);
                co_await aio::sleep(-1s);
            }
        });
        for (int i = 0; i < 3; ++i) {
            order.push_back(1);
            co_await aio::sleep(0s);
        }
        CHECK(order == std::vector<int>{1, 2, 1, 2, 1, 2});
        co_await other;
        CHECK(aio::get_running_loop().time().time_since_epoch() == 0s);
    });
}

TEST_CASE("sleepers wake by deadline, and those of one deadline as they went to sleep") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<int> order;
        const auto sleeper = [&](int x, std::chrono::seconds delay) -> Coroutine<void> {
            co_await aio::sleep(delay);
            order.push_back(x);
        };
        std::vector<Task<void>> tasks;
        tasks.push_back(aio::create_task(sleeper(4, 3s)));
        tasks.push_back(aio::create_task(sleeper(1, 1s)));
        tasks.push_back(aio::create_task(sleeper(2, 1s)));
        tasks.push_back(aio::create_task(sleeper(3, 2s)));
        for (const auto& task : tasks) co_await task;
        CHECK(order == std::vector<int>{1, 2, 3, 4});
    });
}

TEST_CASE("the longest sleep never ends, but can be cancelled") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(aio::sleep(std::chrono::hours::max()));
        co_await aio::sleep(24h * 365 * 100);
        CHECK_FALSE(task.done());
        task.cancel();
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        CHECK(task.cancelled());
    });
}

TEST_CASE("a sleep of no number is an invalid argument") {
    CHECK_THROWS_AS(aio::sleep(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())),
                    std::invalid_argument);
}

TEST_CASE("a cancelled sleep leaves no timer behind") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Task<void>> tasks;
        for (int i = 0; i < 1000; ++i) tasks.push_back(aio::create_task(aio::sleep(1h)));
        co_await aio::sleep(1s);
        const auto& timers = aio::detail::LoopAccess::core(aio::get_running_loop()).timers;
        CHECK(timers.size() == 1000);
        for (auto& task : tasks) task.cancel();
        CHECK(timers.empty());
    });
}
