// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/progress_bar/line.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

using namespace std::chrono_literals;
using namespace plait::multiprocessing::detail;

namespace {

const Advance parsing{"parsing", 420, 1000, 12s};

}  // namespace

TEST_CASE("a bar's line says how much, how long, how long still, and how fast") {
    CHECK(bar_line(parsing, 80, false) ==
          "parsing:  42%|#############                    | 420/1000 [00:12<00:16, 35.0/s]");
    CHECK(bar_line(parsing, 80, true) ==
          "parsing:  42%|█████████████▊                   | 420/1000 [00:12<00:16, 35.0/s]");
    CHECK(bar_line({.done = 1, .total = 2, .elapsed = 5s}, 60, false) ==
          " 50%|###########            | 1/2 [00:05<00:05, 5.0 s each]");
}

TEST_CASE("a bar is as wide as the terminal, but for the last column, and loses what matters least") {
    for (std::size_t width = 49; width < 300; ++width) {
        CHECK(columns_of(bar_line(parsing, width, true)) == width - 1);
        CHECK(columns_of(bar_line(parsing, width, false)) == width - 1);
    }
    CHECK(bar_line(parsing, 40, false) == "parsing:  42%|######         | 420/1000");
    CHECK(bar_line(parsing, 24, false) == "parsing:  42% 420/1000");
    CHECK(bar_line(parsing, 20, false) == " 42% 420/1000");
    CHECK(bar_line(parsing, 6, false) == " 42%");
    CHECK(bar_line(parsing, 3, false) == " 4");
    CHECK(bar_line(parsing, 1, false).empty());
    CHECK(bar_line(parsing, 0, false).empty());
    for (std::size_t width = 1; width < 60; ++width) CHECK(columns_of(bar_line(parsing, width, true)) < width);
}

TEST_CASE("a bar of nothing, at its start, and at its end") {
    CHECK(bar_line({"none", 0, 0, 0s}, 60, false) == "none: 100%|########################| 0/0 [00:00<00:00, ?/s]");
    CHECK(bar_line({"start", 0, 9, 2s}, 60, false) == "start:   0%|                           | 0/9 [00:02<?, ?/s]");
    CHECK(bar_line({"end", 9, 9, 3s}, 60, false) == "end: 100%|#######################| 9/9 [00:03<00:00, 3.0/s]");
    CHECK(bar_line({"more", 10, 9, 0s}, 30, false) == "more: 100%|############| 10/9");
    const Advance nearly{"", SIZE_MAX - 1, SIZE_MAX, 1s};
    CHECK(bar_line(nearly, 60, false).starts_with("100%|") == (nearly.share() >= 1));
}

TEST_CASE("a label is counted by its characters") {
    CHECK(columns_of("Größe") == 5);
    CHECK(cut_text("Größe", 3) == "Grö");
    CHECK(columns_of(bar_line({"Größe", 1, 2, 1s}, 70, true)) == 69);
}

TEST_CASE("times and numbers are short") {
    CHECK(clock_text(0) == "00:00");
    CHECK(clock_text(59.9) == "00:59");
    CHECK(clock_text(3599) == "59:59");
    CHECK(clock_text(3600) == "1:00:00");
    CHECK(clock_text(360'000) == "100:00:00");
    CHECK(clock_text(1e18) == "?");
    CHECK(clock_text(std::numeric_limits<double>::quiet_NaN()) == "?");
    CHECK(short_number(0) == "0.0");
    CHECK(short_number(99.94) == "99.9");
    CHECK(short_number(99.96) == "100");
    CHECK(short_number(9'999) == "9999");
    CHECK(short_number(9'999.9) == "10.0k");
    CHECK(short_number(3'400'000) == "3400k");
    CHECK(short_number(34'000'000) == "34.0M");
    CHECK(rate_text({"", 10, 20, 4s}) == "2.5/s");
    CHECK(rate_text({"", 10, 20, 40s}) == "4.0 s each");
    CHECK(rate_text({"", 10, 20, 0s}) == "?/s");
}

TEST_CASE("what is left in a file is one sentence") {
    CHECK(summary_line(parsing) == "parsing: 420/1000 in 00:12, 35.0/s");
    CHECK(summary_line({.done = 3, .total = 3, .elapsed = 1s}) == "3/3 in 00:01, 3.0/s");
}
