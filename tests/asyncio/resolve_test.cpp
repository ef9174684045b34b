// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/resolve.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

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
    aio::run([]() -> Coroutine<void> {
        auto task = aio::create_task(aio::resolve("localhost", 7));
        // In the pass in which it asks, before the loop can hear the answer.
        aio::get_running_loop().call_soon([&] { task.cancel(); });
        for (int i = 0; i < 3; ++i) co_await aio::sleep(0s);
        CHECK(task.cancelled());
    });
}
