// SPDX-License-Identifier: MIT
#include <plait/asyncio/future.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::Future;
using plait::Promise;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<std::string> ending(Future<int> future) {
    try {
        co_await future;
    } catch (const CancelledError& error) {
        co_return std::string("cancelled: ") + error.message();
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a coroutine awaits a future that another thread completes, on its own loop's thread") {
    const auto here = std::this_thread::get_id();
    aio::run([&]() -> Coroutine<void> {
        Promise<int> promise;
        auto future = promise.future();
        std::thread other{[&] { promise.set_value(5); }};
        const int value = co_await future;
        CHECK(value == 5);
        CHECK(std::this_thread::get_id() == here);
        const int again = co_await future;
        CHECK(again == 5);
        other.join();
    });
}

TEST_CASE("a future that is ready is awaited without a pass; errors come out at the await") {
    run_virtual([]() -> Coroutine<void> {
        Promise<std::unique_ptr<int>> promise;
        promise.set_value(std::make_unique<int>(1));
        bool other_ran = false;
        auto other = aio::create_task([&]() -> Coroutine<void> {
            other_ran = true;
            co_return;
        });
        const std::unique_ptr<int> moved = co_await promise.future();
        CHECK(*moved == 1);
        CHECK_FALSE(other_ran);
        co_await other;

        Promise<int> fails;
        auto waiting = aio::create_task(ending(fails.future()));
        co_await aio::sleep(0s);
        fails.set_exception(std::make_exception_ptr(std::runtime_error("failed")));
        const std::string end = co_await waiting;
        CHECK(end == "error: failed");
    });
}

TEST_CASE("several tasks await one future") {
    run_virtual([]() -> Coroutine<void> {
        Promise<int> promise;
        auto first = aio::create_task(ending(promise.future()));
        auto second = aio::create_task(ending(promise.future()));
        co_await aio::sleep(0s);
        promise.set_value(1);
        const std::string a = co_await first;
        const std::string b = co_await second;
        CHECK(a + b == "valuevalue");
    });
}

TEST_CASE("cancelling the await cancels a future that is pending") {
    run_virtual([]() -> Coroutine<void> {
        Promise<int> promise;
        auto future = promise.future();
        auto waiting = aio::create_task(ending(future));
        co_await aio::sleep(0s);
        CHECK(waiting.cancel("no more"));
        const std::string end = co_await waiting;
        CHECK(end == "cancelled: no more");
        CHECK(future.cancelled());
        CHECK_FALSE(promise.set_running());
    });
}

TEST_CASE("cancelling the await of a call that runs does not wait for it, and drops its result") {
    run_virtual([]() -> Coroutine<void> {
        Promise<int> promise;
        REQUIRE(promise.set_running());
        auto future = promise.future();
        auto waiting = aio::create_task(ending(future));
        co_await aio::sleep(0s);
        waiting.cancel();
        const std::string end = co_await waiting;
        CHECK(end == "cancelled: ");
        CHECK_FALSE(future.ready());
        promise.set_value(1);
        co_await aio::sleep(0s);
        CHECK(future.get() == 1);
    });
}

TEST_CASE("a future that others cancel, or that is never kept, is an error of the await") {
    run_virtual([]() -> Coroutine<void> {
        auto promise = std::optional<Promise<int>>{std::in_place};
        auto future = promise->future();
        auto waiting = aio::create_task(ending(future));
        co_await aio::sleep(0s);
        CHECK(future.cancel());
        const std::string cancelled = co_await waiting;
        CHECK(cancelled == "cancelled: ");

        promise.emplace();
        auto broken = aio::create_task(ending(promise->future()));
        co_await aio::sleep(0s);
        promise.reset();
        const std::string end = co_await broken;
        CHECK(end.find("promise") != std::string::npos);
    });
}

TEST_CASE("a result that comes after the loop has closed is dropped") {
    Promise<int> promise;
    support::ErrorLog log;
    {
        EventLoop loop;
        log.watch(loop);
        auto task = loop.create_task(ending(promise.future()));
        loop.stop();
        loop.run_forever();
    }
    promise.set_value(1);
    CHECK(log.messages.size() == 1);
}

TEST_CASE("a result that has come, but whose task the loop closes on, is dropped") {
    Promise<int> promise;
    support::ErrorLog log;
    EventLoop loop;
    log.watch(loop);
    auto task = loop.create_task(ending(promise.future()));
    loop.stop();
    loop.run_forever();
    promise.set_value(1);
    loop.close();
    CHECK(task.cancelled());
}

TEST_CASE("a manual clock stands while a future is awaited") {
    run_virtual([]() -> Coroutine<void> {
        Promise<int> promise;
        auto timer = aio::create_task(aio::sleep(1h));
        std::thread other{[&] { promise.set_value(1); }};
        const int value = co_await promise.future();
        CHECK(value == 1);
        CHECK(aio::get_running_loop().time().time_since_epoch() == 0s);
        other.join();
        timer.cancel();
    });
}

TEST_CASE("a future that its await cancels may cancel the awaiting task once more") {
    run_virtual([]() -> Coroutine<void> {
        plait::Promise<int> promise;
        plait::Future<int> future = promise.future();
        auto task = aio::create_task([](plait::Future<int> f) -> Coroutine<int> { co_return co_await f; }, future);
        future.add_done_callback([&](const plait::Future<int>&) { task.cancel(); });
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        task.cancel();
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        CHECK(task.cancelled());
    });
}
