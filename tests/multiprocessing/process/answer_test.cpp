// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process/answer.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"

#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/os/channel.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

using plait::multiprocessing::Encoder;
using plait::multiprocessing::detail::Answer;
using plait::multiprocessing::detail::AnswerHead;
namespace os = plait::os;

namespace {

template <class T>
std::vector<std::byte> answer_of(const T& value) {
    Encoder out;
    out.write(value);
    const AnswerHead head{.size = out.size()};
    const auto begin = std::as_bytes(std::span{&head, 1});
    std::vector<std::byte> bytes(begin.begin(), begin.end());
    bytes.insert(bytes.end(), out.bytes().begin(), out.bytes().end());
    return bytes;
}

}  // namespace

TEST_CASE("an answer is whole when its last byte has come, however it comes") {
    const auto channel = os::make_channel();
    const auto bytes = answer_of(std::string("value"));
    Answer answer;
    for (const std::byte& each : bytes) {
        answer.read(channel.first);
        CHECK_FALSE(answer.is_complete());
        REQUIRE(os::send_all(channel.second, {&each, 1}));
    }
    answer.read(channel.first);
    REQUIRE(answer.is_complete());
    CHECK_FALSE(answer.is_closed());
    CHECK(answer.value().read<std::string>() == "value");
}

TEST_CASE("an answer whose sender goes before its end is closed and not whole") {
    auto channel = os::make_channel();
    const auto bytes = answer_of(std::string("value"));
    REQUIRE(os::send_all(channel.second, std::span{bytes}.first(bytes.size() - 1)));
    channel.second.reset();
    Answer answer;
    answer.read(channel.first);
    CHECK(answer.is_closed());
    CHECK_FALSE(answer.is_complete());
    CHECK(answer.begun().size() == bytes.size() - 1);
}

TEST_CASE("an answer of nothing is whole with its head, and what follows is not read") {
    const auto channel = os::make_channel();
    const AnswerHead head;
    REQUIRE(os::send_all(channel.second, std::as_bytes(std::span{&head, 1})));
    REQUIRE(os::send_all(channel.second, std::as_bytes(std::span{&head, 1})));
    Answer answer;
    answer.read(channel.first);
    CHECK(answer.is_complete());
    CHECK(answer.begun().size() == sizeof head);
}

TEST_CASE("an answer that announces more than there is memory takes no more than came") {
    const auto channel = os::make_channel();
    const AnswerHead head{.size = ~std::uint64_t{0}};
    REQUIRE(os::send_all(channel.second, std::as_bytes(std::span{&head, 1})));
    Answer answer;
    answer.read(channel.first);
    CHECK_FALSE(answer.is_complete());
    CHECK_FALSE(answer.is_foreign());
    CHECK(answer.begun().size() == sizeof head);
}

TEST_CASE("bytes that begin otherwise are no answer, and are left unread") {
    const auto channel = os::make_channel();
    const std::vector<std::byte> bytes(sizeof(AnswerHead) + 5, std::byte{1});
    REQUIRE(os::send_all(channel.second, bytes));
    Answer answer;
    answer.read(channel.first);
    CHECK(answer.is_foreign());
    CHECK_FALSE(answer.is_complete());
    CHECK(answer.begun().size() == sizeof(AnswerHead));
}

TEST_CASE("an answer that is an exception throws it, and one that is neither is a CodecError") {
    const auto channel = os::make_channel();
    Encoder out;
    plait::multiprocessing::detail::write_exception(out, std::make_exception_ptr(std::length_error("too long")));
    for (const std::size_t size : {out.size(), out.size() / 2}) {
        const AnswerHead head{.kind = AnswerHead::Kind::exception, .size = size};
        REQUIRE(os::send_all(channel.second, std::as_bytes(std::span{&head, 1})));
        REQUIRE(os::send_all(channel.second, out.bytes().first(size)));
        Answer answer;
        answer.read(channel.first);
        REQUIRE(answer.is_complete());
        if (size == out.size())
            CHECK(support::caught<std::length_error>([&] { static_cast<void>(answer.value()); }));
        else
            CHECK(support::caught<plait::CodecError>([&] { static_cast<void>(answer.value()); }));
    }
}
