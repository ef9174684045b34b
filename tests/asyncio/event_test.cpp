// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <string>
#include <type_traits>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::Event;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}
Coroutine<void> wait_and_note(Event& event, char letter, std::string& order) {
    co_await event.wait();
    order += letter;
}

}  // namespace

TEST_CASE("an event starts clear, and remembers set and clear") {
    Event event;
    CHECK_FALSE(event.is_set());
    event.set();
    event.set();
    CHECK(event.is_set());
    event.clear();
    CHECK_FALSE(event.is_set());
    STATIC_REQUIRE_FALSE(std::is_convertible_v<Event&, bool>);
}

TEST_CASE("an event that is set is waited for without another task running") {
    run_virtual([]() -> Coroutine<void> {
        Event event;
        std::string order;
        event.set();
        auto other = aio::create_task(wait_and_note(event, 'o', order));
        co_await event.wait();
        CHECK(order.empty());
        co_await other;
        CHECK(order == "o");
    });
}

TEST_CASE("set releases all who wait, in order, round after round") {
    run_virtual([]() -> Coroutine<void> {
        Event event;
        for (int round = 0; round < 2; ++round) {
            std::string order;
            auto a = aio::create_task(wait_and_note(event, 'a', order));
            auto b = aio::create_task(wait_and_note(event, 'b', order));
            co_await settle();
            CHECK(order.empty());
            CHECK(event.waiting() == 2);
            event.set();
            CHECK(event.waiting() == 0);
            co_await a;
            co_await b;
            CHECK(order == "ab");
            event.clear();
        }
    });
}

TEST_CASE("a clear right after set catches none of the released again") {
    run_virtual([]() -> Coroutine<void> {
        Event event;
        std::string order;
        auto a = aio::create_task(wait_and_note(event, 'a', order));
        auto b = aio::create_task(wait_and_note(event, 'b', order));
        co_await settle();
        event.set();
        event.clear();
        auto late = aio::create_task(wait_and_note(event, 'l', order));
        co_await settle();
        CHECK(order == "ab");
        CHECK(event.waiting() == 1);
        event.set();
        co_await late;
        co_await a;
        co_await b;
    });
}

TEST_CASE("a cancelled waiter leaves the event, before or after it was set") {
    run_virtual([]() -> Coroutine<void> {
        Event event;
        std::string order;
        auto a = aio::create_task(wait_and_note(event, 'a', order));
        auto b = aio::create_task(wait_and_note(event, 'b', order));
        auto c = aio::create_task(wait_and_note(event, 'c', order));
        co_await settle();
        a.cancel();
        CHECK(event.waiting() == 2);
        event.set();
        b.cancel();
        co_await settle();
        CHECK(a.cancelled());
        CHECK(b.cancelled());
        CHECK(order == "c");
        co_await c;
    });
}

TEST_CASE("a wait that times out says so, and leaves nothing behind") {
    run_virtual([]() -> Coroutine<void> {
        Event event;
        bool timed_out = false;
        try {
            co_await aio::wait_for(event.wait(), 1h);
        } catch (const plait::TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(event.waiting() == 0);
    });
}

TEST_CASE("an event may be destroyed as soon as it is set") {
    run_virtual([]() -> Coroutine<void> {
        auto event = std::make_unique<Event>();
        std::string order;
        auto a = aio::create_task(wait_and_note(*event, 'a', order));
        auto b = aio::create_task(wait_and_note(*event, 'b', order));
        co_await settle();
        event->set();
        event.reset();
        co_await a;
        co_await b;
        CHECK(order == "ab");
    });
}
