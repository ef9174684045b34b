// SPDX-License-Identifier: MIT
#include <plait/threading/detail/vector_items.hpp>

#include "support/catch.hpp"

#include <stdexcept>
#include <vector>

using plait::threading::detail::Turnstile;
using plait::threading::detail::VectorItems;

namespace {

struct Pile {
    void put(int item) { items.push_back(item); }
    int take() {
        if (items.empty()) throw std::out_of_range("empty");
        const int item = items.back();
        items.pop_back();
        return item;
    }
    std::vector<int> items;
};

}  // namespace

TEST_CASE("who takes from items in one container gives the putting turnstile back, also when that throws") {
    VectorItems<Pile> items;
    Pile put;
    VectorItems<Pile>::TakeEnd take;
    Turnstile putting;
    items.put(put, 1);
    items.put(put, 2);
    CHECK(items.take(putting, put, take) == 2);
    CHECK(items.take(putting, put, take) == 1);
    CHECK_THROWS_AS(items.take(putting, put, take), std::out_of_range);
    CHECK(putting.acquire().count == 0);
    putting.advance();
    CHECK(putting.read().count == 1);
}

TEST_CASE("what is detached from a container leaves that empty") {
    VectorItems<Pile> items;
    Pile put;
    VectorItems<Pile>::TakeEnd take;
    items.put(put, 1);
    const Pile detached = items.detach(put, take);
    CHECK(detached.items.size() == 1);
    CHECK(put.items.empty());
    items.discard(detached, 1);
}
