// SPDX-License-Identifier: MIT
#include <plait/asyncio/future.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/shield.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::TimeoutError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    co_return x;
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
    } catch (const TimeoutError&) {
        co_return "timeout";
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("wait_for gives the value of what ends in time") {
    run_virtual([]() -> Coroutine<void> {
        const int value = co_await aio::wait_for(late(4), 2s);
        CHECK(value == 4);
        CHECK(now() == 1s);
        const int forever = co_await aio::wait_for(late(5, 24h), std::chrono::hours::max());
        CHECK(forever == 5);
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("wait_for cancels what is late, waits for its end, and throws TimeoutError") {
    run_virtual([]() -> Coroutine<void> {
        bool cleaned = false;
        const auto body = [&]() -> Coroutine<void> {
            bool cancelled = false;
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (!cancelled) co_return;
            co_await aio::sleep(3s);
            cleaned = true;
            throw CancelledError();
        };
        const std::string end = co_await ending(aio::wait_for(body(), 2s));
        CHECK(end == "timeout");
        CHECK(cleaned);
        CHECK(now() == 5s);
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("wait_for at zero gives what is there, never starts a coroutine, and cancels a task") {
    run_virtual([]() -> Coroutine<void> {
        bool started = false;
        const auto body = [&]() -> Coroutine<void> {
            started = true;
            co_return;
        };
        const std::string of_coroutine = co_await ending(aio::wait_for(body(), 0s));
        CHECK(of_coroutine == "timeout");
        CHECK_FALSE(started);

        plait::Promise<int> kept_promise;
        kept_promise.set_value(5);
        const int of_done_future = co_await aio::wait_for(kept_promise.future(), 0s);
        CHECK(of_done_future == 5);

        auto done = aio::create_task(late(6));
        co_await done;
        const int value = co_await aio::wait_for(done, -1s);
        CHECK(value == 6);
        co_await aio::sleep(1s);  // no cancellation is left over

        auto running = aio::create_task(late(7));
        const std::string of_task = co_await ending(aio::wait_for(running, 0s));
        CHECK(of_task == "timeout");
        CHECK(running.cancelled());

        plait::Promise<int> promise;
        auto future = promise.future();
        const std::string of_future = co_await ending(aio::wait_for(future, 0s));
        CHECK(of_future == "timeout");
        CHECK(future.cancelled());
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("a coroutine that wait_for does not start is no omission of the caller's") {
    support::ErrorLog log;
    const auto body = [&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        const std::string end = co_await ending(aio::wait_for(late(1), 0s));
        CHECK(end == "timeout");
    };
    aio::run(body(), {.debug = true, .slow_callback_duration = plait::Timeout::never()});
    CHECK(log.messages.empty());
}

TEST_CASE("a cancellation taken back at zero leaves an older one alone") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task([]() -> Coroutine<std::string> {
            auto ready = aio::create_task(late(1));
            co_await ready;
            aio::current_task().cancel("older");
            const int value = co_await aio::wait_for(ready, 0s);
            const std::string end = co_await ending(late(value));
            co_return end;
        });
        const std::string end = co_await task;
        CHECK(end == "cancelled: older");
    });
}

TEST_CASE("a timeout of zero leaves no request behind in a task that was cancelled and went on") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task([]() -> Coroutine<int> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
            }
            auto ready = aio::create_task(late(1));
            co_await ready;
            const int value = co_await aio::wait_for(ready, 0s);
            co_await aio::sleep(1s);
            co_return value + static_cast<int>(aio::current_task().cancelling());
        });
        co_await aio::sleep(1s);
        task.cancel();
        const int value = co_await task;
        CHECK(value == 2);
    });
}

TEST_CASE("what makes a value or an error of its cancellation at the timeout, gives that") {
    run_virtual([]() -> Coroutine<void> {
        const auto stubborn = [](bool throws) -> Coroutine<int> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                if (throws) throw std::runtime_error("while cleaning up");
            }
            co_return 42;
        };
        const int value = co_await aio::wait_for(stubborn(false), 1s);
        CHECK(value == 42);
        const std::string end = co_await ending(aio::wait_for(stubborn(true), 1s));
        CHECK(end == "error: while cleaning up");
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("wait_for cancelled from outside cancels what it awaits, and is no timeout") {
    run_virtual([]() -> Coroutine<void> {
        auto inner = aio::create_task(late(1, 1h));
        auto outer = aio::create_task(aio::wait_for(inner, 10s));
        co_await aio::sleep(1s);
        outer.cancel("from outside");
        const std::string end = co_await ending(outer);
        CHECK(end == "cancelled: from outside");
        CHECK(inner.cancelled());
    });
}

TEST_CASE("cancelled from outside while it cleans up after the timeout, wait_for tells the cancellation") {
    run_virtual([]() -> Coroutine<void> {
        const auto body = []() -> Coroutine<void> {
            bool cancelled = false;
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (cancelled) co_await aio::sleep(10s);
        };
        auto outer = aio::create_task(aio::wait_for(body(), 1s));
        co_await aio::sleep(5s);
        outer.cancel("from outside");
        const std::string end = co_await ending(outer);
        CHECK(end == "cancelled: from outside");
        CHECK(outer.cancelling() == 1);
    });
}

TEST_CASE("a cancellation that meets the result of what is awaited in one pass is not swallowed") {
    run_virtual([]() -> Coroutine<void> {
        auto inner = aio::create_task(late(1));
        auto outer = aio::create_task(aio::wait_for(inner, 10s));
        // Called in the pass after the end of the inner task, in which the outer one goes on, and before it.
        inner.add_done_callback([&](const Task<int>&) { outer.cancel("too late for the value"); });
        co_await inner;
        const std::string end = co_await ending(outer);
        CHECK(inner.result() == 1);
        CHECK(end == "cancelled: too late for the value");
    });
}

TEST_CASE("a timeout that meets the result in one pass is a timeout, and leaves nothing behind") {
    run_virtual([]() -> Coroutine<void> {
        const std::string end = co_await ending(aio::wait_for(late(1, 2s), 2s));
        CHECK(end == "timeout");
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);
    });
}

TEST_CASE("a cancellation that was due before wait_for is not taken for its timeout") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task([]() -> Coroutine<void> {
            auto sleeper = aio::create_task(late(1));
            aio::current_task().cancel("older");
            co_await aio::wait_for(sleeper, 0s);
        });
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: older");
    });
}

TEST_CASE("what a shield protects goes on after wait_for's timeout") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(7, 3s));
        const std::string end = co_await ending(aio::wait_for(aio::shield(task), 1s));
        CHECK(end == "timeout");
        CHECK(now() == 1s);
        const int value = co_await task;
        CHECK(value == 7);
        CHECK(now() == 3s);
    });
}

TEST_CASE("nested timeouts: the one that expires decides") {
    run_virtual([]() -> Coroutine<void> {
        const auto nested = [](std::chrono::seconds inner) -> Coroutine<std::string> {
            co_return co_await ending(aio::wait_for(late(1, 1h), inner));
        };
        const std::string by_inner = co_await aio::wait_for(nested(1s), 10s);
        CHECK(by_inner == "timeout");
        const std::string by_outer = co_await ending(aio::wait_for(aio::wait_for(late(1, 1h), 10s), 1s));
        CHECK(by_outer == "timeout");
        const std::string by_both = co_await ending(aio::wait_for(aio::wait_for(late(1, 1h), 1s), 1s));
        CHECK(by_both == "timeout");
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);
    });
}

TEST_CASE("ten thousand timeouts that are never reached leave no timer") {
    run_virtual([]() -> Coroutine<void> {
        for (int i = 0; i < 10'000; ++i) co_await aio::wait_for(aio::sleep(0s), 1h);
        CHECK(aio::detail::LoopAccess::core(aio::get_running_loop()).timers.empty());
    });
}
