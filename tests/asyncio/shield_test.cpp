// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/shield.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    co_return x;
}
Coroutine<int> fails(std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    throw std::runtime_error("inner");
}
std::chrono::seconds now() {
    return std::chrono::duration_cast<std::chrono::seconds>(aio::get_running_loop().time().time_since_epoch());
}
template <class A>
Coroutine<std::string> ending(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const CancelledError& error) {
        co_return std::string("cancelled: ") + error.message();
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a shield gives the value or the error of what it shields") {
    run_virtual([]() -> Coroutine<void> {
        const int of_coroutine = co_await aio::shield(late(1));
        CHECK(of_coroutine == 1);
        auto task = aio::create_task(late(2));
        const int of_task = co_await aio::shield(task);
        CHECK(of_task == 2);
        const int of_done = co_await aio::shield(task);
        CHECK(of_done == 2);
        co_await aio::shield(aio::sleep(1s));
        const std::string end = co_await ending(aio::shield(fails()));
        CHECK(end == "error: inner");
        auto moved =
            co_await aio::shield([]() -> Coroutine<std::unique_ptr<int>> { co_return std::make_unique<int>(3); }());
        CHECK(*moved == 3);
        const auto named = aio::shield(late(4));
        const int first = co_await named;
        const int second = co_await named;
        CHECK(first + second == 8);
    });
}

TEST_CASE("cancelling who waits behind a shield leaves what it shields alone") {
    run_virtual([]() -> Coroutine<void> {
        auto inner = aio::create_task(late(1, 5s));
        auto outer = aio::create_task(aio::shield(inner));
        co_await aio::sleep(1s);
        CHECK(outer.cancel("outer"));
        const std::string end = co_await ending(outer);
        CHECK(end == "cancelled: outer");
        CHECK(now() == 1s);
        CHECK_FALSE(inner.done());
        CHECK(inner.cancelling() == 0);
        const int value = co_await inner;
        CHECK(value == 1);
    });
}

TEST_CASE("a coroutine behind a shield is finished though nobody waits for it any more, and though it had not begun") {
    run_virtual([]() -> Coroutine<void> {
        int finished = 0;
        const auto body = [&]() -> Coroutine<void> {
            co_await aio::sleep(1s);
            ++finished;
        };
        auto begun = aio::create_task(aio::shield(body()));
        auto not_begun = aio::create_task(aio::shield(body()));
        not_begun.cancel();
        co_await aio::sleep(0s);
        begun.cancel();
        co_await aio::sleep(2s);
        CHECK(begun.cancelled());
        CHECK(not_begun.cancelled());
        CHECK(finished == 2);
    });
}

TEST_CASE("if what a shield protects is cancelled itself, who waits is told, and is not cancelled") {
    run_virtual([]() -> Coroutine<void> {
        auto inner = aio::create_task(late(1, 1h));
        auto outer =
            aio::create_task([&]() -> Coroutine<std::string> { co_return co_await ending(aio::shield(inner)); });
        co_await aio::sleep(1s);
        inner.cancel("inner");
        const std::string end = co_await outer;
        CHECK(end == "cancelled: inner");
        CHECK(outer.cancelling() == 0);
    });
}

TEST_CASE("the error of what was left behind a shield is reported once") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        auto outer = aio::create_task(aio::shield(fails()));
        co_await aio::sleep(0s);
        outer.cancel();
        co_await aio::sleep(2s);
        CHECK(outer.cancelled());
    });
    REQUIRE(log.texts.size() == 1);
    CHECK(log.texts[0] == "inner");
}

TEST_CASE("a gather behind a shield goes on when who waits is cancelled") {
    run_virtual([]() -> Coroutine<void> {
        auto a = aio::create_task(late(1, 2s));
        auto b = aio::create_task(late(2, 3s));
        auto outer = aio::create_task(aio::shield(aio::gather(a, b)));
        co_await aio::sleep(1s);
        outer.cancel();
        const std::string end = co_await ending(outer);
        CHECK(end == "cancelled: ");
        const int sum = co_await a + co_await b;
        CHECK(sum == 3);
    });
}

TEST_CASE("a shield in a gather keeps one of its tasks from the gather's cancellation") {
    run_virtual([]() -> Coroutine<void> {
        auto shielded = aio::create_task(late(1, 5s));
        auto plain = aio::create_task(late(2, 5s));
        auto outer = aio::create_task(aio::gather(aio::shield(shielded), plain));
        co_await aio::sleep(1s);
        outer.cancel();
        const std::string end = co_await ending(outer);
        CHECK(end == "cancelled: ");
        CHECK(plain.cancelled());
        CHECK_FALSE(shielded.done());
        const int value = co_await shielded;
        CHECK(value == 1);
    });
}

TEST_CASE("run cancels at its end what a shield has left behind") {
    bool cleaned = false;
    run_virtual([&]() -> Coroutine<void> {
        auto outer = aio::create_task(aio::shield([](bool& flag) -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                flag = true;
                throw;
            }
        }(cleaned)));
        co_await aio::sleep(1s);
        outer.cancel();
        co_await aio::sleep(1s);
    });
    CHECK(cleaned);
}

TEST_CASE("a shield outside a loop is a usage error, and so is one around a task of another loop") {
    CHECK_THROWS_AS(static_cast<void>(aio::shield(late(1))), plait::UsageError);
    aio::EventLoop other;
    auto task = other.create_task(late(1, 0s));
    run_virtual([&]() -> Coroutine<void> {
        const std::string end = co_await ending(aio::shield(task));
        CHECK(end == "error: this Task belongs to another event loop: use run_coroutine_threadsafe across loops");
    });
    other.run_until_complete(task);
}
