// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection.hpp>
#include <plait/multiprocessing/pipe.hpp>
#include <plait/multiprocessing/wait.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::CodecError;
using plait::EndOfStream;
using plait::TimeoutError;
using plait::UsageError;
using plait::multiprocessing::BufferTooShort;
using plait::multiprocessing::Connection;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;
using plait::multiprocessing::Pipe;
using plait::multiprocessing::detail::ConnectionAccess;
using plait::multiprocessing::detail::hash_of_type;
using plait::multiprocessing::detail::MessageHeader;
using Bytes = std::vector<std::byte>;

namespace {

Bytes pattern(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
}

struct GridPoint {
    int x = 0;
    int y = 0;
    friend bool operator==(const GridPoint&, const GridPoint&) = default;
};
struct Record {
    std::string name;
    std::vector<double> numbers;
    std::map<std::string, GridPoint> points;
    friend bool operator==(const Record&, const Record&) = default;
};

/// Is sent as two ends that its codec makes.
struct Kept {
    std::optional<Connection> end;
    std::optional<Connection> other;
};

/// Never more than 9.
struct Digit {
    int value = 0;
};

struct Parcel {
    std::string label;
    std::vector<Connection> connections;
};

/// What other processes might write.
void write_raw(Connection& end, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto sent = ::send(end.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) throw std::runtime_error("send");
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
}

template <class T>
Bytes framed_as(const Bytes& content, std::size_t handles = 0) {
    const auto header = MessageHeader::of(MessageHeader::Kind::value, content.size(), handles, 0, hash_of_type<T>);
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), content.begin(), content.end());
    return bytes;
}
Bytes framed_bytes(const Bytes& content) {
    const auto header = MessageHeader::of(MessageHeader::Kind::bytes, content.size(), 0, 0, 0);
    Bytes bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), content.begin(), content.end());
    return bytes;
}

template <class Error, class Function>
std::string text_of(Function function) {
    const auto error = caught<Error>(function);
    return error ? error->what() : "nothing was thrown";
}

std::size_t waiting_in(const Connection& connection) { return ConnectionAccess::endpoint(connection).waiting(); }

/// Whether there is no room for more to be sent.
bool is_full(Connection& end) {
    ::pollfd item{ConnectionAccess::endpoint(end).native(), POLLOUT, 0};
    return ::poll(&item, 1, 0) == 0;
}

/// Whether the thread of that number sleeps in a system call; 0 is none yet.
bool is_asleep(int thread) {
    const auto state = thread != 0 ? process_state(thread) : std::nullopt;
    return state && state->state == 'S';
}

int descriptor_of(const Connection& connection) { return ConnectionAccess::endpoint(connection).native(); }

}  // namespace

template <>
struct plait::multiprocessing::Codec<Kept> {
    static constexpr bool carries_handles = true;
    static void encode(Encoder& out, const Kept&) {
        auto [left, right] = Pipe();
        {
            const Connection end = std::move(left);
            out.write(end);
        }
        const Connection other = std::move(right);
        out.write(other);
    }
    static Kept decode(Decoder& in) {
        Kept kept;
        kept.end = in.read<Connection>();
        kept.other = in.read<Connection>();
        return kept;
    }
};

template <>
struct plait::multiprocessing::Codec<Digit> {
    static void encode(Encoder& out, const Digit& digit) { out.write(digit.value); }
    static Digit decode(Decoder& in) {
        const int value = in.read<int>();
        if (value > 9) throw std::domain_error("no digit");
        return {value};
    }
};

TEST_CASE("values of every kind arrive as they were sent, both ways") {
    auto [left, right] = Pipe();
    const auto round = [&, &a = left, &b = right](const auto& value) {
        using T = std::remove_cvref_t<decltype(value)>;
        a.send(value);
        CHECK((b.recv<T>(30s) == value));
        b.send(T(value));
        CHECK((a.recv<T>() == value));
    };
    round(7);
    round(true);
    round(std::string("seven"));
    round(std::string());
    round(GridPoint{1, 2});
    round(std::vector<GridPoint>{{1, 2}, {3, 4}});
    round(std::vector<bool>{true, false});
    round(std::optional<int>{});
    round(std::variant<int, std::string>{"text"});
    round(std::tuple<int, std::string>{1, "two"});
    round(std::array<long, 1000>{1, 2, 3});
    round(Record{"r", {1.5, 2.5}, {{"p", {1, 2}}}});
    round(std::vector<double>(10'000, 0.5));
    round(std::vector<std::string>(5'000, "many"));
}

TEST_CASE("a literal and a view are received as what owns the like") {
    auto [left, right] = Pipe();
    left.send("literal");
    left.send(std::string_view("view"));
    const char* const pointer = "pointer";
    left.send(pointer);
    const std::array<int, 3> numbers{1, 2, 3};
    left.send(std::span{numbers});
    CHECK(right.recv<std::string>() == "literal");
    CHECK(right.recv<std::string>() == "view");
    CHECK(right.recv<std::string>() == "pointer");
    CHECK(right.recv<std::vector<int>>() == std::vector<int>{1, 2, 3});
}

TEST_CASE("messages of bytes keep their edges, whatever their size") {
    auto [left, right] = Pipe();
    for (const std::size_t size :
         {0UL, 1UL, 1024UL, 1025UL, 65'519UL, 65'520UL, 65'521UL, 65'535UL, 65'536UL, 65'537UL, 16UL << 20}) {
        const Bytes sent = pattern(size);
        std::thread sender{[&, &end = left] {
            end.send_bytes(sent);
            end.send_bytes(sent);
        }};
        const Bytes first = right.recv_bytes(30s);
        Bytes second(size);
        const std::size_t received = right.recv_bytes_into(second, 30s);
        sender.join();
        CHECK((first == sent));
        CHECK(received == size);
        CHECK((second == sent));
    }
}

TEST_CASE("large values keep theirs, received straight into what the user gets or not") {
    auto [left, right] = Pipe();
    for (const std::size_t size : {65'000UL, 65'512UL, 65'513UL, 65'536UL, 1'000'001UL, 16UL << 20}) {
        const std::string text(size, 't');
        const std::vector<std::uint16_t> numbers(size, 7);
        const Record record{text, std::vector<double>(size / 8, 1.0), {}};
        std::thread sender{[&, &end = left] {
            end.send(text);
            end.send(numbers);
            end.send(record);
            end.send(text);
            end.send(1);
        }};
        const bool same_text = right.recv<std::string>(30s) == text;
        const bool same_numbers = right.recv<std::vector<std::uint16_t>>(30s) == numbers;
        const bool same_record = right.recv<Record>(30s) == record;
        // Read by somebody who does not know what it is.
        const bool polled = right.poll(30s);
        const bool same_again = right.recv<std::string>(30s) == text;
        sender.join();
        CHECK(same_text);
        CHECK(same_numbers);
        CHECK(same_record);
        CHECK(polled);
        CHECK(same_again);
        CHECK(right.recv<int>() == 1);
    }
}

TEST_CASE("two small messages are never one") {
    auto [left, right] = Pipe();
    for (int i = 0; i < 200; ++i) left.send(std::string(static_cast<std::size_t>(i % 40), 'x'));
    for (int i = 0; i < 200; ++i)
        REQUIRE(right.recv<std::string>(30s) == std::string(static_cast<std::size_t>(i % 40), 'x'));
    CHECK_FALSE(right.poll());
}

TEST_CASE("one end of a one-way pipe only receives, the other only sends") {
    auto [reader, writer] = Pipe(false);
    CHECK(reader.readable());
    CHECK_FALSE(reader.writable());
    CHECK(writer.writable());
    CHECK_FALSE(writer.readable());
    writer.send(5);
    CHECK(reader.recv<int>() == 5);
    CHECK_THAT(text_of<UsageError>([&, &end = reader] { end.send(1); }), ContainsSubstring("only receives"));
    CHECK_THROWS_AS(reader.send_bytes({}), UsageError);
    CHECK_THAT(text_of<UsageError>([&, &end = writer] { static_cast<void>(end.recv<int>()); }),
               ContainsSubstring("only sends"));
    CHECK_THROWS_AS(writer.recv_bytes(), UsageError);
    CHECK_THROWS_AS(writer.poll(), UsageError);
}

TEST_CASE("a closed connection refuses everything, and is closed as often as one likes") {
    auto [left, right] = Pipe();
    CHECK_FALSE(left.closed());
    left.close();
    left.close();
    CHECK(left.closed());
    CHECK_THAT(text_of<UsageError>([&, &end = left] { end.send(1); }), ContainsSubstring("closed"));
    CHECK_THROWS_AS(left.recv<int>(), UsageError);
    CHECK_THROWS_AS(left.poll(), UsageError);
    CHECK_THROWS_AS(left.recv_bytes(1ms), UsageError);
    CHECK_THROWS_AS(left.native_handle(), UsageError);
    CHECK_THROWS_AS(right.send(std::move(left)), UsageError);
    CHECK_FALSE(right.closed());
    const Connection moved = std::move(right);
    CHECK(right.closed());
    CHECK_THAT(text_of<UsageError>([&, &end = right] { end.send(1); }), ContainsSubstring("moved from"));
    right.close();
}

TEST_CASE("the end of the stream comes after what was sent, again and again") {
    auto [left, right] = Pipe();
    left.send(1);
    left.send_bytes(pattern(3));
    left.close();
    CHECK(right.poll());
    CHECK(right.recv<int>() == 1);
    CHECK(right.recv_bytes() == pattern(3));
    CHECK(right.poll(30s));
    for (int i = 0; i < 2; ++i)
        CHECK_THAT(text_of<EndOfStream>([&, &end = right] { static_cast<void>(end.recv<int>()); }),
                   ContainsSubstring("closed") && !ContainsSubstring("middle"));
}

TEST_CASE("who sends to an end that is gone gets an error that names the call, and no signal") {
    CHECK(in_a_child([] {
              ::signal(SIGPIPE, SIG_DFL);
              auto [left, right] = Pipe();
              left.send(1);  // never received
              right.close();
              for (const std::size_t size : {1UL, 1'000'000UL}) {
                  const auto error = caught<std::system_error>([&, &end = left] { end.send_bytes(pattern(size)); });
                  if (!error || error->code() != std::errc::broken_pipe) return 1;
                  if (std::string_view(error->what()).find("send") == std::string_view::npos) return 2;
              }
              return caught<EndOfStream>([&, &end = left] { static_cast<void>(end.recv<int>()); }) ? 0 : 3;
          }) == 0);
}

TEST_CASE("a message that breaks off at any byte is an end in its middle at once, and before that a timeout") {
    const Bytes whole = framed_as<std::string>(plait::multiprocessing::encode(std::string(200, 's')));
    for (std::size_t size = 1; size < whole.size(); ++size) {
        auto [left, right] = Pipe();
        write_raw(left, std::span{whole}.first(size));
        CHECK_FALSE(right.poll());
        CHECK_THROWS_AS(right.recv<std::string>(0ms), TimeoutError);
        left.close();
        CHECK(right.poll());
        CHECK_THAT(text_of<EndOfStream>([&, &end = right] { static_cast<void>(end.recv<std::string>()); }),
                   ContainsSubstring("in the middle of a message"));
    }
}

TEST_CASE("a slow sender's message is received once it is whole, whoever asked before and how") {
    auto [left, right] = Pipe();
    const std::vector<int> numbers(100'000, 9);
    const Bytes whole = framed_as<std::vector<int>>(plait::multiprocessing::encode(numbers));
    std::size_t at = 0;
    for (int i = 0; at < whole.size(); ++i) {
        const std::size_t count = (std::min)(whole.size() - at, std::size_t{37'777});
        write_raw(left, std::span{whole}.subspan(at, count));
        at += count;
        if (at == whole.size()) break;
        if (i % 4 == 0) CHECK_THROWS_AS(right.recv<std::vector<int>>(0ms), TimeoutError);
        if (i % 4 == 1) CHECK_THROWS_AS(right.recv<std::string>(1ms), TimeoutError);
        if (i % 4 == 2) CHECK_FALSE(right.poll(1ms));
        if (i % 4 == 3) CHECK_THROWS_AS(right.recv_bytes(0ms), TimeoutError);
    }
    CHECK((right.recv<std::vector<int>>(30s) == numbers));
}

TEST_CASE("bytes received into somebody's memory in vain are kept for the next who asks") {
    auto [left, right] = Pipe();
    const Bytes content = pattern(200'000);
    const Bytes whole = framed_bytes(content);
    {
        Bytes memory(300'000);
        write_raw(left, std::span{whole}.first(150'000));
        CHECK_THROWS_AS(right.recv_bytes_into(memory, 1ms), TimeoutError);
    }
    write_raw(left, std::span{whole}.subspan(150'000));
    CHECK((right.recv_bytes(30s) == content));
}

TEST_CASE("a message of another type is an error that names both, and the next one is received") {
    auto [left, right] = Pipe();
    const auto receive_int = [&, &end = right] { static_cast<void>(end.recv<int>()); };
    left.send("text");
    left.send(std::vector<GridPoint>(10'000));
    left.send_bytes(pattern(3));
    left.send(1.5);
    left.send(7);
    CHECK_THAT(text_of<CodecError>(receive_int), ContainsSubstring("int") && ContainsSubstring("string"));
    CHECK_THAT(text_of<CodecError>(receive_int), ContainsSubstring("int") && ContainsSubstring("GridPoint"));
    CHECK_THAT(text_of<CodecError>(receive_int), ContainsSubstring("recv_bytes"));
    CHECK_THAT(text_of<CodecError>([&, &end = right] { static_cast<void>(end.recv_bytes()); }),
               ContainsSubstring("bytes") && ContainsSubstring("double"));
    CHECK(right.recv<int>() == 7);
    write_raw(left, framed_as<Record>({}));
    CHECK_THAT(text_of<CodecError>(receive_int), ContainsSubstring("another type"));
}

TEST_CASE("a message that is no value of its type is an error, and the next one is received") {
    auto [left, right] = Pipe();
    left.send(Digit{10});
    CHECK_THROWS_AS(right.recv<Digit>(), std::domain_error);
    write_raw(left, framed_as<bool>({std::byte{2}}));
    CHECK_THROWS_AS(right.recv<bool>(), CodecError);
    write_raw(left, framed_as<int>(pattern(3)));
    CHECK_THROWS_AS(right.recv<int>(), CodecError);
    write_raw(left, framed_as<int>(pattern(5)));
    CHECK_THROWS_AS(right.recv<int>(), CodecError);
    write_raw(left, framed_as<std::string>(Bytes(8, std::byte{0xFF})));
    CHECK_THROWS_AS(right.recv<std::string>(), CodecError);
    // Large ones, of as many elements as fit and not as many as they say.
    for (const std::size_t size : {100'000UL, 100'001UL}) {
        std::thread writer{[&, &end = left] { write_raw(end, framed_as<std::vector<int>>(Bytes(size))); }};
        CHECK_THROWS_AS(right.recv<std::vector<int>>(30s), CodecError);
        writer.join();
    }
    left.send(7);
    CHECK(right.recv<int>() == 7);
}

TEST_CASE("a message above the limit is not sent, and not received") {
    auto [left, right] = Pipe();
    CHECK(left.max_message_size() == std::uint64_t{1} << 30);
    left.max_message_size(1000);
    CHECK_THAT(text_of<CodecError>([&, &end = left] { end.send_bytes(pattern(1001)); }),
               ContainsSubstring("max_message_size is 1000"));
    CHECK_THROWS_AS(left.send(std::string(1000, 'x')), CodecError);
    left.send_bytes(pattern(1000));
    CHECK(right.recv_bytes().size() == 1000);
    right.max_message_size(999);
    left.send_bytes(pattern(999));
    left.send_bytes(pattern(1000));
    CHECK(right.recv_bytes().size() == 999);
    CHECK(right.poll());
    for (int i = 0; i < 2; ++i)
        CHECK_THAT(text_of<CodecError>([&, &end = right] { static_cast<void>(end.recv_bytes()); }),
                   ContainsSubstring("1000"));
}

TEST_CASE("announced lengths of any size are refused before anything is made for them") {
    for (const std::uint64_t size : {std::uint64_t{1} << 31, std::uint64_t{1} << 32, (std::uint64_t{1} << 40) - 1}) {
        auto [left, right] = Pipe();
        const auto header = MessageHeader::of(MessageHeader::Kind::bytes, size, 0, 0, 0);
        write_raw(left, std::as_bytes(std::span{&header, 1}));
        CHECK_THROWS_AS(right.recv_bytes(30s), CodecError);
    }
    auto [left, right] = Pipe();
    write_raw(left, Bytes(16, std::byte{0xFF}));
    CHECK_THROWS_AS(right.recv_bytes(30s), CodecError);
}

TEST_CASE("too little memory for a message is an error that has the message") {
    auto [left, right] = Pipe();
    const std::size_t size = GENERATE(10UL, 1000UL, 100'000UL);
    Bytes memory(size - 1);
    left.send_bytes(pattern(size));
    left.send_bytes(pattern(2));
    const auto error = caught<BufferTooShort>([&, &end = right] { end.recv_bytes_into(memory); });
    REQUIRE(error);
    CHECK((error->message() == pattern(size)));
    CHECK(right.recv_bytes_into(memory) == 2);
    CHECK(memory[1] == pattern(2)[1]);
}

TEST_CASE("a wait for a message ends in time, and the message comes later") {
    auto [left, right] = Pipe();
    const auto before = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(right.recv<int>(0s), TimeoutError);
    CHECK_THROWS_AS(right.recv<int>(10ms), TimeoutError);
    CHECK_FALSE(right.poll());
    CHECK_FALSE(right.poll(10ms));
    CHECK(std::chrono::steady_clock::now() - before >= 20ms);
    left.send(3);
    CHECK(right.poll(30s));
    CHECK(right.poll());
    CHECK(right.recv<int>(0s) == 3);
}

TEST_CASE("what is there is received without a wait, and what keeps coming does not lengthen one") {
    auto [left, right] = Pipe();
    left.send_bytes(pattern(130'000));
    CHECK(right.recv_bytes(0s).size() == 130'000);
    left.send(std::string(130'000, 'x'));
    CHECK(right.poll());
    CHECK(right.recv<std::string>().size() == 130'000);
    std::thread flood{[&, &end = left] {
        try {
            end.send_bytes(Bytes(std::size_t{512} << 20));
        } catch (const std::system_error&) {
        }
    }};
    const auto before = std::chrono::steady_clock::now();
    const bool timed_out =
        caught<TimeoutError>([&, &end = right] { static_cast<void>(end.recv_bytes(20ms)); }).has_value();
    const auto took = std::chrono::steady_clock::now() - before;
    right.close();
    flood.join();
    CHECK(timed_out);
    CHECK(took < 20s);
}

TEST_CASE("what could not be sent at all in time leaves the connection as it was") {
    auto [left, right] = Pipe();
    int sent = 0;
    while (left.send(sent, 0s)) ++sent;
    CHECK(sent > 100);
    CHECK_FALSE(left.send(0, 5ms));
    for (int i = 0; i < sent; ++i) REQUIRE(right.recv<int>() == i);
    CHECK_FALSE(right.poll());
    CHECK(left.send_bytes(pattern(3), 30s));
    CHECK(right.recv_bytes() == pattern(3));
}

TEST_CASE("a message of which a part was sent in time is the last one") {
    auto [left, right] = Pipe();
    CHECK_THROWS_AS(left.send_bytes(pattern(4 << 20), 5ms), TimeoutError);
    CHECK_THAT(text_of<UsageError>([&, &end = left] { end.send(1); }), ContainsSubstring("cut off"));
    CHECK_THROWS_AS(right.send(std::move(left)), UsageError);
    // The other end learns it at once, though this one is open.
    CHECK_THAT(text_of<EndOfStream>([&, &end = right] { static_cast<void>(end.recv_bytes(30s)); }),
               ContainsSubstring("middle"));
    right.send(2);
    CHECK(left.recv<int>() == 2);
}

TEST_CASE("threads that send at once send whole messages, and those that receive at once receive whole ones") {
    auto [left, right] = Pipe();
    constexpr int rounds = 200;
    std::array<int, 4> wrong{};
    std::array<int, 4> received{};
    std::vector<std::thread> threads;
    for (std::size_t number = 0; number < 4; ++number) {
        threads.emplace_back([&, &end = left, number] {
            for (int i = 0; i < rounds; ++i)
                end.send(std::string(static_cast<std::size_t>(i) * 700, static_cast<char>('a' + number)));
        });
        threads.emplace_back([&, &end = right, number] {
            for (int i = 0; i < rounds; ++i) {
                const auto text = end.recv<std::string>();
                for (const char c : text) wrong[number] += c == text[0] ? 0 : 1;
                ++received[number];
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == std::array<int, 4>{});
    CHECK(received == std::array<int, 4>{rounds, rounds, rounds, rounds});
}

TEST_CASE("a thread that waits for a message keeps no other from sending, polling in time, or closing") {
    auto [left, right] = Pipe();
    std::string end_of_first;
    std::string end_of_second;
    std::atomic<int> thread{0};
    std::thread first{[&, &end = right] {
        thread = ::gettid();
        end_of_first = text_of<UsageError>([&] { static_cast<void>(end.recv<int>()); });
    }};
    CHECK(within(30s, [&] { return is_asleep(thread); }));
    // Another waits for its turn when the first has it.
    std::thread second{
        [&, &end = right] { end_of_second = text_of<UsageError>([&] { static_cast<void>(end.recv<int>()); }); }};
    CHECK(within(30s, [&, &end = right] { return waiting_in(end) == 1; }));
    right.send(5);
    CHECK(left.recv<int>() == 5);
    CHECK_FALSE(right.poll());
    CHECK_FALSE(right.poll(5ms));
    CHECK_THROWS_AS(right.recv<int>(5ms), TimeoutError);
    const int descriptor = descriptor_of(right);
    right.close();
    first.join();
    second.join();
    CHECK_THAT(end_of_first, ContainsSubstring("closed"));
    CHECK_THAT(end_of_second, ContainsSubstring("closed"));
    CHECK_FALSE(is_open(descriptor));
    CHECK_THROWS_AS(left.recv<int>(30s), EndOfStream);
}

TEST_CASE("a thread that waits for room is woken by close, and the other end learns that the message has no end") {
    auto [left, right] = Pipe();
    std::string ended;
    std::thread sender{[&, &end = left] { ended = text_of<UsageError>([&] { end.send_bytes(pattern(8 << 20)); }); }};
    CHECK(within(30s, [&, &end = left] { return is_full(end); }));
    left.close();
    sender.join();
    CHECK_THAT(ended, ContainsSubstring("closed"));
    CHECK_THAT(text_of<EndOfStream>([&, &end = right] { static_cast<void>(end.recv_bytes(30s)); }),
               ContainsSubstring("middle"));
}

TEST_CASE("a wait is woken by close where no descriptor is left to be woken by") {
    auto [left, right] = Pipe();
    std::string ended;
    {
        const DescriptorLimit limit{1};  // for the look at the thread
        std::atomic<int> thread{0};
        std::thread receiver{[&, &end = right] {
            thread = ::gettid();
            ended = text_of<UsageError>([&] { static_cast<void>(end.recv<int>()); });
        }};
        CHECK(within(30s, [&] { return is_asleep(thread); }));
        right.close();
        receiver.join();
    }
    CHECK_THAT(ended, ContainsSubstring("closed"));
}

TEST_CASE("a connection travels through another, with what it has received, and is closed where it was") {
    auto [left, right] = Pipe();
    auto [inner_left, inner_right] = Pipe();
    inner_right.max_message_size(1'000'000);
    for (int i = 0; i < 10; ++i) inner_left.send(i);
    CHECK(inner_right.recv<int>() == 0);
    left.send(std::move(inner_right));
    CHECK(inner_right.closed());
    auto arrived = right.recv<Connection>();
    CHECK(arrived.max_message_size() == 1'000'000);
    for (int i = 1; i < 10; ++i) CHECK(arrived.recv<int>(30s) == i);
    arrived.send("back");
    CHECK(inner_left.recv<std::string>(30s) == "back");
    arrived.close();
    CHECK_THROWS_AS(inner_left.recv<int>(30s), EndOfStream);
}

TEST_CASE("a connection travels in the middle of a message, and with connections that it has received") {
    auto [left, right] = Pipe();
    auto [a, b] = Pipe();
    auto [traveller, other] = Pipe();
    a.send(1);
    a.send(std::move(traveller));
    const Bytes whole = framed_bytes(pattern(100'000));
    std::thread writer{[&, &end = a] { write_raw(end, std::span{whole}.first(90'000)); }};
    CHECK(b.recv<int>() == 1);
    const bool take_before = GENERATE(true, false);
    std::optional<Connection> taken;
    if (take_before) taken = b.recv<Connection>();
    writer.join();
    CHECK(b.poll() == !take_before);
    left.send(std::move(b));
    auto arrived = right.recv<Connection>();
    if (!take_before) taken = arrived.recv<Connection>();
    taken->send(6);
    CHECK(other.recv<int>(30s) == 6);
    CHECK_FALSE(arrived.poll());
    write_raw(a, std::span{whole}.subspan(90'000));
    CHECK((arrived.recv_bytes(30s) == pattern(100'000)));
}

TEST_CASE("the ends of a one-way pipe keep their direction on the way") {
    auto [left, right] = Pipe();
    auto [reader, writer] = Pipe(false);
    left.send(std::move(writer));
    left.send(std::move(reader));
    auto new_writer = right.recv<Connection>();
    auto new_reader = right.recv<Connection>();
    CHECK_FALSE(new_writer.readable());
    CHECK_FALSE(new_reader.writable());
    new_writer.send(1);
    CHECK(new_reader.recv<int>() == 1);
}

TEST_CASE(
    "many connections travel in one message, as part of what is sent, and are let go of by who does not take them") {
    auto [left, right] = Pipe();
    const auto open = open_descriptors();
    {
        Parcel parcel{"many", {}};
        std::vector<Connection> others;
        for (int i = 0; i < 200; ++i) {
            auto [a, b] = Pipe();
            parcel.connections.push_back(std::move(a));
            others.push_back(std::move(b));
        }
        left.send(std::move(parcel));
        CHECK(parcel.connections.empty());
        SECTION("taken") {
            auto arrived = right.recv<Parcel>();
            REQUIRE(arrived.connections.size() == 200);
            for (int i = 0; i < 200; ++i) arrived.connections[static_cast<std::size_t>(i)].send(i);
            for (int i = 0; i < 200; ++i) CHECK(others[static_cast<std::size_t>(i)].recv<int>(30s) == i);
        }
        SECTION("received as something else") {
            CHECK_THROWS_AS(right.recv<int>(), CodecError);
            CHECK_THROWS_AS(others[0].recv<int>(30s), EndOfStream);
        }
    }
    CHECK((open_descriptors() == open));
}

TEST_CASE("more connections than a message takes are refused, and stay") {
    auto [left, right] = Pipe();
    Parcel parcel{"too many", {}};
    for (int i = 0; i < 127; ++i) {
        auto [a, b] = Pipe();
        parcel.connections.push_back(std::move(a));
        parcel.connections.push_back(std::move(b));
    }
    CHECK_THROWS_AS(left.send(std::move(parcel)), CodecError);
    CHECK(parcel.connections.size() == 254);
    parcel.connections[0].send(1);
    CHECK(parcel.connections[1].recv<int>() == 1);
    left.send(2);
    CHECK(right.recv<int>() == 2);
}

TEST_CASE("a connection for which the receiver has no descriptor is an error, and the next message is received") {
    auto [left, right] = Pipe();
    auto [a, b] = Pipe();
    left.send(std::move(a));
    left.send(7);
    {
        const DescriptorLimit limit{0};
        CHECK_THAT(text_of<CodecError>([&, &end = right] { static_cast<void>(end.recv<Connection>()); }),
                   ContainsSubstring("no room"));
    }
    CHECK(right.recv<int>() == 7);
    CHECK_THROWS_AS(b.recv<int>(30s), EndOfStream);
}

TEST_CASE("a message that announces handles and brings none is an error, and the next one is received") {
    auto [left, right] = Pipe();
    write_raw(left, framed_as<Connection>(pattern(20), 1));
    write_raw(left, framed_as<Connection>(Bytes(20)));
    left.send(7);
    CHECK_THAT(text_of<CodecError>([&, &end = right] { static_cast<void>(end.recv<Connection>()); }),
               ContainsSubstring("handles"));
    CHECK_THROWS_AS(right.recv<Connection>(), CodecError);
    CHECK(right.recv<int>() == 7);
}

TEST_CASE("a copy of the program uses its copy of an end, and the stream ends when the last copy is closed") {
    auto [left, right] = Pipe();
    left.send(20);
    CHECK(in_a_child([&, &end = right] {
              end.send(end.recv<int>(30s) + 1);
              end.close();
              return 0;
          }) == 0);
    CHECK(left.recv<int>(30s) == 21);
    CHECK_FALSE(left.poll());
    right.close();
    CHECK_THROWS_AS(left.recv<int>(30s), EndOfStream);
}

TEST_CASE("nothing that a connection opens is inherited by a program, or a standard stream") {
    const auto before = open_descriptors();
    const auto new_ones_are_closed_on_exec = [&] {
        const auto now = open_descriptors();
        return std::all_of(now.begin(), now.end(), [&](const Descriptor& each) {
            return std::find(before.begin(), before.end(), each) != before.end() || is_closed_on_exec(each.number);
        });
    };
    auto [left, right] = Pipe();
    auto [a, b] = Pipe();
    CHECK_THROWS_AS(b.recv<int>(1ms), TimeoutError);
    left.send(std::move(a));
    CHECK(right.poll());  // it has come, and nobody has taken it
    CHECK(new_ones_are_closed_on_exec());
    auto arrived = right.recv<Connection>();
    CHECK(new_ones_are_closed_on_exec());
    CHECK(in_a_child([] {
              close_standard_streams();
              auto [first, second] = Pipe();
              first.send(Pipe().first);
              auto third = second.recv<Connection>();
              if (!caught<EndOfStream>([&] { static_cast<void>(third.recv<int>(30s)); })) return 1;
              if (!caught<TimeoutError>([&, &end = second] { static_cast<void>(end.recv<int>(1ms)); })) return 2;
              return is_open(0) || is_open(1) || is_open(2) ? 3 : 0;
          }) == 0);
}

TEST_CASE("a copy of a process in which a thread receives cannot receive there, and closes its end for good") {
    auto [left, right] = Pipe();
    std::atomic<int> thread{0};
    int received = 0;
    std::thread receiver{[&, &end = left] {
        thread = ::gettid();
        received = end.recv<int>();
    }};
    CHECK(within(30s, [&] { return is_asleep(thread); }));
    ForkedChild copy{[&, &end = left, &other = right] {
        if (!caught<UsageError>([&] { static_cast<void>(end.recv<int>(1s)); })) return 1;
        if (!caught<UsageError>([&] { static_cast<void>(end.poll()); })) return 2;
        if (!caught<UsageError>([&] { static_cast<void>(plait::multiprocessing::wait({end}, 30s)); })) return 3;
        other.send(5);
        const int descriptor = descriptor_of(end);
        end.close();
        return end.closed() && ::fcntl(descriptor, F_GETFD) < 0 ? 0 : 4;
    }};
    CHECK(copy.join(30s) == 0);
    right.send(6);
    receiver.join();
    CHECK(received == 5);
    CHECK(left.recv<int>(30s) == 6);
}

TEST_CASE("what a codec shares through an object of its own arrives, though that is gone when the message is sent") {
    auto [left, right] = Pipe();
    left.send(Kept{});
    Kept kept = right.recv<Kept>(30s);
    REQUIRE(kept.end.has_value());
    kept.end->send(7);
    CHECK(kept.other->recv<int>(30s) == 7);
}

TEST_CASE("a poll of one's own sees every message, once the handle was asked for") {
    auto [left, right] = Pipe();
    const auto is_readable = [&, &end = right] {
        ::pollfd item{end.native_handle(), POLLIN, 0};
        return ::poll(&item, 1, 0) == 1;
    };
    CHECK_FALSE(is_readable());
    for (int i = 0; i < 3; ++i) left.send(i);
    for (int i = 0; i < 3; ++i) {
        CHECK(is_readable());
        CHECK(right.recv<int>() == i);
    }
    CHECK_FALSE(is_readable());
    left.close();
    CHECK(is_readable());
}

TEST_CASE("both ends send large messages at once when each is received too") {
    auto [left, right] = Pipe();
    const Bytes content = pattern(8 << 20);
    const auto exchange = [&](Connection& end) {
        bool same = false;
        std::thread receiver{[&] { same = end.recv_bytes() == content; }};
        end.send_bytes(content);
        receiver.join();
        return same;
    };
    bool left_same = false;
    std::thread other{[&, &end = left] { left_same = exchange(end); }};
    const bool right_same = exchange(right);
    other.join();
    CHECK(left_same);
    CHECK(right_same);
}
