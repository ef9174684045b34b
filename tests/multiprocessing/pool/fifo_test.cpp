// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/fifo.hpp>

#include "support/catch.hpp"

#include <memory>
#include <type_traits>
#include <vector>

using plait::multiprocessing::detail::Fifo;

namespace {

std::vector<int> contents(const Fifo<int>& fifo) { return {fifo.begin(), fifo.end()}; }

}  // namespace

TEST_CASE("a fifo gives its items in the order in which they came") {
    Fifo<int> fifo;
    int next = 0;
    int expected = 0;
    for (int round = 0; round < 200; ++round) {
        for (int i = 0; i < round % 7; ++i) fifo.push_back(next++);
        for (int i = 0; i < round % 5 && !fifo.empty(); ++i) REQUIRE(fifo.pop_front() == expected++);
        REQUIRE(fifo.size() == static_cast<std::size_t>(next - expected));
    }
    while (!fifo.empty()) REQUIRE(fifo.pop_front() == expected++);
    CHECK(expected == next);
}

TEST_CASE("a fifo can be taken from at its back, and looked through") {
    Fifo<int> fifo;
    for (int i = 0; i < 5; ++i) fifo.push_back(i);
    CHECK(fifo.pop_front() == 0);
    fifo.pop_back();
    CHECK(contents(fifo) == std::vector{1, 2, 3});
    CHECK(fifo[1] == 2);
    CHECK(fifo.front() == 1);
    CHECK(fifo.back() == 3);
    fifo.erase_if([](int item) { return item == 2; });
    CHECK(contents(fifo) == std::vector{1, 3});
    fifo.pop_back();
    fifo.pop_back();
    CHECK(fifo.empty());
    fifo.push_back(7);
    fifo.clear();
    CHECK(contents(fifo).empty());
}

TEST_CASE("what a fifo gave it keeps no part of, and it moves without allocating") {
    Fifo<std::shared_ptr<int>> fifo;
    const auto item = std::make_shared<int>(1);
    fifo.push_back(item);
    fifo.push_back(item);
    static_cast<void>(fifo.pop_front());
    CHECK(item.use_count() == 2);
    static_assert(std::is_nothrow_move_constructible_v<Fifo<std::shared_ptr<int>>>);
    static_assert(std::is_nothrow_move_assignable_v<Fifo<std::shared_ptr<int>>>);
}
