// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/outbox.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using plait::multiprocessing::detail::Outbox;

namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span{text.data(), text.size()}); }

std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string read_from(Outbox& outbox, std::uint32_t position) {
    std::vector<std::byte> stream;
    const std::size_t count = outbox.read_from(position, stream);
    CHECK(count == stream.size());
    return text(stream);
}

std::unique_ptr<Outbox> empty_outbox() {
    auto outbox = std::make_unique<Outbox>();
    outbox->reset();
    return outbox;
}

}  // namespace

TEST_CASE("an outbox collects messages, and gives them by their place in the stream") {
    const auto outbox = empty_outbox();
    CHECK(outbox->add(bytes("head1"), bytes("body1")));
    CHECK(outbox->add(bytes("head2"), {}));
    CHECK(text(outbox->content()) == "head1body1head2");
    CHECK(read_from(*outbox, 0) == "head1body1head2");
    CHECK(read_from(*outbox, 10) == "head2");
    CHECK(read_from(*outbox, 15).empty());
}

TEST_CASE("what an outbox has written out it gives no more") {
    const auto outbox = empty_outbox();
    CHECK(outbox->add(bytes("first"), {}));
    outbox->written(0);
    CHECK(outbox->content().empty());
    CHECK(read_from(*outbox, 0).empty());
    CHECK(outbox->add(bytes("second"), {}));
    CHECK(read_from(*outbox, 3).empty());  // the channel will bring what lies before
    CHECK(read_from(*outbox, 5) == "second");
    outbox->written(1000);  // it, and a message that went by it
    CHECK(outbox->add(bytes("third"), {}));
    CHECK(read_from(*outbox, 11).empty());
    CHECK(read_from(*outbox, 1011) == "third");
}

TEST_CASE("a message goes into an outbox whole or not at all") {
    const auto outbox = empty_outbox();
    const std::string large(Outbox::capacity - 4, 'x');
    CHECK_FALSE(outbox->add(bytes("head1"), bytes(large)));
    CHECK(outbox->content().empty());
    CHECK(outbox->add(bytes("head"), bytes(large)));
    CHECK_FALSE(outbox->add(bytes("x"), {}));
    CHECK(outbox->content().size() == Outbox::capacity);
}

TEST_CASE("the places of an outbox go round") {
    const auto outbox = empty_outbox();
    outbox->written(0xFFFF'FFFE);
    CHECK(outbox->add(bytes("around"), {}));
    CHECK(read_from(*outbox, 0xFFFF'FFFE) == "around");
    CHECK(read_from(*outbox, 0) == "ound");
    outbox->written(0);
    CHECK(outbox->add(bytes("next"), {}));
    CHECK(read_from(*outbox, 4) == "next");
}

TEST_CASE("an outbox that a task wrote over gives no more than there is memory") {
    const auto outbox = empty_outbox();
    CHECK(outbox->add(bytes("x"), {}));
    std::vector<std::byte> scribble(16, std::byte{0xFF});
    std::memcpy(static_cast<void*>(outbox.get()), scribble.data(), 8);  // the count of what is there
    CHECK(read_from(*outbox, 0).empty());
    CHECK(read_from(*outbox, 0xFFFF'FFFF).empty());
}
