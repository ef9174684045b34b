// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::EventLoopOptions;
using support::ErrorLog;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> seven() { co_return 7; }

/// What a loop's exception handler is told while `f()` runs on it, one line each.
template <class F>
std::string told(EventLoopOptions options, F f) {
    EventLoop loop{options};
    ErrorLog log;
    log.watch(loop);
    loop.run_until_complete(f());
    std::string lines;
    for (std::size_t i = 0; i < log.messages.size(); ++i) lines += log.messages[i] + "|" + log.tasks[i] + "\n";
    return lines;
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("debug mode reports a turn that holds up the loop: a task's by name, and a callback's") {
    const auto work = []() -> Coroutine<> {
        auto worker = aio::create_task(aio::sleep(0s), {.name = "worker"});
        aio::get_running_loop().call_soon([] {});
        aio::get_running_loop().call_soon_threadsafe([] {});
        co_await worker;
    };
    // However short a turn is, it is longer than this.
    const std::string all = told({.debug = true, .slow_callback_duration = -1s}, work);
    CAPTURE(all);
    CHECK(has(all, "a task held its loop up for "));
    CHECK(has(all, "|worker\n"));
    CHECK(has(all, "a callback held its loop up for "));
    CHECK(told({.debug = true, .slow_callback_duration = 1h}, work).empty());
    CHECK(told({.debug = false, .slow_callback_duration = -1s}, work).empty());
}

TEST_CASE("debug mode reports a coroutine that is never awaited, and where it is") {
    const auto forgets = []() -> Coroutine<> {
        {
            auto forgotten = seven();
            CHECK(forgotten.valid());
        }
        co_return;
    };
    const std::string all = told({.debug = true}, forgets);
    CAPTURE(all);
    CHECK(has(all, "a coroutine was never awaited: "));
    CHECK(has(all, "loop_debug_test.cpp:"));
    CHECK(has(all, "seven"));
    CHECK(told({}, forgets).empty());
}

TEST_CASE("a coroutine that was awaited, made a task, closed or moved from is no omission") {
    CHECK(told({.debug = true}, []() -> Coroutine<> {
              CHECK(co_await seven() == 7);
              auto task = aio::create_task(seven());
              auto cancelled = aio::create_task(seven());
              cancelled.cancel();
              CHECK(co_await task == 7);
              auto closed = seven();
              closed.close();
              CHECK_FALSE(closed.valid());
              closed.close();
              auto moved = seven();
              auto taken = std::move(moved);
              taken.close();
          }).empty());
}

TEST_CASE("a task does not change by being looked at in debug mode") {
    CHECK(told({.debug = true, .slow_callback_duration = 1h}, []() -> Coroutine<> {
              auto task = aio::create_task([]() -> Coroutine<std::unique_ptr<int>> {
                  co_await aio::sleep(1ms);
                  co_return std::make_unique<int>(7);
              });
              const auto value = co_await std::move(task);
              CHECK(*value == 7);
          }).empty());
}
