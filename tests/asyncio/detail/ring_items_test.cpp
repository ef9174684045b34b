// SPDX-License-Identifier: MIT
#include <plait/asyncio/detail/ring_items.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <deque>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <utility>

using plait::asyncio::detail::RingItems;

TEST_CASE("a ring of items is a queue, however it grows and shrinks") {
    RingItems<std::unique_ptr<int>> ring;
    std::deque<int> model;
    std::minstd_rand random;
    int next = 0;
    for (int phase = 0; phase < 200; ++phase) {
        const bool grows = random() % 2 == 0;
        for (std::size_t steps = random() % 100; steps > 0; --steps) {
            if (random() % 4 != (grows ? 0U : 1U) && grows) {
                ring.put(std::make_unique<int>(next));
                model.push_back(next++);
            } else if (!model.empty()) {
                REQUIRE(*ring.take() == model.front());
                model.pop_front();
            }
        }
    }
    CHECK(next > 1000);
}

TEST_CASE("a ring never moves what is in it but to give it out, and a move that throws leaves it there") {
    struct Counted {
        explicit Counted(int& moves) : count{&moves} {}
        Counted(Counted&& other) : count{other.count} {
            if (++*count == 51) throw std::runtime_error("the 51st move");
        }
        int* count;
    };
    int moves = 0;
    RingItems<Counted> ring;
    for (int i = 0; i < 50; ++i) ring.put(moves);
    CHECK(moves == 0);
    for (int i = 0; i < 49; ++i) static_cast<void>(ring.take());
    CHECK(moves == 49);
    moves = 50;
    CHECK_THROWS_WITH(ring.take(), "the 51st move");
    CHECK(ring.take().count == &moves);
}

TEST_CASE("a ring that is moved from is empty and can be used") {
    RingItems<int> ring;
    for (int i = 0; i < 40; ++i) ring.put(i);
    RingItems<int> other{std::move(ring)};
    ring.put(100);  // NOLINT(bugprone-use-after-move)
    CHECK(ring.take() == 100);
    for (int i = 0; i < 40; ++i) CHECK(other.take() == i);
    other = RingItems<int>{};
    other.put(1);
    CHECK(other.take() == 1);
}
