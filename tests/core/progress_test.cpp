// SPDX-License-Identifier: MIT
#include <plait/core/progress.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <memory>
#include <utility>

using plait::Progress;

TEST_CASE("an empty Progress is nobody") {
    const Progress nobody;
    CHECK_FALSE(nobody);
    struct Options {
        Progress progress = {};
    };
    CHECK_FALSE(Options{}.progress);
}

TEST_CASE("a Progress calls what it was made from, a function, a lambda, one that only moves; and copies share it") {
    static std::size_t seen = 0;
    const Progress function = +[](std::size_t done, std::size_t total) { seen = 100 * done + total; };
    function(1, 2);
    CHECK(seen == 102);

    Progress counting = [calls = std::make_unique<int>(0)](std::size_t done, std::size_t) {
        seen = done + static_cast<std::size_t>(++*calls);
    };
    const Progress copy = counting;
    counting(10, 20);
    CHECK(seen == 11);
    copy(10, 20);
    CHECK(seen == 12);
    const Progress moved = std::move(counting);
    CHECK(moved);
    CHECK_FALSE(counting);
}
