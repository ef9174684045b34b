// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/resolve.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/threading/event.hpp>

#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Address;
using plait::asyncio::Coroutine;
namespace aio = plait::asyncio;

TEST_CASE("a host in numbers is resolved without a thread") {
    aio::run([]() -> Coroutine<void> {
        const std::vector<Address> addresses = co_await aio::resolve("::1", 80);
        REQUIRE(addresses.size() == 1);
        CHECK(addresses[0] == Address("::1", 80));
        CHECK_FALSE(aio::detail::LoopAccess::core(aio::get_running_loop()).executor);
    });
}

TEST_CASE("a name is resolved while the loop goes on") {
    aio::run([]() -> Coroutine<void> {
        auto task = aio::create_task(aio::resolve(std::string("localhost"), 7));
        co_await aio::sleep(0s);
        const std::vector<Address> addresses = co_await task;
        REQUIRE_FALSE(addresses.empty());
        CHECK(addresses[0].port() == 7);
        CHECK((addresses[0].host() == "127.0.0.1" || addresses[0].host() == "::1"));
    });
}

TEST_CASE("resolve: a name that has no address is an error that names it") {
    aio::run([]() -> Coroutine<void> {
        std::string text;
        bool by_resolver = false;
        try {
            static_cast<void>(co_await aio::resolve("no-such-host.invalid", 80));
        } catch (const std::system_error& error) {
            text = error.what();
            by_resolver = error.code().category() == aio::resolver_category();
        }
        CHECK(by_resolver);
        CHECK_THAT(text, Catch::Matchers::ContainsSubstring("no-such-host.invalid"));
        CHECK_THROWS_AS(aio::resolve("localhost", 65536), std::invalid_argument);
    });
}

TEST_CASE("a cancelled look-up is left to its thread") {
    plait::threading::Event answered;
    aio::run([&]() -> Coroutine<void> {
        // All threads are taken, or the answer could be there before the cancellation.
        std::vector<aio::Task<void>> busy;
        for (int i = 0; i < 64; ++i) busy.push_back(aio::create_task(aio::to_thread([&] { answered.wait(); })));
        auto task = aio::create_task(aio::resolve("localhost", 7));
        co_await aio::sleep(0s);
        task.cancel();
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        CHECK(task.cancelled());
        answered.set();
        for (aio::Task<void>& each : busy) co_await each;
    });
}
