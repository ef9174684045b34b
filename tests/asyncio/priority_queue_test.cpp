// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/priority_queue.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::PriorityQueue;
using support::run_virtual;
namespace aio = plait::asyncio;

TEST_CASE("an async priority queue gives the least item first, and equal ones as they came") {
    run_virtual([]() -> Coroutine<void> {
        struct Job {
            int priority;
            char name;
            bool operator<(const Job& other) const { return priority < other.priority; }
        };
        PriorityQueue<Job> jobs;
        int priority = 0;
        for (const char name : std::string("abcdef")) co_await jobs.put(Job{priority++ % 2, name});
        std::string order;
        while (!jobs.empty()) {
            const Job job = co_await jobs.get();
            order += job.name;
        }
        CHECK(order == "acebdf");

        PriorityQueue<std::pair<int, std::string>, std::greater<>> greatest;
        co_await greatest.put({1, "one"});
        co_await greatest.put({2, "two"});
        const auto first = co_await greatest.get();
        CHECK(first.second == "two");
    });
}

TEST_CASE("who waits at an async priority queue gets what is least at its turn") {
    run_virtual([]() -> Coroutine<void> {
        PriorityQueue<int> queue(3);
        auto get = aio::create_task(queue.get());
        co_await aio::sleep(0s);
        for (const int item : {3, 1, 2}) queue.put_nowait(item);
        const int got = co_await get;
        CHECK(got == 1);
        CHECK(queue.get_nowait() == 2);
    });
}

TEST_CASE("a comparison that throws leaves an async priority queue as it was, and whoever waits is served") {
    struct Item {
        int value;
        bool operator<(const Item& other) const {
            if (value < 0 || other.value < 0) throw std::runtime_error("cannot compare");
            return value < other.value;
        }
    };
    PriorityQueue<Item> queue;
    queue.put_nowait({2});
    CHECK_THROWS_WITH(queue.put_nowait({-1}), "cannot compare");
    CHECK(queue.qsize() == 1);
    queue.put_nowait({1});
    CHECK(queue.get_nowait().value == 1);
    CHECK(queue.get_nowait().value == 2);
    CHECK(queue.empty());
}
