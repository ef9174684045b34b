// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/detail/queue_end.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <cstring>

using plait::multiprocessing::detail::QueueEnd;

TEST_CASE("a queue's end counts what passes, and knows the next place") {
    QueueEnd<int> end;
    end.begin_at(5);
    CHECK(end.place() == 5);
    CHECK(end.count() == 0);
    end.pass(6);
    CHECK(end.place() == 6);
    end.pass(7);
    CHECK(end.place() == 7);
    CHECK(end.count() == 2);
    end.pass(8, 4);
    CHECK(end.place() == 8);
    CHECK(end.count() == 6);
    end.pass(9, 3);
    CHECK(end.place() == 9);
    CHECK(end.count() == 9);
}

TEST_CASE("a passage touches nothing that is in force before its last store") {
    // Every state in memory between the steps of a passage is either the one before or the one after.
    QueueEnd<std::uint64_t> end;
    end.begin_at(1);
    end.pass(2);
    QueueEnd<std::uint64_t> after;
    std::memcpy(static_cast<void*>(&after), &end, sizeof end);
    after.pass(3);
    unsigned char before_bytes[sizeof end];
    unsigned char after_bytes[sizeof end];
    std::memcpy(before_bytes, &end, sizeof end);
    std::memcpy(after_bytes, &after, sizeof end);
    // All that differs but the last eight bytes, the word: as a death in between would leave it.
    QueueEnd<std::uint64_t> between;
    std::memcpy(static_cast<void*>(&between), after_bytes, sizeof end - sizeof(std::uint64_t));
    std::memcpy(reinterpret_cast<unsigned char*>(&between) + sizeof end - sizeof(std::uint64_t),
                before_bytes + sizeof end - sizeof(std::uint64_t), sizeof(std::uint64_t));
    CHECK(between.count() == 1);
    CHECK(between.place() == 2);
    between.pass(4);
    CHECK(between.place() == 4);
    CHECK(between.count() == 2);
}
