// SPDX-License-Identifier: MIT
#include <plait/asyncio/as_completed.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::TimeoutError;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x, std::chrono::seconds delay) {
    co_await aio::sleep(delay);
    co_return x;
}
Coroutine<int> fails(std::chrono::seconds delay) {
    co_await aio::sleep(delay);
    throw std::runtime_error("failed");
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
    } catch (const TimeoutError& error) {
        co_return std::string("timeout: ") + error.what();
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("as_completed gives the results in the order in which they come") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Coroutine<int>> coroutines;
        coroutines.push_back(late(3, 3s));
        coroutines.push_back(late(1, 1s));
        coroutines.push_back(late(2, 2s));
        std::vector<int> order;
        for (auto& next : aio::as_completed(coroutines)) {
            order.push_back(co_await next);
            CHECK(now() == std::chrono::seconds(order.back()));
        }
        CHECK(order == std::vector<int>{1, 2, 3});
    });
}

TEST_CASE("as_completed takes tasks and packs, and those that have ended come first in their order") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Task<int>> tasks{aio::create_task(late(4, 4s)), aio::create_task(late(1, 1s)),
                                     aio::create_task(late(2, 1s))};
        co_await aio::sleep(2s);
        std::vector<int> order;
        for (auto& next : aio::as_completed(tasks)) order.push_back(co_await next);
        CHECK(order == std::vector<int>{1, 2, 4});
        CHECK(tasks[0].result() == 4);

        order.clear();
        for (auto& next : aio::as_completed(late(2, 2s), tasks[1], late(3, 1s))) order.push_back(co_await next);
        CHECK(order == std::vector<int>{1, 3, 2});
        for (auto& next : aio::as_completed(std::vector<Task<int>>{})) order.push_back(co_await next);
        CHECK(order.size() == 3);
        int sleeps = 0;
        for (auto& next : aio::as_completed(aio::sleep(1s), aio::sleep(2s))) {
            co_await next;
            ++sleeps;
        }
        CHECK(sleeps == 2);
    });
}

TEST_CASE("a task that is given to as_completed twice comes once") {
    run_virtual([]() -> Coroutine<void> {
        auto one = aio::create_task(late(1, 1s));
        auto two = aio::create_task(late(2, 2s));
        std::vector<int> order;
        for (auto& next : aio::as_completed(two, one, two, one)) order.push_back(co_await next);
        CHECK(order == std::vector<int>{1, 2});
    });
}

TEST_CASE("as_completed gives values that can only be moved, and references") {
    run_virtual([]() -> Coroutine<void> {
        const auto unique = [](int x) -> Coroutine<std::unique_ptr<int>> {
            co_await aio::sleep(1s);
            co_return std::make_unique<int>(x);
        };
        int sum = 0;
        for (auto& next : aio::as_completed(unique(1), unique(2))) {
            const auto value = co_await next;
            sum += *value;
        }
        CHECK(sum == 3);
        const auto reference = [](int& x) -> Coroutine<int&> { co_return x; };
        for (auto& next : aio::as_completed(reference(sum))) {
            int& same = co_await next;
            CHECK(&same == &sum);
        }
    });
}

TEST_CASE("as_completed throws an error where it comes, and goes on with the next") {
    run_virtual([]() -> Coroutine<void> {
        auto cancelled = aio::create_task(late(9, 1h));
        cancelled.cancel("not this one");
        std::vector<std::string> ends;
        for (auto& next : aio::as_completed(late(1, 2s), fails(1s), cancelled)) {
            const std::string end = co_await ending(next);
            ends.push_back(end);
        }
        CHECK(ends == std::vector<std::string>{"cancelled: not this one", "error: failed", "value"});
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("when as_completed's time is up what has ended still comes, then TimeoutError, and the tasks go on") {
    run_virtual([]() -> Coroutine<void> {
        auto slow = aio::create_task(late(9, 9s));
        std::vector<std::string> ends;
        for (auto& next : aio::as_completed(2s, late(1, 1s), slow, late(1, 1s))) {
            if (ends.empty()) co_await aio::sleep(5s);
            const std::string end = co_await ending(next);
            ends.push_back(end);
        }
        CHECK(ends ==
              std::vector<std::string>{"value", "value", "timeout: as_completed: the next one had not ended in time"});
        CHECK(now() == 5s);
        CHECK_FALSE(slow.done());
        const int value = co_await slow;
        CHECK(value == 9);

        ends.clear();
        for (auto& next : aio::as_completed(std::vector<Task<int>>{slow, aio::create_task(late(1, 1s))}, 0s)) {
            const std::string end = co_await ending(next);
            ends.push_back(end.substr(0, 7));
        }
        CHECK(ends == std::vector<std::string>{"value", "timeout"});
    });
}

TEST_CASE("as_completed's time counts from the call, and ends a wait") {
    run_virtual([]() -> Coroutine<void> {
        auto all = aio::as_completed(3s, late(1, 1h));
        co_await aio::sleep(1s);
        for (auto& next : all) {
            const std::string end = co_await ending(next);
            CHECK(end == "timeout: as_completed: the next one had not ended in time");
        }
        CHECK(now() == 3s);
        CHECK(aio::detail::LoopAccess::core(aio::get_running_loop()).timers.size() == 1);  // the task's own
    });
}

TEST_CASE("an as_completed that is left half way leaves its tasks running") {
    run_virtual([]() -> Coroutine<void> {
        auto slow = aio::create_task(late(2, 2s));
        int first = 0;
        for (auto& next : aio::as_completed(1h, slow, late(1, 1s))) {
            first = co_await next;
            break;
        }
        CHECK(first == 1);
        CHECK_FALSE(slow.done());
        CHECK(aio::detail::LoopAccess::core(aio::get_running_loop()).timers.size() == 1);
        const int value = co_await slow;
        CHECK(value == 2);
        {
            auto never_looked_at = aio::as_completed(late(1, 1s), late(2, 2s));
        }
        co_await aio::sleep(3s);
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("cancelling a wait for the next one takes nothing, and cancels no task") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(1, 5s));
        Task<int> late_one;
        // Called in the pass after the task's end, before who waits for that goes on.
        task.add_done_callback([&](const Task<int>&) { late_one.cancel(); });
        auto all = aio::as_completed(task);
        for (auto& next : all) {
            auto waiting = aio::create_task(next);
            co_await aio::sleep(1s);
            waiting.cancel();
            const std::string end = co_await ending(waiting);
            CHECK(end == "cancelled: ");
            CHECK(task.cancelling() == 0);
            late_one = aio::create_task(next);
            const std::string late_end = co_await ending(late_one);
            CHECK(late_end == "cancelled: ");
            const int value = co_await aio::wait_for(next, 1s);
            CHECK(value == 1);
        }
    });
}

TEST_CASE("the next one is awaited by one at a time, and no more often than there are tasks") {
    run_virtual([]() -> Coroutine<void> {
        auto all = aio::as_completed(late(1, 1s));
        for (auto& next : all) {
            auto waiting = aio::create_task(next);
            co_await aio::sleep(0s);
            const std::string end = co_await ending(next);
            CHECK(end ==
                  "error: as_completed: somebody waits for the next one already; await them one after the other");
            const int value = co_await waiting;
            CHECK(value == 1);
            const std::string more = co_await ending(next);
            CHECK(more == "error: as_completed: each of them has been awaited already");
        }
    });
}

TEST_CASE("as_completed refuses tasks of another loop, and to work outside a loop") {
    CHECK_THROWS_AS(static_cast<void>(aio::as_completed(late(1, 1s))), UsageError);
    aio::EventLoop other;
    auto foreign = other.create_task(late(1, 0s));
    run_virtual([&]() -> Coroutine<void> {
        CHECK_THROWS_AS(static_cast<void>(aio::as_completed(foreign)), UsageError);
        co_return;
    });
    CHECK(other.run_until_complete(foreign) == 1);
}

TEST_CASE("what as_completed gave may outlive it, and the loop") {
    std::vector<aio::NextCompleted<int>> kept;
    {
        support::ErrorLog log;
        aio::EventLoop loop({.manual_clock = true});
        log.watch(loop);
        loop.run_until_complete([](std::vector<aio::NextCompleted<int>>& nexts) -> Coroutine<void> {
            for (auto& one : aio::as_completed(1h, late(1, 1s), late(2, 2h))) nexts.push_back(one);
            const int value = co_await nexts[0];
            CHECK(value == 1);
            auto waiting = aio::create_task(nexts[1]);
            co_await aio::sleep(1s);
            CHECK_FALSE(waiting.done());
        }(kept));
    }
    CHECK(kept.size() == 2);
}

TEST_CASE("ten thousand results are given as they come") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Task<int>> tasks;
        for (int i = 0; i < 10'000; ++i) tasks.push_back(aio::create_task(late(i, std::chrono::seconds(10'000 - i))));
        int expected = 10'000;
        bool in_order = true;
        for (auto& next : aio::as_completed(tasks)) in_order = in_order && co_await next == --expected;
        CHECK(in_order);
        CHECK(expected == 0);
    });
}
