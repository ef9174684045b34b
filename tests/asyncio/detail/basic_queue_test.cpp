// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/queue.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::QueueEmpty;
using plait::QueueFull;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::Queue;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

/// How an await of a task ends.
template <class T>
Coroutine<std::string> ending(Task<T> task) {
    try {
        co_await task;
    } catch (const plait::CancelledError&) {
        co_return "cancelled";
    } catch (const plait::QueueShutDown&) {
        co_return "shut down";
    } catch (const std::exception& error) {
        co_return error.what();
    }
    co_return "value";
}

/// Several tasks that get, or put `first`, `first + 1`, …; they have had their turns, and wait where they must.
Coroutine<std::vector<Task<int>>> getters(Queue<int>& queue, int count) {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < count; ++i) tasks.push_back(aio::create_task(queue.get()));
    co_await aio::sleep(0s);
    co_return tasks;
}
Coroutine<std::vector<Task<void>>> putters(Queue<int>& queue, int first, int count) {
    std::vector<Task<void>> tasks;
    for (int i = 0; i < count; ++i) tasks.push_back(aio::create_task(queue.put(first + i)));
    co_await aio::sleep(0s);
    co_return tasks;
}
std::vector<int> drain(Queue<int>& queue) {
    std::vector<int> items;
    while (!queue.empty()) items.push_back(queue.get_nowait());
    return items;
}

}  // namespace

TEST_CASE("get waits for an item, and put for room") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue(1);
        auto get = aio::create_task(queue.get());
        co_await aio::sleep(1s);
        CHECK_FALSE(get.done());
        CHECK(queue.waiting() == 1);
        co_await queue.put(1);
        const int first = co_await get;
        CHECK(first == 1);
        CHECK(queue.waiting() == 0);

        co_await queue.put(2);
        auto put = aio::create_task(queue.put(3));
        co_await aio::sleep(1s);
        CHECK_FALSE(put.done());
        CHECK(queue.waiting() == 1);
        const int second = co_await queue.get();
        CHECK(second == 2);
        co_await put;
        const int third = co_await queue.get();
        CHECK(third == 3);
    });
}

TEST_CASE("put_nowait and get_nowait throw QueueFull and QueueEmpty, and the item stays with the caller") {
    Queue<std::unique_ptr<int>> queue(1);
    CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
    queue.put_nowait(std::make_unique<int>(1));
    auto item = std::make_unique<int>(2);
    CHECK_THROWS_AS(queue.put_nowait(std::move(item)), QueueFull);
    REQUIRE(item);  // NOLINT(bugprone-use-after-move)
    CHECK(*item == 2);
    CHECK(*queue.get_nowait() == 1);
    CHECK_THROWS_WITH(queue.get_nowait(), "no item came into the queue");
}

TEST_CASE("qsize, empty, full and maxsize tell of a queue; zero or less is no limit") {
    Queue<int> queue(2);
    CHECK(queue.maxsize() == 2);
    CHECK(queue.empty());
    queue.put_nowait(1);
    CHECK(queue.qsize() == 1);
    CHECK_FALSE(queue.empty());
    CHECK_FALSE(queue.full());
    queue.put_nowait(2);
    CHECK(queue.full());
    for (const int maxsize : {0, -1}) {
        Queue<int> unlimited(maxsize);
        for (int i = 0; i < 1000; ++i) unlimited.put_nowait(i);
        CHECK_FALSE(unlimited.full());
        CHECK(unlimited.qsize() == 1000);
    }
}

TEST_CASE("who waits longest is served first, for items and for room") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue(2);
        auto gets = co_await getters(queue, 4);
        for (int i = 0; i < 4; ++i) co_await queue.put(i);
        for (int i = 0; i < 4; ++i) {
            const int got = co_await gets[static_cast<std::size_t>(i)];
            CHECK(got == i);
        }
        auto puts = co_await putters(queue, 0, 5);
        CHECK(queue.waiting() == 3);
        for (int i = 0; i < 5; ++i) {
            const int got = co_await queue.get();
            CHECK(got == i);
        }
        for (auto& put : puts) CHECK(put.done());
    });
}

TEST_CASE("what is promised to one that waited is not to be had by others, who come after it") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue(2);
        auto gets = co_await getters(queue, 1);
        queue.put_nowait(1);
        CHECK(queue.qsize() == 1);
        CHECK(queue.empty());
        CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
        queue.put_nowait(2);
        CHECK_FALSE(queue.empty());
        const int later = co_await queue.get();
        CHECK(later == 2);
        CHECK(gets[0].done());

        auto puts = co_await putters(queue, 10, 3);
        CHECK(queue.get_nowait() == 10);
        CHECK(queue.qsize() == 1);
        CHECK(queue.full());
        CHECK_THROWS_AS(queue.put_nowait(0), QueueFull);
        CHECK(queue.get_nowait() == 11);
        CHECK(queue.full() == false);
        co_await queue.put(20);
        CHECK(puts[2].done());
        CHECK(drain(queue) == std::vector<int>{12, 20});
    });
}

TEST_CASE("a queue hands a cancelled getter's item to the next getter") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        auto gets = co_await getters(queue, 3);
        queue.put_nowait(1);
        gets[0].cancel();
        queue.put_nowait(2);
        const std::string first = co_await ending(gets[0]);
        CHECK(first == "cancelled");
        co_await aio::gather(gets[1], gets[2]);
        CHECK(gets[1].result() == 1);
        CHECK(gets[2].result() == 2);
    });
}

TEST_CASE("an item put for a getter that is cancelled stays in its place in the order") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        auto gets = co_await getters(queue, 2);
        for (int i = 1; i <= 3; ++i) queue.put_nowait(i);
        CHECK(queue.get_nowait() == 1);
        gets[0].cancel();
        gets[1].cancel();
        co_await aio::sleep(0s);
        CHECK(gets[0].cancelled());
        CHECK(gets[1].cancelled());
        CHECK(queue.qsize() == 2);
        CHECK(drain(queue) == std::vector<int>{2, 3});
    });
}

TEST_CASE("getters that are cancelled while they wait take nothing with them") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        auto gets = co_await getters(queue, 1000);
        for (std::size_t i = 0; i < gets.size(); ++i)
            if (i != 500) gets[i].cancel();
        CHECK(queue.waiting() == 1);
        co_await queue.put(7);
        const int got = co_await gets[500];
        CHECK(got == 7);
        co_await queue.put(8);
        CHECK(queue.get_nowait() == 8);
    });
}

TEST_CASE("a put that is cancelled is not in, and the next one is let in") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue(1);
        queue.put_nowait(0);
        auto waiting = co_await putters(queue, 1, 2);
        waiting[0].cancel();
        co_await aio::sleep(0s);
        CHECK(queue.get_nowait() == 0);
        co_await aio::sleep(0s);
        CHECK(waiting[0].cancelled());
        CHECK(waiting[1].done());
        CHECK(drain(queue) == std::vector<int>{2});
    });
}

TEST_CASE("a put that is cancelled after it was let in is not in, and lets one other in") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue(1);
        queue.put_nowait(0);
        auto waiting = co_await putters(queue, 1, 3);
        CHECK(queue.get_nowait() == 0);
        waiting[0].cancel();
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        CHECK(waiting[0].cancelled());
        CHECK(waiting[1].done());
        CHECK_FALSE(waiting[2].done());
        CHECK(queue.waiting() == 1);
        CHECK(queue.get_nowait() == 2);
        co_await waiting[2];
        CHECK(drain(queue) == std::vector<int>{3});
    });
}

TEST_CASE("put and get can be limited in time, gathered, and made tasks") {
    run_virtual([]() -> Coroutine<void> {
        Queue<std::string> queue(1);
        CHECK_FALSE(queue.full());
        co_await aio::gather(queue.put("first, and longer than it can hold in itself"), queue.put("second"),
                             queue.get());
        auto late = aio::create_task(queue.put("third"));
        bool full = false;
        try {
            co_await aio::wait_for(queue.put("fourth"), 1s);
        } catch (const plait::TimeoutError&) {
            full = true;
        }
        CHECK(full);
        const std::string second = co_await aio::wait_for(queue.get(), 1s);
        CHECK(second == "second");
        co_await late;
        const std::string third = co_await queue.get();
        CHECK(third == "third");
        bool empty = false;
        try {
            co_await aio::wait_for(queue.get(), 1s);
        } catch (const plait::TimeoutError&) {
            empty = true;
        }
        CHECK(empty);
        CHECK(queue.waiting() == 0);
    });
}

TEST_CASE("join waits until everything that was put is done") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        co_await queue.join();
        for (int i = 0; i < 3; ++i) queue.put_nowait(i);
        auto join = aio::create_task(queue.join());
        auto other = aio::create_task(queue.join());
        auto cancelled = aio::create_task(queue.join());
        co_await aio::sleep(0s);
        CHECK(queue.waiting() == 3);
        cancelled.cancel();
        CHECK(drain(queue).size() == 3);
        queue.task_done();
        queue.put_nowait(3);
        queue.task_done();
        queue.task_done();
        co_await aio::sleep(1s);
        CHECK_FALSE(join.done());
        queue.task_done();
        CHECK(queue.waiting() == 0);
        queue.put_nowait(4);  // too late to hold up those who were woken
        co_await join;
        co_await other;
        CHECK(cancelled.cancelled());
    });
}

TEST_CASE("task_done more often than there were items is a usage error") {
    Queue<int> queue;
    CHECK_THROWS_AS(queue.task_done(), UsageError);
    queue.put_nowait(1);
    queue.task_done();
    CHECK_THROWS_WITH(queue.task_done(),
                      "task_done for more items than were put: call it once for each item that get gave");
    CHECK(queue.get_nowait() == 1);
}

TEST_CASE("an item whose move throws is not put, and is not lost to who gets it") {
    struct Fragile {
        explicit Fragile(int v) : value{v} {}
        Fragile(Fragile&& other) : value{other.value} {
            if (fails() && --fails() == 0) throw std::runtime_error("a move failed");
        }
        static int& fails() {
            static int moves_until_failure = 0;
            return moves_until_failure;
        }
        int value;
    };
    run_virtual([]() -> Coroutine<void> {
        Queue<Fragile> queue(1);
        Fragile::fails() = 1;
        CHECK_THROWS_WITH(queue.put_nowait(Fragile{1}), "a move failed");
        CHECK(queue.qsize() == 0);
        queue.put_nowait(Fragile{2});
        Fragile::fails() = 1;
        CHECK_THROWS_WITH(queue.get_nowait(), "a move failed");
        CHECK(queue.qsize() == 1);
        // The one move that takes it out is the last: a second one that failed would lose it.
        Fragile::fails() = 2;
        CHECK(queue.get_nowait().value == 2);
        CHECK(Fragile::fails() == 1);
        Fragile::fails() = 0;
        queue.task_done();
        queue.put_nowait(Fragile{2});

        // Of two that wait to put, and two that wait to get, the first one fails and the second is served.
        auto put = aio::create_task(queue.put(Fragile{3}));
        auto next_put = aio::create_task(queue.put(Fragile{4}));
        co_await aio::sleep(0s);
        CHECK(queue.get_nowait().value == 2);
        Fragile::fails() = 1;
        const std::string not_put = co_await ending(put);
        CHECK(not_put == "a move failed");
        co_await next_put;
        CHECK(queue.get_nowait().value == 4);
        const auto get = [](Queue<Fragile>& from) -> Coroutine<int> {
            const Fragile got = co_await from.get();
            co_return got.value;
        };
        auto first = aio::create_task(get(queue));
        auto second = aio::create_task(get(queue));
        co_await aio::sleep(0s);
        queue.put_nowait(Fragile{5});
        Fragile::fails() = 1;
        const std::string not_got = co_await ending(first);
        CHECK(not_got == "a move failed");
        const int got = co_await second;
        CHECK(got == 5);
        for (int i = 0; i < 3; ++i) queue.task_done();
        CHECK_THROWS_AS(queue.task_done(), UsageError);
    });
}

TEST_CASE("tasks of another loop cannot wait where others wait") {
    Queue<int> queue;
    aio::EventLoop loop{{.manual_clock = true}};
    auto get = loop.create_task(queue.get());
    loop.stop();
    loop.run_forever();
    CHECK_THROWS_AS(run_virtual([&]() -> Coroutine<int> { co_return co_await queue.get(); }), UsageError);
    CHECK_THROWS_AS(run_virtual([&]() -> Coroutine<void> {
                        queue.put_nowait(1);
                        co_await queue.join();
                    }),
                    UsageError);
    CHECK(loop.run_until_complete(get) == 1);
    auto join = loop.create_task(queue.join());
    loop.stop();
    loop.run_forever();
    CHECK_THROWS_AS(run_virtual([&]() -> Coroutine<int> { co_return co_await queue.get(); }), UsageError);
    queue.task_done();
    loop.run_until_complete(join);
    CHECK_THROWS_AS(run_virtual([&]() -> Coroutine<void> { co_await aio::wait_for(queue.get(), 1s); }),
                    plait::TimeoutError);
}

TEST_CASE("a queue that is destroyed tells those who wait") {
    run_virtual([]() -> Coroutine<void> {
        std::optional<Queue<int>> queue{std::in_place, 1};
        auto get = aio::create_task(queue->get());
        auto other = aio::create_task(queue->get());
        co_await aio::sleep(0s);
        queue->put_nowait(1);
        queue.reset();
        const std::string promised = co_await ending(get);
        CHECK_THAT(promised, Catch::Contains("was destroyed"));
        const std::string waiting = co_await ending(other);
        CHECK_THAT(waiting, Catch::Contains("was destroyed"));
    });
}

TEST_CASE("a loop that closes destroys waiters and their queue in any order") {
    for (const bool queue_first : {true, false}) {
        support::ErrorLog errors;
        aio::EventLoop loop{{.manual_clock = true}};
        errors.watch(loop);
        std::optional<Queue<int>> queue{std::in_place, 1};
        const auto owner = [&]() -> Coroutine<void> {
            struct Reset {
                explicit Reset(std::optional<Queue<int>>& owned) : target{owned} {}
                Reset(const Reset&) = delete;
                Reset& operator=(const Reset&) = delete;
                ~Reset() { target.reset(); }
                std::optional<Queue<int>>& target;
            } const reset{queue};
            co_await aio::sleep(1h);
        };
        std::vector<aio::AnyTask> tasks;
        if (queue_first) tasks.emplace_back(loop.create_task(owner()));
        for (int i = 0; i < 3; ++i) tasks.emplace_back(loop.create_task(queue->get()));
        if (!queue_first) tasks.emplace_back(loop.create_task(owner()));
        loop.stop();
        loop.run_forever();
        queue->put_nowait(1);  // the first is promised an item, and the others still wait
        tasks.emplace_back(loop.create_task(queue->join()));
        loop.close();
        CHECK_FALSE(queue);
        CHECK(errors.messages.size() == 5);
    }
}
