// SPDX-License-Identifier: MIT
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/os/thread.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::StopToken;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::Task;
using plait::asyncio::to_thread;
using plait::asyncio::detail::LoopAccess;
using plait::asyncio::detail::ThreadExecutor;
namespace aio = plait::asyncio;

namespace {

void until_stopped(StopToken stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
}
void until_set(const std::atomic<bool>& flag) {
    while (!flag) std::this_thread::yield();
}
/// Lets the loop run until another thread has set `flag`.
Coroutine<void> until_seen(const std::atomic<bool>& flag) {
    while (!flag) co_await aio::sleep(0s);
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

TEST_CASE("to_thread calls the function on a thread of its own, and gives its value or its error") {
    aio::run([]() -> Coroutine<void> {
        const auto here = std::this_thread::get_id();
        const auto there = co_await to_thread([] { return std::this_thread::get_id(); });
        CHECK(there != here);
        const auto take = [](std::unique_ptr<int> x, const std::string& s) { return *x + static_cast<int>(s.size()); };
        auto argument = std::make_unique<int>(1);
        auto call = to_thread(take, std::move(argument), "ab");
        const int sum = co_await call;
        CHECK(sum == 3);
        const std::string name = co_await to_thread([] { return plait::os::thread_name(); });
        CHECK((name.empty() || name == "plait-to-thread"));
        const std::string end = co_await ending(to_thread([] { throw std::runtime_error("failed"); }));
        CHECK(end == "error: failed");
    });
}

TEST_CASE("the loop goes on while a thread works, and idle threads are used again") {
    aio::run([]() -> Coroutine<void> {
        std::atomic<bool> go{false};
        auto blocked = aio::create_task(to_thread([&] { until_set(go); }));
        for (int i = 0; i < 10; ++i) co_await aio::sleep(0s);
        CHECK_FALSE(blocked.done());
        go = true;
        co_await blocked;
        // A thread tells its result just before it is idle again.
        auto& executor = ThreadExecutor::of(LoopAccess::core(aio::get_running_loop()));
        while (executor.waiting() == 0) co_await aio::sleep(0s);
        const auto first = co_await to_thread([] { return std::this_thread::get_id(); });
        while (executor.waiting() == 0) co_await aio::sleep(0s);
        const auto second = co_await to_thread([] { return std::this_thread::get_id(); });
        CHECK(first == second);
    });
}

TEST_CASE("calls side by side have threads side by side") {
    aio::run([]() -> Coroutine<void> {
        std::atomic<int> arrived{0};
        const auto meet = [&] {
            ++arrived;
            while (arrived < 4) std::this_thread::yield();
        };
        std::vector<Coroutine<void>> calls;
        for (int i = 0; i < 4; ++i) calls.push_back(to_thread(meet));
        co_await aio::gather(std::move(calls));
        CHECK(arrived == 4);
    });
}

TEST_CASE("more calls than threads queue") {
    aio::run([]() -> Coroutine<void> {
        std::atomic<int> count{0};
        std::vector<Coroutine<void>> calls;
        for (int i = 0; i < 500; ++i) calls.push_back(to_thread([&] { ++count; }));
        co_await aio::gather(std::move(calls));
        CHECK(count == 500);
    });
}

TEST_CASE("cancelling to_thread asks the function to stop, and waits for its end") {
    aio::run([]() -> Coroutine<void> {
        std::atomic<bool> began{false};
        std::atomic<bool> ended{false};
        auto task = aio::create_task(to_thread([&](StopToken stop) {
            began = true;
            until_stopped(std::move(stop));
            ended = true;
            return 5;
        }));
        co_await until_seen(began);
        CHECK(task.cancel("enough"));
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: enough");
        CHECK(ended);
    });
}

TEST_CASE("a function without a token is waited for all the same, and its error wins over the cancellation") {
    aio::run([]() -> Coroutine<void> {
        std::atomic<bool> began{false};
        std::atomic<bool> go{false};
        auto task = aio::create_task(to_thread([&] {
            began = true;
            until_set(go);
            throw std::runtime_error("at last");
        }));
        co_await until_seen(began);
        task.cancel();
        for (int i = 0; i < 10; ++i) co_await aio::sleep(0s);
        CHECK_FALSE(task.done());
        go = true;
        const std::string end = co_await ending(task);
        CHECK(end == "error: at last");
    });
}

TEST_CASE("told to abandon, a cancelled to_thread returns at once") {
    std::atomic<bool> go{false};
    std::atomic<bool> ended{false};
    aio::run([&]() -> Coroutine<void> {
        std::atomic<bool> began{false};
        auto task = aio::create_task(to_thread({.abandon = true}, [&] {
            began = true;
            until_set(go);
            ended = true;
        }));
        co_await until_seen(began);
        task.cancel();
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: ");
        CHECK_FALSE(ended);
        go = true;
    });
    // Its thread was joined with the loop.
    CHECK(ended);
}

TEST_CASE("a call that queues is dropped when it is cancelled") {
    aio::run([]() -> Coroutine<void> {
        std::atomic<bool> go{false};
        const std::size_t most = (std::min)(std::size_t{32}, std::size_t{plait::os::usable_processors()} + 4);
        std::vector<Task<void>> busy;
        std::atomic<std::size_t> began{0};
        for (std::size_t i = 0; i < most; ++i)
            busy.push_back(aio::create_task(to_thread([&] {
                ++began;
                until_set(go);
            })));
        while (began != most) co_await aio::sleep(0s);
        bool ran = false;
        auto queued = aio::create_task(to_thread([&] { ran = true; }));
        co_await aio::sleep(0s);
        queued.cancel();
        const std::string end = co_await ending(queued);
        CHECK(end == "cancelled: ");
        go = true;
        for (const auto& task : busy) co_await task;
        co_await to_thread([] {});
        CHECK_FALSE(ran);
    });
}

TEST_CASE("a loop that closes asks its threads to stop, and joins them before it destroys what they use") {
    std::atomic<bool> ended{false};
    support::ErrorLog log;
    {
        EventLoop loop;
        log.watch(loop);
        std::atomic<bool> began{false};
        auto task = loop.create_task([&]() -> Coroutine<void> {
            const std::string local = "still there";
            co_await to_thread(
                [&](StopToken stop, const std::string& text) {
                    began = true;
                    until_stopped(std::move(stop));
                    ended = text == "still there";
                },
                std::ref(local));
        });
        loop.run_until_complete(until_seen(began));
    }
    CHECK(ended);
    CHECK(log.messages.size() == 1);
}

TEST_CASE("run_in_executor with a null pool calls on the loop's threads") {
    aio::run([]() -> Coroutine<void> {
        auto future = aio::get_running_loop().run_in_executor(nullptr, [](int x) { return x + 1; }, 2);
        const int value = co_await future;
        CHECK(value == 3);
    });
}

TEST_CASE("wait_for a thread asks it to stop at the timeout") {
    aio::run([]() -> Coroutine<void> {
        bool timed_out = false;
        try {
            co_await aio::wait_for(to_thread(until_stopped), 1ms);
        } catch (const plait::TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
    });
}

TEST_CASE("what a thread's function held is gone before its result is seen") {
    aio::run([]() -> Coroutine<void> {
        auto held = std::make_shared<int>(1);
        const std::weak_ptr<int> alive = held;
        auto call = to_thread([](const std::shared_ptr<int>& x) { return *x; }, std::move(held));
        const int value = co_await call;
        CHECK(value == 1);
        CHECK(alive.expired());
    });
}
