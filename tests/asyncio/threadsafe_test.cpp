// SPDX-License-Identifier: MIT
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/threadsafe.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::Future;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::run_coroutine_threadsafe;
namespace aio = plait::asyncio;

namespace {

/// A loop that runs on a thread of its own for the scope.
class Elsewhere {
public:
    Elsewhere() : thread_{[this] { loop.run_forever(); }} {}
    Elsewhere(const Elsewhere&) = delete;
    Elsewhere& operator=(const Elsewhere&) = delete;
    ~Elsewhere() { join(); }
    void join() {
        if (!thread_.joinable()) return;
        loop.call_soon_threadsafe([this] { loop.stop(); });
        thread_.join();
    }

    EventLoop loop;

private:
    std::thread thread_;
};

Coroutine<std::unique_ptr<int>> move_only(int x) {
    co_await aio::sleep(1ms);
    co_return std::make_unique<int>(x);
}
Coroutine<void> fails() {
    co_await aio::sleep(0s);
    throw std::runtime_error("failed");
}
Coroutine<void> hang(std::atomic<int>& cancelled) {
    try {
        co_await aio::sleep(1h);
    } catch (const CancelledError&) {
        ++cancelled;
        throw;
    }
}

}  // namespace

TEST_CASE("a coroutine run on another thread's loop gives its value or its error to the future") {
    Elsewhere elsewhere;
    const std::unique_ptr<int> moved = run_coroutine_threadsafe(move_only(3), elsewhere.loop).get(10s);
    CHECK(*moved == 3);
    // The future is kept until the text has been read: ThreadSanitizer does not see how libstdc++ counts an exception's
    // owners, but it does see how the future counts its own.
    const Future<void> failing = run_coroutine_threadsafe(fails(), elsewhere.loop);
    CHECK_THROWS_WITH(failing.get(10s), "failed");
}

TEST_CASE("a wait for it that times out leaves it running; cancelling the future cancels the task") {
    Elsewhere elsewhere;
    std::atomic<int> cancelled{0};
    auto future = run_coroutine_threadsafe(hang(cancelled), elsewhere.loop);
    CHECK_THROWS_AS(future.get(1ms), plait::TimeoutError);
    CHECK_FALSE(future.ready());
    // The loop takes calls in order: the task has begun when this one has ended.
    static_cast<void>(run_coroutine_threadsafe(move_only(0), elsewhere.loop).get(10s));
    CHECK(future.cancel());
    CHECK(future.cancelled());
    CHECK_THROWS_AS(future.get(10s), CancelledError);
    static_cast<void>(run_coroutine_threadsafe(move_only(0), elsewhere.loop).get(10s));
    CHECK(cancelled == 1);
}

TEST_CASE("a future cancelled before its coroutine began keeps it from beginning") {
    EventLoop loop;
    bool began = false;
    const auto body = [&]() -> Coroutine<void> {
        began = true;
        co_return;
    };
    auto future = run_coroutine_threadsafe(body(), loop);
    CHECK(future.cancel());
    loop.run_until_complete(aio::sleep(0s));
    loop.run_until_complete(aio::sleep(0s));
    CHECK_FALSE(began);
}

TEST_CASE("a coroutine that is cancelled over there cancels the future") {
    Elsewhere elsewhere;
    const auto cancels_itself = []() -> Coroutine<int> {
        aio::current_task().cancel();
        co_await aio::sleep(1h);
        co_return 0;
    };
    auto future = run_coroutine_threadsafe(cancels_itself(), elsewhere.loop);
    CHECK_THROWS_AS(future.get(10s), CancelledError);
    CHECK(future.cancelled());
}

TEST_CASE("a loop that closes meanwhile breaks the promise, and a closed one takes nothing") {
    std::optional<EventLoop> loop{std::in_place};
    support::ErrorLog log;
    log.watch(*loop);
    std::atomic<int> cancelled{0};
    auto begun = run_coroutine_threadsafe(hang(cancelled), *loop);
    loop->run_until_complete(aio::sleep(0s));
    loop->run_until_complete(aio::sleep(0s));
    auto unread = run_coroutine_threadsafe(hang(cancelled), *loop);
    loop->close();
    CHECK_THROWS_AS(begun.get(10s), plait::BrokenPromiseError);
    CHECK_THROWS_AS(unread.get(10s), plait::BrokenPromiseError);
    CHECK_THROWS_AS(run_coroutine_threadsafe(hang(cancelled), *loop), plait::UsageError);
    loop.reset();
    CHECK_FALSE(begun.cancel());
}

TEST_CASE("a loop closes while one of its threads waits for its task") {
    std::string how;
    {
        aio::EventLoop loop;
        support::ErrorLog log;
        log.watch(loop);
        const auto hang = [](aio::EventLoop& own) -> Coroutine<void> {
            own.stop();
            co_await aio::sleep(plait::Timeout::never());
        };
        const auto call = loop.run_in_executor(nullptr, [&] {
            try {
                aio::run_coroutine_threadsafe(hang(loop), loop).get(60s);
            } catch (const plait::BrokenPromiseError&) {
                how = "broken";
            }
        });
        loop.run_forever();
        loop.close();
        CHECK(call.ready());
    }
    CHECK(how == "broken");
}
