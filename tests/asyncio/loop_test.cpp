// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/core/future.hpp>
#include <plait/core/report.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x) {
    co_await aio::sleep(1s);
    co_return x;
}
Coroutine<void> hang() { co_await aio::sleep(1h); }

/// Lets a loop have one pass.
void run_once(EventLoop& loop) {
    loop.stop();
    loop.run_forever();
}

/// All that run_in_executor asks of a pool.
struct Pool {
    template <class F, class... Args>
    plait::Future<int> apply_async(F f, Args... args) {
        plait::Promise<int> promise;
        promise.set_value(f(args...));
        return promise.future();
    }
};

std::vector<std::string> unraisable;
void note_unraisable(const std::string& where, std::exception_ptr) { unraisable.push_back(where); }

}  // namespace

TEST_CASE("callbacks run in the order in which they were scheduled, new ones in the next pass") {
    EventLoop loop;
    std::vector<int> order;
    loop.call_soon([&] {
        order.push_back(1);
        loop.call_soon([&] { order.push_back(3); });
    });
    loop.call_soon([&](int x) { order.push_back(x); }, 2);
    run_once(loop);
    CHECK(order == std::vector<int>{1, 2});
    run_once(loop);
    CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("a callback takes move-only arguments") {
    EventLoop loop;
    int got = 0;
    loop.call_soon([&](std::unique_ptr<int> x) { got = *x; }, std::make_unique<int>(9));
    run_once(loop);
    CHECK(got == 9);
}

TEST_CASE("run_until_complete gives the value or throws the error, again and again") {
    EventLoop loop{{.manual_clock = true}};
    CHECK(loop.run_until_complete(late(7)) == 7);
    CHECK_THROWS_WITH(loop.run_until_complete([]() -> Coroutine<void> {
        co_await aio::sleep(1s);
        throw std::runtime_error("failed");
    }()),
                      "failed");
    auto task = loop.create_task(late(8));
    CHECK(loop.run_until_complete(task) == 8);
    CHECK(loop.run_until_complete(task) == 8);
    loop.run_until_complete(aio::sleep(1s));
    CHECK(loop.time().time_since_epoch() == 4s);
}

TEST_CASE("a loop stopped before its task has ended says so, and may go on") {
    EventLoop loop{{.manual_clock = true}};
    auto task = loop.create_task(late(7));
    loop.call_soon([&] { loop.stop(); });
    CHECK_THROWS_AS(loop.run_until_complete(task), UsageError);
    CHECK_FALSE(loop.is_running());
    CHECK(loop.run_until_complete(task) == 7);
}

TEST_CASE("stop ends the present pass, not in its middle; before a run it allows one pass") {
    EventLoop loop;
    std::vector<int> order;
    loop.call_soon([&] {
        loop.stop();
        order.push_back(1);
        loop.call_soon([&] { order.push_back(3); });
    });
    loop.call_soon([&] { order.push_back(2); });
    loop.run_forever();
    CHECK(order == std::vector<int>{1, 2});
    run_once(loop);
    CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("timers fire by deadline, equal ones as they were made") {
    EventLoop loop{{.manual_clock = true}};
    std::vector<int> order;
    const auto start = loop.time();
    loop.call_later(2s, [&] { order.push_back(4); });
    loop.call_later(1s, [&] { order.push_back(1); });
    loop.call_at(start + 1s, [&] { order.push_back(2); });
    loop.call_later(1s, [&] { order.push_back(3); });
    loop.call_later(3s, [&] { loop.stop(); });
    loop.run_forever();
    CHECK(order == std::vector<int>{1, 2, 3, 4});
    CHECK(loop.time() - start == 3s);
}

TEST_CASE("overdue timers fire in deadline order, once each") {
    EventLoop loop;
    std::vector<int> order;
    const auto past = loop.time();
    loop.call_at(past - 1s, [&] { order.push_back(2); });
    loop.call_at(past - 3s, [&] { order.push_back(0); });
    loop.call_at(past - 2s, [&] { order.push_back(1); });
    loop.call_at(EventLoop::Clock::time_point{} - 1h, [&] { order.push_back(-1); });
    run_once(loop);
    CHECK(order == std::vector<int>{-1, 0, 1, 2});
    run_once(loop);
    CHECK(order.size() == 4);
}

TEST_CASE("a timer on the real clock is never early") {
    EventLoop loop;
    const auto start = EventLoop::Clock::now();
    loop.call_later(3ms, [&] { loop.stop(); });
    loop.run_forever();
    CHECK(EventLoop::Clock::now() - start >= 3ms);
}

TEST_CASE("the longest delay is never") {
    EventLoop loop{{.manual_clock = true}};
    bool fired = false;
    auto handle = loop.call_later(std::chrono::hours::max(), [&] { fired = true; });
    loop.call_later(24h * 365 * 200, [&] { loop.stop(); });
    loop.run_forever();
    CHECK_FALSE(fired);
    handle.cancel();
}

TEST_CASE("a day of timers takes no time, and the same seed gives the same order twice") {
    const auto order_of = [](std::uint64_t seed) {
        std::vector<int> order;
        run_virtual(
            [&]() -> Coroutine<void> {
                const auto body = [&](int x) -> Coroutine<void> {
                    for (int i = 0; i < 24; ++i) {
                        co_await aio::sleep(1h);
                        order.push_back(x);
                    }
                };
                std::vector<Task<void>> tasks;
                for (int x = 0; x < 8; ++x) tasks.push_back(aio::create_task(body(x)));
                for (const auto& task : tasks) co_await task;
            },
            seed);
        return order;
    };
    const auto start = EventLoop::Clock::now();
    CHECK(order_of(1) == order_of(1));
    CHECK(order_of(1) != order_of(2));
    const auto plain = order_of(0);
    CHECK(std::vector<int>(plain.begin(), plain.begin() + 8) == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(EventLoop::Clock::now() - start < 10s);
}

TEST_CASE("a seed leaves callbacks in their order") {
    EventLoop loop{{.seed = 5}};
    std::vector<int> order;
    std::vector<int> expected;
    for (int i = 0; i < 20; ++i) {
        loop.call_soon([&, i] { order.push_back(i); });
        expected.push_back(i);
    }
    run_once(loop);
    CHECK(order == expected);
}

TEST_CASE("an exception that leaves a callback goes to the handler, and the loop goes on") {
    EventLoop loop;
    support::ErrorLog log;
    log.watch(loop);
    bool ran = false;
    loop.call_soon([] { throw std::runtime_error("in the callback"); });
    loop.call_soon([&] { ran = true; });
    run_once(loop);
    CHECK(ran);
    CHECK(log.texts == std::vector<std::string>{"in the callback"});
}

TEST_CASE("an exception handler that throws is reported itself; without one errors go to the unraisable hook") {
    unraisable.clear();
    const auto before = plait::set_unraisable_hook(&note_unraisable);
    {
        EventLoop loop;
        loop.set_exception_handler(
            [](EventLoop&, const aio::ErrorContext&) { throw std::runtime_error("in the handler"); });
        loop.call_soon([] { throw 1; });
        run_once(loop);
        loop.set_exception_handler(nullptr);
        loop.call_soon([] { throw 1; });
        run_once(loop);
    }
    plait::set_unraisable_hook(before);
    CHECK(unraisable ==
          std::vector<std::string>{"the exception handler of an event loop threw", "an exception left a callback"});
}

TEST_CASE("a closed loop refuses every call, and closing twice is fine") {
    EventLoop loop;
    loop.close();
    loop.close();
    CHECK(loop.is_closed());
    CHECK_THROWS_AS(loop.run_forever(), UsageError);
    CHECK_THROWS_AS(loop.run_until_complete(late(1)), UsageError);
    CHECK_THROWS_AS(loop.create_task(late(1)), UsageError);
    CHECK_THROWS_AS(loop.call_soon([] {}), UsageError);
    CHECK_THROWS_AS(loop.call_later(1s, [] {}), UsageError);
    CHECK_THROWS_AS(loop.call_soon_threadsafe([] {}), UsageError);
}

TEST_CASE("a running loop is not closed, and runs no second one") {
    EventLoop loop;
    EventLoop other;
    std::vector<std::string> errors;
    const auto error_of = [&](auto call) {
        try {
            call();
        } catch (const UsageError& error) {
            errors.push_back(error.what());
        }
    };
    loop.call_soon([&] {
        CHECK(loop.is_running());
        error_of([&] { loop.close(); });
        error_of([&] { loop.run_forever(); });
        error_of([&] { other.run_forever(); });
        error_of([&] { other.run_until_complete(late(1)); });
        error_of([&] { aio::run(late(1)); });
        loop.stop();
    });
    loop.run_forever();
    CHECK(errors.size() == 5);
    CHECK_FALSE(loop.is_running());
}

TEST_CASE("closing drops callbacks that have not run") {
    auto held = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = held;
    EventLoop loop;
    loop.call_soon([held] {});
    loop.call_later(1h, [held] {});
    loop.call_soon_threadsafe([held] {});
    held.reset();
    CHECK_FALSE(alive.expired());
    loop.close();
    CHECK(alive.expired());
}

TEST_CASE("closing destroys tasks wherever they are, the youngest first, runs their destructors, and reports each") {
    std::vector<std::string> log;
    support::ErrorLog errors;
    {
        EventLoop loop{{.manual_clock = true}};
        errors.watch(loop);
        const auto body = [&](const char* name, Task<void> other) -> Coroutine<void> {
            const std::unique_ptr<const char, std::function<void(const char*)>> guard{
                name, [&](const char* text) { log.push_back(text); }};
            if (other.valid())
                co_await other;
            else
                co_await aio::sleep(1h);
        };
        auto sleeps = loop.create_task(body("sleeping", {}));
        auto waits = loop.create_task(body("waiting", sleeps));
        run_once(loop);
        auto unstarted = loop.create_task(body("unstarted", {}));
        auto yields = loop.create_task([&]() -> Coroutine<void> {
            for (;;) co_await aio::sleep(0s);
        });
    }
    CHECK(log == std::vector<std::string>{"waiting", "sleeping"});
    CHECK(errors.tasks == std::vector<std::string>{"Task-4", "Task-3", "Task-2", "Task-1"});
}

TEST_CASE("a destructor that cancels another task while its loop closes does no harm") {
    // The canceller has the only handle of the other task, which is thus freed while the loop closes.
    struct Canceller {
        explicit Canceller(Task<void> t) : task{std::move(t)} {}
        Canceller(const Canceller&) = delete;
        Canceller& operator=(const Canceller&) = delete;
        ~Canceller() { task.cancel(); }
        Task<void> task;
    };
    const auto body = [](Task<void> other) -> Coroutine<void> {
        const Canceller canceller{std::move(other)};
        co_await aio::sleep(1h);
    };
    EventLoop loop{{.manual_clock = true}};
    support::ErrorLog errors;
    errors.watch(loop);
    Task<void> last;
    auto first = loop.create_task([&]() -> Coroutine<void> {
        last = aio::create_task(hang());
        co_await body(std::move(last));
    });
    run_once(loop);
    run_once(loop);
    loop.close();
    CHECK(first.cancelled());
    CHECK(errors.messages.size() == 2);
}

TEST_CASE("call_soon from another thread while the loop runs is a usage error") {
    EventLoop loop;
    std::string error;
    loop.call_soon([&] {
        std::thread stranger{[&] {
            try {
                loop.call_soon([] {});
            } catch (const UsageError& misuse) {
                error = misuse.what();
            }
        }};
        stranger.join();
        loop.stop();
    });
    loop.run_forever();
    CHECK(error.find("call_soon_threadsafe") != std::string::npos);
}

TEST_CASE("call_soon_threadsafe wakes a loop that sleeps") {
    EventLoop loop;
    std::atomic<bool> running{false};
    loop.call_soon([&] { running = true; });
    std::thread other{[&] {
        while (!running) std::this_thread::yield();
        loop.call_soon_threadsafe([&] { loop.stop(); });
    }};
    loop.run_forever();
    other.join();
    CHECK_FALSE(loop.is_running());
}

TEST_CASE("calls from several threads run once each, and those of one thread in order") {
    constexpr int threads = 4;
    constexpr int each = 5'000;
    EventLoop loop;
    std::vector<int> next(threads);
    bool in_order = true;
    int left = threads * each;
    std::vector<std::thread> posters;
    for (std::size_t t = 0; t < threads; ++t)
        posters.emplace_back([&, t] {
            for (int i = 0; i < each; ++i)
                loop.call_soon_threadsafe([&, t, i] {
                    in_order = in_order && next[t]++ == i;
                    if (--left == 0) loop.stop();
                });
        });
    loop.run_forever();
    for (auto& poster : posters) poster.join();
    CHECK(in_order);
    CHECK(next == std::vector<int>(threads, each));
}

TEST_CASE("calls keep the order in which the loop's thread made them, by whichever door") {
    EventLoop loop;
    std::vector<int> order;
    loop.call_soon([&] { order.push_back(1); });
    loop.call_soon_threadsafe([&] { order.push_back(2); });
    run_once(loop);
    CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("a call that a callback posts to its own loop waits for the next pass, like any other") {
    EventLoop loop;
    std::vector<int> order;
    loop.call_soon([&] { loop.call_soon_threadsafe([&] { order.push_back(1); }); });
    run_once(loop);
    CHECK(order.empty());
    run_once(loop);
    CHECK(order == std::vector<int>{1});
}

TEST_CASE("the running loop, the current task and all tasks are told where there are any") {
    CHECK_THROWS_AS(aio::get_running_loop(), UsageError);
    CHECK_THROWS_AS(aio::get_event_loop(), UsageError);
    CHECK_THROWS_AS(aio::all_tasks(), UsageError);
    CHECK_THROWS_AS(aio::create_task(late(1)), UsageError);
    CHECK_FALSE(aio::current_task().valid());

    EventLoop loop{{.manual_clock = true}};
    aio::set_event_loop(&loop);
    CHECK(&aio::get_event_loop() == &loop);
    loop.call_soon([&] {
        CHECK(&aio::get_running_loop() == &loop);
        CHECK_FALSE(aio::current_task().valid());
    });
    loop.run_until_complete([](EventLoop& mine) -> Coroutine<void> {
        CHECK(&aio::get_running_loop() == &mine);
        CHECK(&aio::get_event_loop() == &mine);
        auto other = aio::create_task(hang());
        CHECK(aio::all_tasks() == std::vector<aio::AnyTask>{aio::current_task(), other});
        auto me = aio::current_task();
        co_await aio::sleep(1s);
        CHECK(aio::current_task() == me);
        other.cancel();
        co_await aio::sleep(0s);
        CHECK(aio::all_tasks().size() == 1);
    }(loop));
    aio::set_event_loop(nullptr);
    CHECK_THROWS_AS(aio::get_event_loop(), UsageError);
}

TEST_CASE("a loop that dies is no thread's any more") {
    {
        EventLoop loop;
        aio::set_event_loop(&loop);
    }
    CHECK_THROWS_AS(aio::get_event_loop(), UsageError);
    auto elsewhere = std::make_unique<EventLoop>();
    aio::set_event_loop(elsewhere.get());
    CHECK(&aio::get_event_loop() == elsewhere.get());
    std::thread{[&] { elsewhere.reset(); }}.join();
    CHECK_THROWS_AS(aio::get_event_loop(), UsageError);
}

TEST_CASE("two loops run in two threads, each with its own tasks") {
    int sum = 0;
    std::thread other{[&] { sum += aio::run(late(1), {.manual_clock = true}); }};
    const int mine = aio::run(late(2), {.manual_clock = true});
    other.join();
    CHECK(sum + mine == 3);
}

TEST_CASE("run_in_executor asks the pool that it is given") {
    EventLoop loop;
    Pool pool;
    CHECK(loop.run_in_executor(pool, [](int x) { return x + 1; }, 2).get() == 3);
}

TEST_CASE("an exception handler may set another in its place") {
    EventLoop loop;
    std::string seen;
    loop.set_exception_handler([&, text = std::string(100, 'x')](EventLoop& own, const aio::ErrorContext&) {
        own.set_exception_handler(nullptr);
        seen = text;
    });
    loop.call_soon([] { throw std::runtime_error("failed"); });
    run_once(loop);
    CHECK(seen == std::string(100, 'x'));
}

TEST_CASE("a loop does not wait for another loop's task") {
    EventLoop loop{{.manual_clock = true}};
    EventLoop other{{.manual_clock = true}};
    auto task = other.create_task(late(1));
    CHECK_THROWS_AS(loop.run_until_complete(task), UsageError);
    CHECK(other.run_until_complete(task) == 1);
}

TEST_CASE("with a manual clock, a timer that is due fires while a thread works for the loop") {
    plait::asyncio::run(
        []() -> plait::asyncio::Coroutine<void> {
            std::atomic<bool> called{false};
            plait::asyncio::get_running_loop().call_later(0s, [&] { called = true; });
            co_await plait::asyncio::to_thread([&] {
                while (!called) std::this_thread::yield();
            });
        },
        plait::asyncio::EventLoopOptions{.manual_clock = true});
}
