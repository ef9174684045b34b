// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec/bytes.hpp>

#include <plait/multiprocessing/codec.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using plait::CodecError;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;

TEST_CASE("what an encoder writes a decoder reads in the same order") {
    Encoder out;
    out.write(7, std::string("seven"));
    out.write(7.5);
    Decoder in{out.bytes()};
    CHECK(in.read<int>() == 7);
    CHECK(in.read<std::string>() == "seven");
    CHECK(in.remaining() == sizeof(double));
    CHECK(in.read<double>() == 7.5);
    CHECK(in.remaining() == 0);
}

TEST_CASE("writing nothing leaves nothing") {
    Encoder out;
    out.write();
    out.write_bytes({});
    CHECK(out.size() == 0);
    CHECK(out.bytes().empty());
    CHECK(out.take().empty());
    Decoder in{{}};
    CHECK(in.remaining() == 0);
    CHECK(in.read_bytes(0).empty());
    CHECK_THROWS_AS(in.read_bytes(1), CodecError);
}

TEST_CASE("raw bytes travel as they are") {
    const std::vector<std::byte> raw{std::byte{1}, std::byte{2}, std::byte{3}};
    Encoder out;
    out.write_bytes(raw);
    CHECK(out.take() == raw);
    Decoder in{raw};
    CHECK(in.read_bytes(2).data() == raw.data());
    CHECK(in.remaining() == 1);
    CHECK_THROWS_AS(in.read_bytes(2), CodecError);
}

TEST_CASE("an encoder grows through small and large values in any order") {
    Encoder out;
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < 200; ++i) sizes.push_back(i % 7 == 0 ? i * 37 : i % 5);
    for (const std::size_t size : sizes) out.write(static_cast<std::uint16_t>(size), std::string(size, 'x'));
    Decoder in{out.bytes()};
    bool same = true;
    for (const std::size_t size : sizes) {
        same &= in.read<std::uint16_t>() == size;
        same &= in.read<std::string>() == std::string(size, 'x');
    }
    CHECK(same);
    CHECK(in.remaining() == 0);
}

TEST_CASE("a cleared encoder keeps its memory, and one that gave its bytes away is empty") {
    Encoder out;
    out.write(std::string(10'000, 'x'));
    const std::byte* const memory = out.bytes().data();
    out.clear();
    CHECK(out.size() == 0);
    out.write(std::string(9'000, 'y'));
    CHECK(out.bytes().data() == memory);

    const std::vector<std::byte> taken = out.take();
    CHECK(taken.size() == 9'000 + sizeof(std::uint64_t));
    CHECK(out.size() == 0);
    out.write(5);
    CHECK(Decoder{out.bytes()}.read<int>() == 5);

    Encoder again{std::vector<std::byte>(64)};
    again.write(5);
    CHECK(again.size() == sizeof(int));
    CHECK(again.take().size() == sizeof(int));
}

TEST_CASE("a reserved encoder does not move while it fills") {
    Encoder out;
    out.reserve(5'000);
    out.write(1);
    const std::byte* const memory = out.bytes().data();
    for (int i = 0; i < 1'000; ++i) out.write(i);
    CHECK(out.bytes().data() == memory);
}

TEST_CASE("an error names the type, and what was wrong") {
    std::optional<std::string> text;
    try {
        Encoder out;
        out.write(std::uint16_t{1});
        (void)Decoder{out.bytes()}.read<double>();
    } catch (const CodecError& error) {
        text = error.what();
    }
    CHECK(text == "cannot decode double: truncated: 8 bytes wanted, 2 left");
}
