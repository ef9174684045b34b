// SPDX-License-Identifier: MIT
#include <plait/core/imap_turns.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::detail::Deadline;
using plait::detail::ImapTurns;
using plait::detail::Order;

TEST_CASE("turns in the items' order wait for the item, whatever came before it") {
    ImapTurns turns(Order::of_items, 2);
    CHECK_FALSE(turns.has_come());
    turns.announce(1);
    CHECK_FALSE(turns.has_come());
    CHECK_FALSE(turns.wait(Deadline{1ms}));
    turns.announce(0);
    CHECK(turns.has_come());
    CHECK(turns.wait(Deadline{0s}));
    CHECK(turns.take() == 0);
    CHECK(turns.take() == 1);
}

TEST_CASE("turns in the order of completion give the items as they came") {
    ImapTurns turns(Order::of_completion, 3);
    turns.announce(2);
    turns.announce(0);
    CHECK(turns.take() == 2);
    CHECK(turns.take() == 0);
    CHECK_FALSE(turns.has_come());
    turns.announce(1);
    CHECK(turns.take() == 1);
}

TEST_CASE("who announces a result is told whether the reader waits for it") {
    ImapTurns turns(Order::of_items, 3);
    CHECK(turns.announce_reader());
    CHECK_FALSE(turns.announce(1));
    CHECK(turns.announce(0));
    CHECK_FALSE(turns.announce_reader());
    CHECK(turns.take() == 0);
    CHECK(turns.take() == 1);
    CHECK_FALSE(turns.announce(2));
    CHECK_FALSE(turns.announce_reader());
}

TEST_CASE("a reader that sleeps is woken for its turn, told of by several threads, round after round") {
    constexpr std::size_t count = 16;
    for (int round = 0; round < 200; ++round) {
        for (const Order order : {Order::of_items, Order::of_completion}) {
            ImapTurns turns(order, count);
            const auto tell = [&](std::size_t first) {
                for (std::size_t item = first; item < count; item += 2) turns.announce(item);
            };
            std::thread odd{tell, std::size_t{1}};
            std::thread even{tell, std::size_t{0}};
            std::vector<bool> seen(count);
            for (std::size_t turn = 0; turn < count; ++turn) {
                REQUIRE(turns.wait(Deadline{30s}));
                const std::size_t item = turns.take();
                REQUIRE_FALSE(seen[item]);
                seen[item] = true;
                if (order == Order::of_items) REQUIRE(item == turn);
            }
            odd.join();
            even.join();
        }
    }
}
