// SPDX-License-Identifier: MIT
#include <plait/threading/detail/stealing_deque.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <array>
#include <cstddef>

using plait::threading::detail::StealingDeque;
using support::Race;

TEST_CASE("an item that the owner and two thieves are after goes to one of them") {
    StealingDeque<int> deque{2};
    std::array<int, 3> items{};  // how often each was got
    std::array<std::array<int, 3>, 3> got{};
    const auto take = [&](std::size_t thread, const int* item) {
        if (item != nullptr) ++got[thread][static_cast<std::size_t>(item - items.data())];
    };
    const auto steal = [&](std::size_t thread) {
        for (int i = 0; i < 3; ++i) take(thread, deque.steal());
    };
    Race race{"deque: take against two that steal", 30'000};
    const auto failure = race.run(
        [&] {
            while (const int* const item = deque.take(0)) take(0, item);
            bool fine = true;
            for (std::size_t i = 0; i < items.size(); ++i) fine = fine && got[0][i] + got[1][i] + got[2][i] == 1;
            got = {};
            return fine && deque.empty();
        },
        [&] {
            deque.put(&items[0]);
            take(0, deque.take(0));
            deque.put(&items[1]);
            deque.put(&items[2]);
            take(0, deque.take(0));
            take(0, deque.take(0));
        },
        [&] { steal(1); }, [&] { steal(2); });
    CHECK(failure == "");
}
