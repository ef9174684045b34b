// SPDX-License-Identifier: MIT
#include <plait/core/queue_items.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

using plait::detail::Less;
using plait::detail::Pile;
using plait::detail::StableHeap;

TEST_CASE("a pile gives the newest item first") {
    Pile<std::unique_ptr<int>> pile;
    for (int i = 0; i < 3; ++i) pile.put(std::make_unique<int>(i));
    for (int i = 2; i >= 0; --i) CHECK(*pile.take() == i);
}

TEST_CASE("a heap gives the least item first, and equal ones in the order in which they came") {
    using Item = std::pair<int, int>;
    struct ByFirst {
        bool operator()(const Item& a, const Item& b) const { return a.first < b.first; }
    };
    StableHeap<Item, ByFirst> heap;
    std::vector<Item> items;
    std::minstd_rand random;
    for (int i = 0; i < 1000; ++i) items.emplace_back(static_cast<int>(random() % 50), i);
    for (const Item& item : items) heap.put(item);
    // By insertion: clang warns of what libstdc++'s std::stable_sort is made of.
    for (auto next = items.begin(); next != items.end(); ++next)
        std::rotate(std::upper_bound(items.begin(), next, *next, ByFirst{}), next, next + 1);
    for (const Item& item : items) REQUIRE(heap.take() == item);
    StableHeap<int, Less> numbers;
    numbers.put(2);
    numbers.put(1);
    CHECK(numbers.take() == 1);
}
