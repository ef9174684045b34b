// SPDX-License-Identifier: MIT
#include <plait/asyncio.hpp>
#include <plait/core/future.hpp>

#include "support/catch.hpp"

#include <coroutine>
#include <string>
#include <type_traits>
#include <vector>

using plait::Future;
using plait::asyncio::Awaitable;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using plait::asyncio::detail::Awaited;

TEST_CASE("what can be awaited is told by a concept") {
    STATIC_REQUIRE(Awaitable<Coroutine<int>>);
    STATIC_REQUIRE(Awaitable<Coroutine<int>&>);
    STATIC_REQUIRE(Awaitable<Task<int>>);
    STATIC_REQUIRE(Awaitable<const Task<int>&>);
    STATIC_REQUIRE(Awaitable<Future<int>>);
    STATIC_REQUIRE(Awaitable<const Future<void>&>);
    STATIC_REQUIRE(Awaitable<decltype(plait::asyncio::sleep(std::chrono::seconds{1}))>);
    STATIC_REQUIRE_FALSE(Awaitable<std::suspend_always>);
    STATIC_REQUIRE_FALSE(Awaitable<int>);
    STATIC_REQUIRE_FALSE(Awaitable<std::vector<Task<int>>>);
}

TEST_CASE("what an await is said to give does not depend on how it is written") {
    STATIC_REQUIRE(std::is_same_v<Awaited<Coroutine<std::string>>, std::string>);
    STATIC_REQUIRE(std::is_same_v<Awaited<const Task<std::string>&>, std::string>);
    STATIC_REQUIRE(std::is_same_v<Awaited<Future<int&>>, int&>);
    STATIC_REQUIRE(std::is_same_v<Awaited<decltype(plait::asyncio::sleep(std::chrono::seconds{1}))>, void>);
}

TEST_CASE("the library's names do not come along with its types") {
    // Function objects, which argument-dependent lookup does not find.
    STATIC_REQUIRE(std::is_object_v<decltype(plait::asyncio::wait)>);
    STATIC_REQUIRE(std::is_object_v<decltype(plait::asyncio::sleep)>);
    STATIC_REQUIRE(std::is_object_v<decltype(plait::asyncio::run)>);
    STATIC_REQUIRE(std::is_object_v<decltype(plait::asyncio::gather)>);
    STATIC_REQUIRE(std::is_same_v<plait::aio::Coroutine<int>, Coroutine<int>>);
}
