// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/protocol.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

using plait::multiprocessing::detail::Mark;
using plait::multiprocessing::detail::Reply;
using plait::multiprocessing::detail::Slot;

namespace {

struct FreshMark : Mark {
    FreshMark() : Mark{} { begun.store(none); }
    bool begins(std::uint64_t task, bool first = true, std::uint64_t seen = 0) {
        return begin(task, first, seen, false) == Begin::begun;
    }
};

}  // namespace

TEST_CASE("a mark says how many of a lot have begun") {
    FreshMark mark;
    CHECK(mark.begun_of(0, 100) == 0);
    CHECK(mark.begins(10));
    CHECK(mark.begun_of(10, 5) == 1);
    CHECK(mark.begins(11, false));
    CHECK(mark.begun_of(10, 5) == 2);
    CHECK(mark.begun_of(11, 5) == 1);
    CHECK(mark.begun_of(12, 5) == 0);
    CHECK(mark.begun_of(0, 10) == 0);
    CHECK(mark.begun_of(0, 12) == 12);
    CHECK(mark.begins(3));  // another lot: a task that had waited longer
    CHECK(mark.begun_of(10, 5) == 0);
    CHECK(mark.begun_of(3, 1) == 1);
}

TEST_CASE("nothing begins once a mark is stopped, and it still says what had") {
    FreshMark mark;
    CHECK(mark.begins(4));
    mark.stop();
    CHECK(mark.begin(5, true, 0, false) == Mark::Begin::stopped);
    CHECK(mark.begin(5, false, 0, false) == Mark::Begin::stopped);
    CHECK(mark.begun_of(4, 2) == 1);
}

TEST_CASE("a mark can be stopped at a task, unless the worker is past it") {
    FreshMark mark;
    CHECK(mark.begins(4));
    CHECK_FALSE(mark.stop_at(3));
    CHECK_FALSE(mark.stop_at(5));
    CHECK(mark.begins(5, false));
    static_cast<void>(mark.recall());
    CHECK(mark.stop_at(5));
    CHECK(mark.begin(6, false, 0, false) == Mark::Begin::stopped);
    CHECK(mark.begun_of(4, 3) == 2);
}

TEST_CASE(
    "what is recalled does not begin, the lot that runs goes on, and later lots begin when the worker has seen it") {
    FreshMark mark;
    CHECK(mark.begins(4));
    CHECK(Mark::begun_of(mark.recall(), 4, 2) == 1);
    CHECK(mark.begins(5, false));
    CHECK(mark.begin(6, true, 0, false) == Mark::Begin::recalled);
    CHECK(mark.begun_of(4, 2) == 2);
    static_cast<void>(mark.recall());
    const std::uint64_t one = Mark::after(0);
    CHECK(mark.begin(7, true, one, false) == Mark::Begin::recalled);
    CHECK(mark.begins(8, true, Mark::after(one)));
}

TEST_CASE("the recalls of a mark go round") {
    FreshMark mark;
    std::uint64_t seen = 0;
    for (int i = 0; i < 100'000; ++i) {
        static_cast<void>(mark.recall());
        REQUIRE_FALSE(mark.begins(1, true, seen));
        seen = Mark::after(seen);
        REQUIRE(mark.begins(1, true, seen));
    }
    CHECK(mark.begun_of(1, 1) == 1);
}

TEST_CASE("a mark tells when its task began, where somebody wants to know") {
    FreshMark mark;
    CHECK(mark.begins(1));
    CHECK(mark.begun_at.load() == 0);
    const auto before = std::chrono::steady_clock::now().time_since_epoch();
    CHECK(mark.begin(2, true, 0, true) == Mark::Begin::begun);
    const std::chrono::nanoseconds at{mark.begun_at.load()};
    CHECK(before <= at);
    CHECK(at <= std::chrono::steady_clock::now().time_since_epoch());
}

TEST_CASE("a reply's kind, task and size go through one word") {
    for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, Reply::largest})
        for (const auto kind :
             {Reply::Kind::ready, Reply::Kind::initializer_failed, Reply::Kind::value, Reply::Kind::exception})
            for (const std::uint16_t task : {std::uint16_t{0}, (std::numeric_limits<std::uint16_t>::max)()}) {
                const Reply back = Reply::unpack(Reply{kind, task, size}.packed());
                CHECK(back.kind == kind);
                CHECK(back.task == task);
                CHECK(back.size == size);
            }
}

TEST_CASE("what a worker writes and what the program writes share no cache line") {
    static_assert(offsetof(Slot, worker_waits) % 64 == 0);
    static_assert(offsetof(Slot, listener) % 64 == 0);
    static_assert(offsetof(Slot, requests) % 64 == 0);
    static_assert(offsetof(Slot, replies) % 64 == 0);
    SUCCEED();
}
