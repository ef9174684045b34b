// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection/reader.hpp>

#include "support/catch.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace plait::multiprocessing::detail;
using plait::CodecError;
using plait::os::Handle;
using Bytes = std::vector<std::byte>;

namespace {

using Kind = MessageHeader::Kind;

Bytes pattern(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
}

Bytes operator+(Bytes a, const Bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

Bytes framed(const Bytes& content, std::size_t handles = 0, Kind kind = Kind::bytes, std::uint64_t type = 0,
             std::string_view name = {}) {
    const std::size_t units = (name.size() + MessageHeader::name_unit - 1) / MessageHeader::name_unit;
    const auto header = MessageHeader::of(kind, content.size(), handles, units, type);
    Bytes bytes(sizeof header + units * MessageHeader::name_unit);
    std::memcpy(bytes.data(), &header, sizeof header);
    if (!name.empty()) std::memcpy(bytes.data() + sizeof header, name.data(), name.size());
    return std::move(bytes) + content;
}

Bytes header_alone(std::uint64_t size, Kind kind = Kind::bytes, std::size_t name_units = 0) {
    const auto header = MessageHeader::of(kind, size, 0, name_units, 0);
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    return bytes;
}

Bytes content_of(const Message& message) {
    if (message.body != nullptr) return message.body->copy(static_cast<std::size_t>(message.header.size()));
    return {message.bytes().begin(), message.bytes().end()};
}

/// Feeds `bytes` in pieces of `piece`; the messages that come of them.
std::vector<Bytes> read_all(MessageReader& reader, std::span<const std::byte> bytes, std::size_t piece) {
    std::vector<Bytes> messages;
    const auto take = [&] {
        Message message;
        while (reader.next(message)) messages.push_back(content_of(message));
    };
    while (!bytes.empty()) {
        bytes = bytes.subspan(reader.feed(bytes.first((std::min)(piece, bytes.size()))));
        take();
    }
    return messages;
}

std::vector<Handle> null_handles(std::size_t count) {
    std::vector<Handle> handles;
    for (std::size_t i = 0; i < count; ++i) handles.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return handles;
}

}  // namespace

TEST_CASE("messages come out as they went in, however their bytes are cut into pieces") {
    std::vector<Bytes> sent;
    Bytes stream;
    for (const std::size_t size : {0UL, 1UL, 511UL, 512UL, 513UL, 4096UL, 65'500UL, 65'520UL, 65'535UL, 65'536UL,
                                   65'537UL, 300'000UL, 0UL, 7UL}) {
        sent.push_back(pattern(size));
        stream = stream + framed(sent.back(), 0, Kind::value, 5, sent.size() == 3 ? "type" : "");
    }
    for (const std::size_t piece : {1UL, 2UL, 15UL, 16UL, 17UL, 1000UL, 65'536UL, 1'000'000UL}) {
        MessageReader reader;
        CHECK((read_all(reader, stream, piece) == sent));
        CHECK_FALSE(reader.in_message());
        CHECK_FALSE(reader.ready());
    }
}

TEST_CASE("every prefix of a message is none yet, and known as one that has begun") {
    const Bytes whole = framed(pattern(100), 0, Kind::value, 9, "a type's name of some length");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        MessageReader reader;
        CHECK(read_all(reader, std::span{whole}.first(size), 1000).empty());
        CHECK(reader.in_message() == (size != 0));
        CHECK(read_all(reader, std::span{whole}.subspan(size), 1000).size() == 1);
    }
}

TEST_CASE("what is no message is an error for ever, and so is one above the limit") {
    Bytes bytes;
    SECTION("no kind") { bytes = header_alone(1, Kind{}); }
    SECTION("another kind") { bytes = header_alone(1, Kind{3}); }
    SECTION("a long name") { bytes = header_alone(1, Kind::value, 16); }
    SECTION("more than the limit") { bytes = header_alone(1001); }
    SECTION("far more") { bytes = header_alone(MessageHeader::most_bytes); }
    SECTION("nothing but ones") { bytes = Bytes(16, std::byte{0xFF}); }
    MessageReader reader;
    reader.set_limit(1000);
    CHECK(reader.feed(bytes) == 16);
    CHECK(reader.ready());
    Message message;
    CHECK_THROWS_AS(reader.next(message), CodecError);
    CHECK_THROWS_AS(reader.next(message), CodecError);
}

TEST_CASE("a message at the limit is taken, and no limit is above what a header can say") {
    MessageReader reader;
    reader.set_limit(100);
    CHECK(read_all(reader, framed(pattern(100)), 7).size() == 1);
    reader.set_limit(~std::uint64_t{0});
    CHECK(reader.limit() == MessageHeader::most_bytes);
}

TEST_CASE("an announced length costs no memory before its bytes come") {
    const auto resident = [] {
        FILE* const file = std::fopen("/proc/self/statm", "r");
        long size = 0;
        long pages = 0;
        const int read = std::fscanf(file, "%ld %ld", &size, &pages);
        std::fclose(file);
        return read == 2 ? pages * ::sysconf(_SC_PAGESIZE) : 0;
    };
    std::vector<MessageReader> readers(20);
    const long before = resident();
    for (MessageReader& reader : readers)
        CHECK(read_all(reader, header_alone(1 << 30) + pattern(100'000), 4096).empty());
    CHECK(resident() - before < (plait::detail::address_sanitizer ? 200 : 20) * (1 << 20));
}

TEST_CASE("every bit of a message may be flipped") {
    const Bytes whole = framed(pattern(60), 2, Kind::value, 77, "name");
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        Bytes flipped = whole;
        flipped[bit / 8] ^= std::byte{1} << (bit % 8);
        MessageReader reader;
        std::size_t messages = 0;
        try {
            messages = read_all(reader, flipped + framed(pattern(3)), 4096).size();
        } catch (const CodecError&) {
            messages = 0;
        }
        CHECK(messages <= 3);
    }
}

TEST_CASE("a sender's name for a type is kept, one for each, in print") {
    MessageReader reader;
    CHECK(read_all(reader, framed({}, 0, Kind::value, 1, "first"), 1000).size() == 1);
    CHECK(read_all(reader, framed(pattern(70'000), 0, Kind::value, 2, "\x1B[31m\x80 second"), 1000).size() == 1);
    CHECK(read_all(reader, framed({}, 0, Kind::value, 1, "another"), 1000).size() == 1);
    CHECK(reader.name_of(1) == "first");
    CHECK(reader.name_of(2) == "?[31m? second");
    CHECK(reader.name_of(3).empty());
    for (std::uint64_t type = 10; type < 1000; ++type)
        CHECK(read_all(reader, framed({}, 0, Kind::value, type, "flood"), 1000).size() == 1);
    CHECK(reader.name_of(999).empty());
}

TEST_CASE("handles belong to the message whose first byte they came with") {
    const auto open = support::open_descriptors();
    {
        MessageReader reader;
        const Bytes plain = framed(pattern(5));
        const Bytes carrying = framed(pattern(9), 2);
        // As the system gives them: a plain message before, and the second's last bytes after.
        const Bytes stream = plain + carrying;
        const std::size_t first = plain.size() + 3;
        CHECK(reader.feed(std::span{stream}.first(first), null_handles(2)) == first);
        Message message;
        REQUIRE(reader.next(message));
        CHECK(message.handles.empty());
        CHECK_FALSE(reader.next(message));
        CHECK(reader.feed(std::span{stream}.subspan(first)) == stream.size() - first);
        CHECK(reader.feed(carrying, null_handles(2)) == carrying.size());
        for (int i = 0; i < 2; ++i) {
            REQUIRE(reader.next(message));
            CHECK(message.handles.size() == 2);
            CHECK(message.missing_handles == 0);
        }
    }
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("a message of which fewer or more handles came has none, or lacks some, and the next has its own") {
    MessageReader reader;
    Message message;
    const Bytes carrying = framed(pattern(9), 2);
    SECTION("none") {
        CHECK(reader.feed(carrying) == carrying.size());
        REQUIRE(reader.next(message));
        CHECK(message.missing_handles == 2);
    }
    SECTION("fewer") {
        CHECK(reader.feed(carrying, null_handles(1)) == carrying.size());
        REQUIRE(reader.next(message));
        CHECK(message.missing_handles == 1);
    }
    SECTION("more") {
        CHECK(reader.feed(carrying, null_handles(3)) == carrying.size());
        REQUIRE(reader.next(message));
        CHECK(message.missing_handles == 2);
    }
    SECTION("not with the first byte") {
        CHECK(reader.feed(std::span{carrying}.first(1)) == 1);
        CHECK(reader.feed(std::span{carrying}.subspan(1), null_handles(2)) == carrying.size() - 1);
        REQUIRE(reader.next(message));
        CHECK(message.missing_handles == 2);
    }
    SECTION("for another message") {
        CHECK(reader.feed(framed({}), null_handles(2)) == 16);
        REQUIRE(reader.next(message));
        CHECK(message.handles.empty());
        CHECK(reader.feed(carrying) == carrying.size());
        REQUIRE(reader.next(message));
        CHECK(message.missing_handles == 2);
    }
    CHECK(reader.feed(carrying, null_handles(2)) == carrying.size());
    REQUIRE(reader.next(message));
    CHECK(message.missing_handles == 0);
}

TEST_CASE("handles that nobody announced are closed at once, in the midst of a message too") {
    const auto [size, began] =
        GENERATE(std::pair{1000UL, 100UL}, std::pair{100'000UL, 100UL}, std::pair{100'000UL, 90'000UL});
    const Bytes whole = framed(pattern(size));
    MessageReader reader;
    CHECK(read_all(reader, std::span{whole}.first(began), began).empty());
    const auto open = support::open_descriptors();
    for (std::size_t at = began; at < began + 100; ++at)
        CHECK(reader.feed(std::span{whole}.subspan(at, 1), null_handles(3)) == 1);
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("a reader that does not read ahead has room for no more than the next message") {
    MessageReader reader;
    reader.stop_reading_ahead();
    const Bytes stream = framed(pattern(20), 0, Kind::value, 1, "name") + framed(pattern(70'000)) + framed({});
    std::span<const std::byte> left{stream};
    for (const std::size_t size : {20UL, 70'000UL, 0UL}) {
        Message message;
        CHECK(reader.room().size() == 16);
        while (!reader.next(message)) {
            const auto room = reader.room();
            std::memcpy(room.data(), left.data(), room.size());
            left = left.subspan(room.size());
            reader.came(room.size());
        }
        CHECK(content_of(message) == pattern(size));
    }
    CHECK(left.empty());
}

TEST_CASE("what was read and not given out lets another reader go on") {
    const std::size_t large = GENERATE(10UL, 70'000UL);
    const bool looked = GENERATE(true, false);  // at the header of the message that has begun
    const Bytes first = framed(pattern(40));
    const Bytes third = framed(pattern(5), 1);
    const Bytes stream = first + framed(pattern(large), 2, Kind::value, 3, "name") + third;
    const std::size_t second_begin = first.size();
    const std::size_t third_begin = stream.size() - third.size();
    for (std::size_t cut = 0; cut <= stream.size(); cut += large > 1000 ? 997 : 1) {
        std::size_t at = 0;
        std::vector<std::size_t> handles;
        const auto take = [&](MessageReader& reader) {
            Message message;
            while (reader.next(message)) {
                CHECK(message.missing_handles == 0);
                handles.push_back(message.handles.size());
            }
        };
        // In such pieces as the system gives: one ends where bytes end that handles came with.
        const auto feed = [&](MessageReader& reader, std::size_t limit) {
            const std::size_t end = (std::min)(limit, at < third_begin ? third_begin : stream.size());
            const std::size_t count = at <= second_begin && second_begin < end ? 2 : at == third_begin ? 1 : 0;
            at += reader.feed(std::span{stream}.subspan(at, end - at), null_handles(count));
        };
        MessageReader reader;
        while (at < cut) reader.ready() ? take(reader) : feed(reader, cut);
        if (looked) static_cast<void>(reader.ready());
        MessageReader other;
        reader.visit_rest([&](std::span<const std::byte> bytes, std::span<const Handle> with) {
            std::vector<Handle> copies;
            for (const Handle& each : with) copies.push_back(plait::os::duplicate(each));
            while (!bytes.empty()) bytes = bytes.subspan(other.feed(bytes, std::exchange(copies, {})));
        });
        for (take(other); at < stream.size(); take(other)) feed(other, stream.size());
        CHECK(handles == std::vector<std::size_t>{0, 2, 1});
    }
}

TEST_CASE("a message that is received into somebody's memory goes on without it") {
    Bytes memory(70'000);
    const BodyMaker maker{[](const MessageHeader&, std::span<std::byte> lent) -> std::unique_ptr<MessageBody> {
                              return std::make_unique<BorrowedBody>(lent);
                          },
                          memory};
    const Bytes whole = framed(pattern(70'000));
    MessageReader reader;
    std::size_t at = 0;
    while (at < 66'000) {
        const auto room = reader.room(maker);
        const std::size_t count = (std::min)({room.size(), std::size_t{1000}, whole.size() - at});
        std::memcpy(room.data(), whole.data() + at, count);
        reader.came(count);
        at += count;
    }
    const bool kept = GENERATE(true, false);
    if (kept) {
        reader.keep_body();
        std::fill(memory.begin(), memory.end(), std::byte{});
    }
    at += reader.feed(std::span{whole}.subspan(at));
    Message message;
    REQUIRE(reader.next(message));
    CHECK((message.body != nullptr) == !kept);
    CHECK((content_of(message) == pattern(70'000)));
}
