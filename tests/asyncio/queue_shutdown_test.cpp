// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/queue.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::QueueShutDown;
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
    } catch (const QueueShutDown&) {
        co_return "shut down";
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a queue that is shut down gives what is in it, and takes nothing more") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        queue.put_nowait(1);
        queue.put_nowait(2);
        CHECK_FALSE(queue.is_shutdown());
        queue.shutdown();
        CHECK(queue.is_shutdown());
        CHECK_THROWS_WITH(queue.put_nowait(3),
                          "put into a queue that was shut down: put before shutdown(), or make another queue");
        auto put = aio::create_task(queue.put(3));
        const std::string refused = co_await ending(put);
        CHECK(refused == "shut down");
        CHECK(queue.get_nowait() == 1);
        const int last = co_await queue.get();
        CHECK(last == 2);
        CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
        auto get = aio::create_task(queue.get());
        const std::string ended = co_await ending(get);
        CHECK(ended == "shut down");
        queue.task_done();
        auto join = aio::create_task(queue.join());
        co_await aio::sleep(1s);
        CHECK_FALSE(join.done());
        queue.task_done();
        co_await join;
    });
}

TEST_CASE("a shutdown wakes those who wait to get and to put") {
    for (const bool immediate : {false, true}) {
        run_virtual([=]() -> Coroutine<void> {
            Queue<int> empty;
            std::vector<Task<int>> gets;
            for (int i = 0; i < 3; ++i) gets.push_back(aio::create_task(empty.get()));
            Queue<int> full(1);
            full.put_nowait(1);
            std::vector<Task<void>> puts;
            for (int i = 0; i < 3; ++i) puts.push_back(aio::create_task(full.put(i)));
            co_await aio::sleep(0s);
            empty.shutdown(immediate);
            full.shutdown(immediate);
            CHECK(empty.waiting() + full.waiting() == 0);
            for (auto& get : gets) {
                const std::string end = co_await ending(get);
                CHECK(end == "shut down");
            }
            for (auto& put : puts) {
                const std::string end = co_await ending(put);
                CHECK(end == "shut down");
            }
            CHECK(full.qsize() == (immediate ? 0U : 1U));
        });
    }
}

TEST_CASE("an immediate shutdown drops what is in the queue, and those who join go on") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        for (int i = 0; i < 3; ++i) queue.put_nowait(i);
        auto join = aio::create_task(queue.join());
        co_await aio::sleep(0s);
        queue.shutdown(true);
        CHECK(queue.qsize() == 0);
        co_await join;
        CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
        CHECK_THROWS_AS(queue.task_done(), plait::UsageError);
    });
}

TEST_CASE("after an immediate shutdown join waits for what was taken and is not done") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        for (int i = 0; i < 3; ++i) queue.put_nowait(i);
        const int taken = queue.get_nowait();
        CHECK(taken == 0);
        queue.shutdown(true);
        auto join = aio::create_task(queue.join());
        co_await aio::sleep(1s);
        CHECK_FALSE(join.done());
        queue.task_done();
        co_await join;
        CHECK_THROWS_AS(queue.task_done(), plait::UsageError);
    });
}

TEST_CASE("a second shutdown may be immediate, and cannot take that back") {
    Queue<int> queue;
    queue.put_nowait(1);
    queue.shutdown();
    queue.shutdown();
    CHECK(queue.qsize() == 1);
    queue.shutdown(true);
    CHECK(queue.qsize() == 0);
    queue.shutdown(false);
    CHECK(queue.is_shutdown());
    CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
    CHECK_THROWS_AS(queue.put_nowait(1), QueueShutDown);
}

TEST_CASE("an immediate shutdown counts no item as done twice") {
    Queue<int> queue;
    for (int i = 0; i < 3; ++i) queue.put_nowait(i);
    queue.task_done();  // of an item that is still in the queue
    queue.shutdown(true);
    CHECK_THROWS_AS(queue.task_done(), plait::UsageError);
}

TEST_CASE("who was promised an item gets it after a shutdown, but not after an immediate one") {
    for (const bool immediate : {false, true}) {
        run_virtual([=]() -> Coroutine<void> {
            Queue<int> queue;
            auto get = aio::create_task(queue.get());
            co_await aio::sleep(0s);
            queue.put_nowait(1);
            queue.shutdown(immediate);
            const std::string end = co_await ending(get);
            CHECK(end == (immediate ? "shut down" : "value"));
        });
    }
}

TEST_CASE("who was promised room puts nothing after a shutdown") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue(1);
        queue.put_nowait(1);
        auto put = aio::create_task(queue.put(2));
        co_await aio::sleep(0s);
        CHECK(queue.get_nowait() == 1);
        queue.shutdown();
        const std::string end = co_await ending(put);
        CHECK(end == "shut down");
        CHECK(queue.qsize() == 0);
        queue.task_done();
        co_await queue.join();
    });
}

TEST_CASE("an item that is promised at the shutdown, and left, goes to another who waits") {
    for (const bool leaves : {true, false}) {
        run_virtual([=]() -> Coroutine<void> {
            Queue<int> queue;
            auto first = aio::create_task(queue.get());
            auto second = aio::create_task(queue.get());
            co_await aio::sleep(0s);
            queue.put_nowait(1);
            queue.shutdown();
            auto third = aio::create_task(queue.get());
            if (leaves) first.cancel();
            const std::string of_first = co_await ending(first);
            CHECK(of_first == (leaves ? "cancelled" : "value"));
            const std::string of_second = co_await ending(second);
            CHECK(of_second == (leaves ? "value" : "shut down"));
            const std::string of_third = co_await ending(third);
            CHECK(of_third == "shut down");
            CHECK(queue.qsize() == 0);
        });
    }
}

TEST_CASE("an item that an immediate shutdown drops may use the queue in its destructor") {
    struct Item {
        explicit Item(Queue<Item>& home) : queue{&home} {}
        Item(Item&& other) noexcept : queue{std::exchange(other.queue, nullptr)} {}
        ~Item() {
            if (queue == nullptr) return;
            if (queue->is_shutdown() && queue->qsize() == 0) queue->shutdown(true);
        }
        Queue<Item>* queue;
    };
    Queue<Item> queue;
    for (int i = 0; i < 20; ++i) queue.put_nowait(Item{queue});
    queue.shutdown(true);
    CHECK(queue.qsize() == 0);
}
