// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/ring.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using plait::multiprocessing::detail::Ring;
using plait::multiprocessing::detail::RingReader;
using plait::multiprocessing::detail::RingWriter;

namespace {

using Small = Ring<64>;

std::vector<std::byte> pattern(std::size_t size, unsigned first = 0) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(first + i);
    return bytes;
}

std::vector<std::byte> take(RingReader<Small>& reader, std::size_t count) {
    std::vector<std::byte> bytes(count);
    reader.take(bytes);
    reader.free();
    return bytes;
}

}  // namespace

TEST_CASE("a ring gives the bytes in order, over its end too") {
    const auto ring = std::make_unique<Small>();
    RingWriter<Small> writer{*ring};
    RingReader<Small> reader{*ring};
    for (unsigned round = 0; round < 50; ++round) {
        const std::size_t size = 1 + round % 64;
        REQUIRE(writer.takes(size));
        writer.put(pattern(size, round));
        writer.publish();
        REQUIRE(reader.available() == size);
        REQUIRE(take(reader, size) == pattern(size, round));
    }
}

TEST_CASE("a ring takes as much as there is room, which the reader gives back") {
    const auto ring = std::make_unique<Small>();
    RingWriter<Small> writer{*ring};
    RingReader<Small> reader{*ring};
    CHECK(writer.room() == 64);
    CHECK(writer.takes(64));
    CHECK_FALSE(writer.takes(65));
    writer.put(pattern(60));
    CHECK_FALSE(writer.takes(5));
    writer.publish();
    std::vector<std::byte> bytes(10);
    reader.take(bytes);
    CHECK_FALSE(writer.takes(5));
    reader.free();
    CHECK(writer.takes(14));
    CHECK_FALSE(writer.takes(15));
}

TEST_CASE("what was put into a ring is seen once it is published, and not before") {
    const auto ring = std::make_unique<Small>();
    RingWriter<Small> writer{*ring};
    const RingReader<Small> reader{*ring};
    writer.put(pattern(3));
    CHECK(reader.available() == 0);
    writer.publish();
    CHECK(reader.available() == 3);
    writer.put(pattern(2));
    writer.publish_and_look();
    CHECK(reader.available() == 5);
}

TEST_CASE("numbers that somebody wrote over give no room and more than there can be") {
    for (const std::uint64_t garbage : {std::uint64_t{1} << 63, std::uint64_t{1000}}) {
        const auto ring = std::make_unique<Small>();
        RingWriter<Small> writer{*ring};
        RingReader<Small> reader{*ring};
        writer.put(pattern(10));
        writer.publish();
        ring->read.store(garbage);
        CHECK(writer.room() == 0);
        CHECK_FALSE(writer.takes(60));
        ring->written.store(garbage);
        CHECK(reader.available() > Small::capacity);
    }
    // Back to the beginning, behind where the reader is.
    const auto ring = std::make_unique<Small>();
    RingWriter<Small> writer{*ring};
    RingReader<Small> reader{*ring};
    writer.put(pattern(10));
    writer.publish();
    static_cast<void>(take(reader, 10));
    ring->written.store(0);
    CHECK(reader.available() > Small::capacity);
}

TEST_CASE("a million bytes in pieces of any size go through a small ring, from one thread to another") {
    const auto ring = std::make_unique<Small>();
    constexpr std::size_t total = 1'000'000;
    std::thread sender{[&] {
        RingWriter<Small> writer{*ring};
        std::minstd_rand random{1};
        for (std::size_t sent = 0; sent < total;) {
            const std::size_t wanted = (std::min)(total - sent, std::size_t{1} + random() % 64);
            const std::size_t size = (std::min)(wanted, writer.room());
            if (size == 0) std::this_thread::yield();
            writer.put(pattern(size, static_cast<unsigned>(sent)));
            writer.publish();
            sent += size;
        }
    }};
    RingReader<Small> reader{*ring};
    bool equal = true;
    for (std::size_t received = 0; received < total;) {
        const auto size = static_cast<std::size_t>(reader.available());
        if (size == 0) std::this_thread::yield();
        equal = equal && take(reader, size) == pattern(size, static_cast<unsigned>(received));
        received += size;
    }
    sender.join();
    CHECK(equal);
}
