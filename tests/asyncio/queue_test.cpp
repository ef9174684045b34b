// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/queue.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::Queue;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

TEST_CASE("an async queue gives its items in the order in which they came") {
    run_virtual([]() -> Coroutine<void> {
        Queue<int> queue;
        int next = 0;
        bool in_order = true;
        for (int i = 0; i < 2000; ++i) {
            for (int k = 0; k < 3; ++k) co_await queue.put(3 * i + k);
            const int item = co_await queue.get();
            in_order = in_order && item == next++;
        }
        while (!queue.empty()) in_order = queue.get_nowait() == next++ && in_order;
        CHECK(in_order);
        CHECK(next == 6000);
    });
}

TEST_CASE("an async queue takes what can only be moved, and makes items of what converts to them") {
    run_virtual([]() -> Coroutine<void> {
        Queue<std::unique_ptr<int>> owners;
        co_await owners.put(std::make_unique<int>(1));
        auto named = std::make_unique<int>(2);
        co_await owners.put(std::move(named));
        owners.put_nowait(std::make_unique<int>(3));
        int sum = 0;
        for (int i = 0; i < 3; ++i) {
            const auto owner = co_await owners.get();
            sum = 10 * sum + *owner;
        }
        CHECK(sum == 123);

        Queue<std::string> words;
        const std::string word = "a word that is longer than a string can hold in itself";
        co_await words.put(word);
        co_await words.put("a literal, converted, and longer than it can hold in itself");
        words.put_nowait({word.data(), 6});
        const std::string first = co_await words.get();
        CHECK(first == word);
        const std::string second = co_await words.get();
        CHECK(second.size() == 59);
        CHECK(words.get_nowait() == "a word");
    });
}

TEST_CASE("an item is gone from an async queue once it was taken, and goes with the queue if it was not") {
    const auto item = std::make_shared<int>(1);
    {
        Queue<std::shared_ptr<int>> queue;
        for (int i = 0; i < 100; ++i) queue.put_nowait(item);
        CHECK(item.use_count() == 101);
        for (int i = 0; i < 40; ++i) CHECK(queue.get_nowait() == item);
        CHECK(item.use_count() == 61);
    }
    CHECK(item.use_count() == 1);
}

TEST_CASE("producers and consumers meet in an async queue, each item comes once, and join ends") {
    for (const std::ptrdiff_t maxsize : {0, 1, 7}) {
        run_virtual([=]() -> Coroutine<void> {
            constexpr std::size_t each = 1000;
            Queue<std::size_t> queue(maxsize);
            std::vector<int> seen(3 * each);
            std::vector<Task<void>> consumers;
            for (int i = 0; i < 3; ++i)
                consumers.push_back(aio::create_task([&]() -> Coroutine<void> {
                    for (;;) {
                        const std::size_t item = co_await queue.get();
                        ++seen[item];
                        if (item % 5 == 0) co_await aio::sleep(1ms);
                        queue.task_done();
                    }
                }));
            std::vector<Task<void>> producers;
            for (std::size_t i = 0; i < 3; ++i)
                producers.push_back(aio::create_task([&, i]() -> Coroutine<void> {
                    for (std::size_t k = 0; k < each; ++k) {
                        co_await queue.put(i * each + k);
                        if (k % 7 == 0) co_await aio::sleep(1ms);
                    }
                }));
            co_await aio::gather(producers);
            co_await queue.join();
            CHECK(seen == std::vector<int>(3 * each, 1));
            queue.shutdown();
            for (auto& consumer : consumers) {
                bool ended = false;
                try {
                    co_await consumer;
                } catch (const plait::QueueShutDown&) {
                    ended = true;
                }
                CHECK(ended);
            }
        });
    }
}

TEST_CASE(
    "whoever is cancelled, in whatever order, no item is lost or comes twice, and nobody waits for what is there") {
    for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
        const auto run = [=]() -> Coroutine<void> {
            std::minstd_rand random{static_cast<unsigned>(seed)};
            const auto draw = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
            Queue<std::size_t> queue(static_cast<std::ptrdiff_t>(draw(3)));
            std::vector<int> balance(40);  // of each item: put and not got
            const auto producer = [&](std::size_t item) -> Coroutine<void> {
                co_await queue.put(item);
                ++balance[item];
            };
            const auto consumer = [&]() -> Coroutine<void> {
                const std::size_t item = co_await queue.get();
                --balance[item];
            };
            std::vector<Task<void>> tasks;
            for (std::size_t item = 0; item < balance.size(); ++item) {
                tasks.push_back(aio::create_task(producer(item)));
                tasks.push_back(aio::create_task(consumer()));
                for (unsigned passes = draw(3); passes > 0; --passes) co_await aio::sleep(0s);
                if (draw(2) == 0) tasks[draw(static_cast<unsigned>(tasks.size()))].cancel();
            }
            co_await aio::sleep(1s);
            // All is at rest: those who wait to get find nothing, those who wait to put no room, and so not both wait.
            std::size_t waiting = 0;
            for (const auto& task : tasks) waiting += task.done() ? 0U : 1U;
            REQUIRE(queue.waiting() == waiting);
            if (waiting != 0) REQUIRE((queue.empty() || queue.full()));
            for (auto& task : tasks) task.cancel();
            co_await aio::sleep(1s);
            for (const auto& task : tasks) REQUIRE(task.done());
            while (!queue.empty()) --balance[queue.get_nowait()];
            REQUIRE(balance == std::vector<int>(balance.size()));
        };
        INFO("seed " << seed);
        run_virtual(run, seed);
    }
}
