// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/future.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/core/future.hpp>
#include <plait/core/stop_token.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

// What the user does from within a cancellation, in the callbacks of a future or of a stop token; and a chain of tasks of
// which each is cancelled.

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::Future;
using plait::Promise;
using plait::StopToken;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

template <class T>
bool is_cancelled(const Task<T>& task) {
    return task.done() && task.cancelled();
}

Coroutine<int> await_future(Future<int> future) { co_return co_await future; }
Coroutine<> await_task(Task<> task) { co_await task; }
Coroutine<> hour() { co_await aio::sleep(1h); }

}  // namespace

TEST_CASE("a future's callback may cancel the task whose cancellation cancels the future") {
    run_virtual([]() -> Coroutine<> {
        Promise<int> promise;
        auto future = promise.future();
        Task<> gathering;
        int called = 0;
        future.add_done_callback([&](const Future<int>&) {
            ++called;
            gathering.cancel();
        });
        const auto gathers = [&]() -> Coroutine<> { static_cast<void>(co_await aio::gather(await_future(future))); };
        gathering = aio::create_task(gathers());
        for (int i = 0; i < 3; ++i) co_await aio::sleep(0s);
        CHECK(gathering.cancel());
        for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
        CHECK(is_cancelled(gathering));
        CHECK(called == 1);
    });
}

TEST_CASE("a stop callback may cancel its own task, and to_thread still waits for the function's end") {
    aio::run([]() -> Coroutine<> {
        std::atomic<bool> began{false};
        std::atomic<bool> go{false};
        std::atomic<bool> ended{false};
        Task<> task;
        const auto function = [&](StopToken token) {
            const plait::StopCallback callback{token, [&] { task.cancel(); }};
            began = true;
            while (!go) std::this_thread::yield();
            ended = true;
        };
        const auto calls = [&]() -> Coroutine<> { co_await aio::to_thread(std::ref(function)); };
        task = aio::create_task(calls());
        while (!began) co_await aio::sleep(0s);
        CHECK(task.cancel());
        for (int i = 0; i < 10; ++i) co_await aio::sleep(0s);
        CHECK_FALSE(task.done());
        go = true;
        while (!task.done()) co_await aio::sleep(0s);
        CHECK(ended);
        CHECK(task.cancelled());
    });
}

TEST_CASE("what can only be moved comes from a thread or a future, also where it is waited for") {
    aio::run([]() -> Coroutine<> {
        std::atomic<bool> go{false};
        const auto slow = [&] {
            while (!go) std::this_thread::yield();
            return std::make_unique<int>(7);
        };
        auto opener = aio::create_task([&]() -> Coroutine<> {
            co_await aio::sleep(0s);
            go = true;
        });
        const auto value = co_await aio::to_thread(slow);
        CHECK(*value == 7);
        co_await opener;

        Promise<std::unique_ptr<int>> promise;
        auto keeper = aio::create_task([&]() -> Coroutine<> {
            co_await aio::sleep(0s);
            promise.set_value(std::make_unique<int>(8));
        });
        auto future = promise.future();
        const auto moved = co_await std::move(future);
        CHECK(*moved == 8);
        co_await keeper;
    });
}

TEST_CASE("each of a chain of fifty thousand tasks is cancelled in no time") {
    run_virtual([]() -> Coroutine<> {
        std::vector<Task<>> tasks;
        tasks.push_back(aio::create_task(hour()));
        for (int i = 1; i < 50'000; ++i) tasks.push_back(aio::create_task(await_task(tasks.back())));
        for (int i = 0; i < 3; ++i) co_await aio::sleep(0s);
        for (auto task = tasks.rbegin(); task != tasks.rend(); ++task) CHECK(task->cancel());
        while (!tasks.back().done()) co_await aio::sleep(0s);
        CHECK(is_cancelled(tasks.front()));
        CHECK(is_cancelled(tasks.back()));
    });
}

TEST_CASE("a second request reaches a task that has swallowed the first, through those that await it") {
    run_virtual([]() -> Coroutine<> {
        int swallowed = 0;
        const auto stubborn = [&]() -> Coroutine<> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                ++swallowed;
            }
            co_await aio::sleep(1h);
        };
        auto inner = aio::create_task(stubborn());
        auto outer = aio::create_task(await_task(inner));
        co_await aio::sleep(1s);
        CHECK(outer.cancel());
        co_await aio::sleep(1s);
        CHECK(swallowed == 1);
        CHECK_FALSE(outer.done());
        CHECK(outer.cancel());
        co_await aio::sleep(1s);
        CHECK(is_cancelled(inner));
        CHECK(is_cancelled(outer));
    });
}

TEST_CASE("a hundred thousand eager tasks that make one another do not grow the stack") {
    struct Nest {
        static Coroutine<int> of(int depth) {
            if (depth == 0) co_return 0;
            auto inner = aio::create_task(of(depth - 1), {.eager_start = true});
            co_return 1 + co_await inner;
        }
    };
    CHECK(run_virtual([]() -> Coroutine<int> { co_return co_await Nest::of(100'000); }) == 100'000);
}
