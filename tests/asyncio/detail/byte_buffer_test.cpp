// SPDX-License-Identifier: MIT
#include <plait/asyncio/detail/byte_buffer.hpp>

#include "support/catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

using plait::asyncio::detail::ByteBuffer;

TEST_CASE("a byte buffer gives what was put in, in its order, in pieces of any size") {
    ByteBuffer buffer;
    CHECK(buffer.empty());
    std::string put;
    std::string taken;
    for (std::size_t i = 0; i < 2'000; ++i) {
        const std::string piece(i * 7 % 23, static_cast<char>('a' + i % 26));
        buffer.append(piece);
        put += piece;
        taken += buffer.take(i * 5 % 19);
        REQUIRE(buffer.size() == put.size() - taken.size());
        REQUIRE(buffer.view() == put.substr(taken.size()));
    }
    taken += buffer.take(SIZE_MAX);
    CHECK(taken == put);
    CHECK(buffer.empty());
}

TEST_CASE("a byte buffer that is taken whole is moved, not copied") {
    ByteBuffer buffer;
    buffer.append(std::string(1'000, 'x'));
    const char* const place = buffer.view().data();
    const std::string taken = buffer.take(1'000);
    CHECK(taken.data() == place);
    CHECK(buffer.empty());
    buffer.append("again");
    CHECK(buffer.take(9) == "again");
}

TEST_CASE("a byte buffer is read into memory, and dropped") {
    ByteBuffer buffer;
    buffer.append("0123456789");
    std::array<char, 4> room{};
    CHECK(buffer.take_into(room.data(), room.size()) == 4);
    CHECK(std::string(room.data(), room.size()) == "0123");
    buffer.drop(2);
    CHECK(buffer.view() == "6789");
    CHECK(buffer.take_into(room.data(), room.size()) == 4);
    CHECK(buffer.take_into(room.data(), room.size()) == 0);
    buffer.append("ab");
    buffer.drop(2);
    CHECK(buffer.empty());
    CHECK(buffer.size() == 0);
    buffer.append("abc");
    buffer.clear();
    CHECK(buffer.empty());
}
