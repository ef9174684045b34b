// SPDX-License-Identifier: MIT
#include <plait/threading/lifo_queue.hpp>

#include "support/catch.hpp"

#include <memory>

using plait::threading::LifoQueue;

TEST_CASE("a LIFO queue gives the newest item first") {
    LifoQueue<int> pile;
    for (int i = 0; i < 100; ++i) pile.put(i);
    for (int i = 99; i >= 50; --i) REQUIRE(pile.get() == i);
    pile.put(7);
    CHECK(pile.get() == 7);
    CHECK(pile.get() == 49);
}

TEST_CASE("a LIFO queue takes what can only be moved") {
    LifoQueue<std::unique_ptr<int>> pile;
    pile.put(std::make_unique<int>(1));
    pile.put(std::make_unique<int>(2));
    CHECK(*pile.get() == 2);
    CHECK(*pile.get() == 1);
}
