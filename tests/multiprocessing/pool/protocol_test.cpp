// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/protocol.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <memory>

using plait::multiprocessing::detail::Mark;
using plait::multiprocessing::detail::Slot;

TEST_CASE("a mark says how many of a lot have begun") {
    Mark mark;
    mark.reset();
    CHECK(mark.begun_of(0, 10) == 0);
    CHECK(mark.begin(0));
    CHECK(mark.begun_of(0, 10) == 1);
    CHECK(mark.begun_of(1, 9) == 0);
    CHECK(mark.begin(1));
    CHECK(mark.begin(2));
    CHECK(mark.begun_of(0, 10) == 3);
    CHECK(mark.begun_of(2, 8) == 1);
    CHECK(mark.begun_of(0, 2) == 0);  // a lot before that
    CHECK(mark.begin(1000));
    CHECK(mark.begun_of(1000, 1) == 1);
    CHECK(mark.begun_of(0, 10) == 0);
}

TEST_CASE("nothing begins once a mark is stopped, and it still says what had") {
    Mark mark;
    mark.reset();
    CHECK(mark.begin(4));
    mark.stop();
    CHECK_FALSE(mark.begin(5));
    CHECK(mark.begun_of(4, 2) == 1);
    mark.reset();
    CHECK(mark.begin(5));
}

TEST_CASE("a mark can be stopped at a task, unless the worker is past it") {
    Mark mark;
    mark.reset();
    CHECK_FALSE(mark.stop_at(0));
    CHECK(mark.begin(0));
    CHECK(mark.begin(1));
    CHECK_FALSE(mark.stop_at(0));
    CHECK(mark.begin(2));
    CHECK(mark.stop_at(2));
    CHECK_FALSE(mark.begin(3));
    CHECK(mark.begun_of(0, 3) == 3);
}

TEST_CASE("a mark tells when its task began") {
    Mark mark;
    mark.reset();
    const auto before = std::chrono::steady_clock::now().time_since_epoch().count();
    CHECK(mark.begin(0));
    CHECK(mark.begun_at >= before);
    CHECK(mark.begun_at <= std::chrono::steady_clock::now().time_since_epoch().count());
}

TEST_CASE("the memory of two workers shares no cache line") {
    CHECK(alignof(Slot) >= 64);
    CHECK(sizeof(Slot) % 64 == 0);
}
