// SPDX-License-Identifier: MIT
#include <plait/threading/queue.hpp>

#include "support/catch.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using plait::threading::Queue;

TEST_CASE("a queue gives its items in the order in which they came") {
    Queue<int> queue;
    int next = 0;
    for (int i = 0; i < 2000; ++i) {
        queue.put(3 * i);
        queue.put(3 * i + 1);
        queue.put(3 * i + 2);
        REQUIRE(queue.get() == next++);
    }
    while (!queue.empty()) REQUIRE(queue.get() == next++);
    CHECK(next == 6000);
}

TEST_CASE("the items of each thread come in its order, each once, also to several who get") {
    constexpr std::size_t putters = 2;
    constexpr std::size_t each = 50'000;
    Queue<std::size_t> queue{static_cast<std::ptrdiff_t>(GENERATE(0U, 5U, 300U))};
    std::vector<std::thread> threads;
    std::atomic<bool> in_order{true};
    std::atomic<std::size_t> sum{0};
    std::vector<std::thread> getters;
    for (int i = 0; i < 2; ++i)
        getters.emplace_back([&] {
            std::array<std::size_t, putters> next{};
            for (const std::size_t item : queue) {
                std::size_t& least = next[item % putters];
                if (item < least) in_order = false;
                least = item + 1;
                sum += item;
            }
        });
    for (std::size_t putter = 0; putter < putters; ++putter)
        threads.emplace_back([&, putter] {
            for (std::size_t i = 0; i < each; ++i) queue.put(i * putters + putter);
        });
    for (auto& thread : threads) thread.join();
    queue.shutdown();
    for (auto& thread : getters) thread.join();
    CHECK(in_order);
    CHECK(sum == putters * each * (putters * each - 1) / 2);
}

TEST_CASE("what was written before put is seen after get") {
    Queue<int*> queue;
    int value = 0;
    std::thread writer{[&] {
        value = 42;
        queue.put(&value);
    }};
    CHECK(*queue.get() == 42);
    writer.join();
}

TEST_CASE("an item is made in the queue of whatever converts to it, and moved out") {
    struct Pinned {
        Pinned(int v) : value{std::make_unique<int>(v)} {}
        std::unique_ptr<int> value;
    };
    Queue<Pinned> queue;
    queue.put(7);
    queue.put_nowait({8});
    CHECK(*queue.get().value == 7);
    CHECK(*queue.get().value == 8);

    Queue<std::string> words;
    const std::string word = "word";
    words.put(word);
    words.put("literal");
    words.put({"sentence", 4});
    CHECK(words.get() == word);
    CHECK(words.get() == "literal");
    CHECK(words.get() == "sent");
}

TEST_CASE("an item may be larger than a cache line, and aligned to one") {
    struct alignas(64) Large {
        std::array<int, 300> values{};
    };
    Queue<Large> queue;
    for (int i = 0; i < 20; ++i) {
        Large large;
        large.values[299] = i;
        queue.put(large);
    }
    for (int i = 0; i < 20; ++i) REQUIRE(queue.get().values[299] == i);
}
