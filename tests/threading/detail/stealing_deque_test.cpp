// SPDX-License-Identifier: MIT
#include <plait/threading/detail/stealing_deque.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <numeric>
#include <thread>
#include <vector>

// Every order of small programs, and what of the memory orders it needs: tests/models/stealing_deque_test.cpp.

using plait::threading::detail::StealingDeque;

TEST_CASE("the owner of a deque takes the newest, a thief the oldest") {
    std::array<int, 4> items{};
    StealingDeque<int> deque;
    CHECK(deque.empty());
    for (int& item : items) deque.put(&item);
    CHECK(deque.end() == 4);
    CHECK(deque.take(0) == &items[3]);
    CHECK(deque.steal() == &items[0]);
    CHECK(deque.steal() == &items[1]);
    CHECK_FALSE(deque.empty());
    CHECK(deque.take(0) == &items[2]);
    CHECK(deque.empty());
    CHECK(deque.take(0) == nullptr);
    CHECK(deque.steal() == nullptr);
}

TEST_CASE("nothing is taken or stolen from below a floor") {
    std::array<int, 3> items{};
    StealingDeque<int> deque;
    for (int& item : items) deque.put(&item);
    CHECK_FALSE(deque.seems_to_have(1));
    CHECK(deque.steal(1) == nullptr);
    CHECK(deque.take(2) == &items[2]);
    CHECK(deque.take(2) == nullptr);
    CHECK(deque.take(3) == nullptr);
    CHECK(deque.steal() == &items[0]);
    CHECK(deque.seems_to_have(1));
    CHECK(deque.steal(1) == &items[1]);
    CHECK(deque.empty());
}

TEST_CASE("a deque keeps its order while it grows and its slots are used again") {
    std::array<int, 100> items{};
    StealingDeque<int> deque{2};
    std::size_t put = 0;
    std::size_t stolen = 0;
    // Two in, one out.
    while (put < items.size()) {
        deque.put(&items[put++]);
        deque.put(&items[put++]);
        REQUIRE(deque.steal() == &items[stolen++]);
    }
    while (stolen < items.size()) REQUIRE(deque.steal() == &items[stolen++]);
    CHECK(deque.empty());
}

namespace {

std::size_t atomics_made = 0;

/// Tells when a deque grows: then it makes slots.
struct CountedAtomics {
    template <class T>
    struct Atomic : std::atomic<T> {
        Atomic() { ++atomics_made; }
        using std::atomic<T>::atomic;
    };
};

}  // namespace

TEST_CASE("what room was made for is put without growing") {
    std::array<int, 33> items{};
    StealingDeque<int, CountedAtomics> deque{2};
    deque.put(&items[0]);
    CHECK(deque.make_room(32));
    const std::size_t made_before = atomics_made;
    for (std::size_t i = 1; i < items.size(); ++i) deque.put(&items[i]);
    CHECK(atomics_made == made_before);
    for (int& item : items) CHECK(deque.steal() == &item);
}

TEST_CASE("each item of a busy deque is got once") {
    constexpr std::size_t count = 20'000;
    constexpr std::size_t thieves = 3;
    std::vector<int> items(count);  // how often each was got, by whoever got it
    StealingDeque<int> deque{2};
    std::atomic<std::size_t> got{0};
    const auto take = [&](int* item) {
        if (item == nullptr) return false;
        ++*item;
        got.fetch_add(1, std::memory_order_relaxed);
        return true;
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < thieves; ++i)
        threads.emplace_back([&] {
            while (got.load(std::memory_order_relaxed) < count)
                if (!take(deque.steal())) std::this_thread::yield();
        });
    for (std::size_t put = 0; put < count;) {
        for (std::size_t i = put % 7 + 1; i > 0 && put < count; --i) deque.put(&items[put++]);
        for (std::size_t i = put % 5; i > 0; --i) take(deque.take(0));
    }
    while (got.load(std::memory_order_relaxed) < count)
        if (!take(deque.take(0))) std::this_thread::yield();
    for (std::thread& thread : threads) thread.join();
    CHECK(std::accumulate(items.begin(), items.end(), 0) == static_cast<int>(count));
    CHECK(std::all_of(items.begin(), items.end(), [](int times) { return times == 1; }));
    CHECK(deque.empty());
}
