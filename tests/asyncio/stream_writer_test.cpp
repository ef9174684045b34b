// SPDX-License-Identifier: MIT
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/gather.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/sleep.hpp>
#  include <plait/asyncio/stream_writer.hpp>
#  include <plait/asyncio/wait_for.hpp>
#  include <plait/core/error.hpp>

#  include "asyncio/stream_ends.hpp"
#  include "support/catch.hpp"

#  include <array>
#  include <cerrno>
#  include <chrono>
#  include <cstddef>
#  include <stdexcept>
#  include <string>
#  include <string_view>
#  include <system_error>
#  include <utility>
#  include <vector>

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::StreamReader;
using plait::asyncio::StreamWriter;
using plait::asyncio::Task;
using plait::asyncio::detail::StreamAccess;
using support::arrived_at;
using support::code_of;
using support::feed;
using support::pattern;
using support::settle;
using support::socket_ends;
using support::StreamEnds;
using support::text_of;
namespace aio = plait::asyncio;

namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

/// Writes until the system takes no more and something is kept.
std::size_t fill(const StreamWriter& writer, std::size_t piece = 16 * 1024) {
    std::size_t written = 0;
    while (writer.write_buffer_size() == 0) {
        writer.write(pattern(piece, written));
        written += piece;
    }
    return written;
}

/// Takes what arrives at the peer until that is `size`, or the end has come.
Coroutine<std::string> collect(const plait::os::Handle& peer, std::size_t size) {
    std::string all;
    while (all.size() < size) {
        const support::Arrived arrived = arrived_at(peer, size - all.size());
        all += arrived.bytes;
        if (arrived.ended) break;
        co_await aio::sleep(0s);
    }
    co_return all;
}

}  // namespace

TEST_CASE("write sends at once what the system takes") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        ends.writer.write("hello ");
        ends.writer.write("");
        constexpr std::array<std::byte, 2> bytes{std::byte{'u'}, std::byte{'!'}};
        ends.writer.write(bytes);
        CHECK(arrived_at(ends.peer).bytes == "hello u!");
        CHECK(ends.writer.write_buffer_size() == 0);
        co_await ends.writer.drain();
    });
}

TEST_CASE("lines that are made while they are written may use the stream, and come after what that wrote") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        struct Line {
            const StreamWriter* writer;
            bool closes;
            operator std::string_view() const {
                if (closes)
                    writer->close();
                else
                    writer->write("before ");
                return "line ";
            }
        };
        ends.writer.writelines(std::vector<Line>{{&ends.writer, false}, {&ends.writer, false}});
        CHECK(arrived_at(ends.peer).bytes == "before before line line ");
        CHECK_THROWS_AS(ends.writer.writelines(std::vector<Line>{{&ends.writer, true}}), UsageError);
        co_return;
    });
}

TEST_CASE("a manual clock stands while bytes flow in pieces") {
    aio::run(
        []() -> Coroutine<void> {
            auto [from, to] = support::stream_pair();
            from.writer.write(pattern(4 * mebibyte));
            const std::string got = co_await aio::wait_for(to.reader.readexactly(4 * mebibyte), 1h);
            CHECK(got == pattern(4 * mebibyte));
        },
        aio::EventLoopOptions{.manual_clock = true});
}

TEST_CASE("what the system does not take is kept, and sent in its order as the peer reads") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        support::set_send_buffer(StreamAccess::connection(ends.writer).native_handle(), 1);  // the least there is
        const std::string all = pattern(mebibyte);
        std::size_t from = 0;
        for (std::size_t piece = 1; from < all.size(); from += piece, piece = piece * 3 % 40'009 + 1)
            ends.writer.write(std::string_view{all}.substr(from, piece));
        CHECK(ends.writer.write_buffer_size() > all.size() / 2);
        const std::string got = co_await collect(ends.peer, all.size());
        CHECK(got == all);
        CHECK(ends.writer.write_buffer_size() == 0);
    });
}

TEST_CASE("writelines writes each string of a range, in one piece") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        const std::vector<std::string> lines{"one\n", "", "two\n"};
        ends.writer.writelines(lines);
        const std::array<const char*, 2> words{"three", "four"};
        ends.writer.writelines(words);
        ends.writer.writelines(std::vector<std::string>{});
        CHECK(arrived_at(ends.peer).bytes == "one\ntwo\nthreefour");
        const std::size_t kept = fill(ends.writer);
        ends.writer.writelines(lines);
        const std::string got = co_await collect(ends.peer, kept + 8);
        CHECK(got == pattern(kept) + "one\ntwo\n");
    });
}

TEST_CASE("writelines of a range that throws writes nothing") {
    struct Thrower {
        struct Iterator {
            int at = 0;
            std::string_view operator*() const {
                if (at == 1) throw std::runtime_error("no more");
                return "piece";
            }
            Iterator& operator++() {
                ++at;
                return *this;
            }
            bool operator!=(const Iterator& other) const { return at != other.at; }
        };
        Iterator begin() const { return {0}; }
        Iterator end() const { return {2}; }
    };
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        CHECK_THROWS_AS(ends.writer.writelines(Thrower{}), std::runtime_error);
        ends.writer.write("next");
        CHECK(arrived_at(ends.peer).bytes == "next");
        const std::size_t kept = fill(ends.writer);
        CHECK_THROWS_AS(ends.writer.writelines(Thrower{}), std::runtime_error);
        const std::string got = co_await collect(ends.peer, kept);
        CHECK(got == pattern(kept));
        CHECK(ends.writer.write_buffer_size() == 0);
    });
}

TEST_CASE("a fast writer to a slow reader stops at the high-water mark, and memory stays flat") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        constexpr std::size_t total = 10 * mebibyte;
        constexpr std::size_t piece = 8 * 1024;
        std::size_t written = 0;
        std::size_t most_kept = 0;
        const auto produce = [&]() -> Coroutine<void> {
            for (; written < total; written += piece) {
                ends.writer.write(pattern(piece, written));
                most_kept = (std::max)(most_kept, ends.writer.write_buffer_size());
                co_await ends.writer.drain();
            }
        };
        auto producer = aio::create_task(produce);
        while (ends.writer.waiting() == 0) co_await aio::sleep(0s);
        const std::size_t stopped_at = written;
        co_await settle();
        CHECK(written == stopped_at);
        CHECK(stopped_at < mebibyte);
        std::size_t got = 0;
        bool same = true;
        while (got < total) {
            const std::string bytes = arrived_at(ends.peer, 10'000).bytes;
            same = same && bytes == pattern(bytes.size(), got);
            got += bytes.size();
            co_await aio::sleep(0s);
        }
        CHECK(same);
        co_await producer;
        CHECK(most_kept > 64 * 1024);
        CHECK(most_kept <= 64 * 1024 + piece);
    });
}

TEST_CASE("any number of tasks drain, and wait until the low-water mark") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        ends.writer.set_write_buffer_limits(40'000, 10'000);
        fill(ends.writer);
        co_await ends.writer.drain();
        ends.writer.write(pattern(40'000));
        std::vector<Task<void>> tasks;
        for (int i = 0; i < 3; ++i) tasks.push_back(aio::create_task(ends.writer.drain()));
        co_await settle();
        CHECK(ends.writer.waiting() == 3);
        while (ends.writer.waiting() != 0) {
            CHECK(ends.writer.write_buffer_size() > 10'000);
            arrived_at(ends.peer, 1'000);
            co_await aio::sleep(0s);
        }
        CHECK(ends.writer.write_buffer_size() <= 10'000);
        co_await aio::gather(tasks);
    });
}

TEST_CASE("the write buffer's limits can be set, also while tasks wait") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        CHECK_THROWS_AS(ends.writer.set_write_buffer_limits(1, 2), std::invalid_argument);
        ends.writer.set_write_buffer_limits(0);
        fill(ends.writer);
        Task<void> task = aio::create_task(ends.writer.drain());
        co_await settle();
        CHECK_FALSE(task.done());
        ends.writer.set_write_buffer_limits(mebibyte);
        co_await task;
        CHECK(ends.writer.write_buffer_size() != 0);
        ends.writer.set_write_buffer_limits(4, 0);
        Task<void> again = aio::create_task(ends.writer.drain());
        co_await settle();
        CHECK_FALSE(again.done());
        ends.writer.abort();
        const int code = co_await code_of(std::move(again));
        CHECK(code == ECONNABORTED);
    });
}

TEST_CASE("a cancelled drain changes nothing") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        const std::size_t written = fill(ends.writer, 200'000);
        Task<void> first = aio::create_task(ends.writer.drain());
        Task<void> second = aio::create_task(ends.writer.drain());
        co_await settle();
        CHECK(ends.writer.waiting() == 2);
        first.cancel();
        co_await settle();
        CHECK(first.cancelled());
        CHECK(ends.writer.waiting() == 1);
        const std::string got = co_await collect(ends.peer, written);
        CHECK(got == pattern(written));
        co_await second;
    });
}

TEST_CASE("who writes on and on to a fast reader lets other tasks run") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        int turns = 0;
        const auto count = [&turns]() -> Coroutine<void> {
            for (;; ++turns) co_await aio::sleep(0s);
        };
        auto other = aio::create_task(count);
        for (int i = 0; i < 1'000; ++i) {
            ends.writer.write("x");
            co_await ends.writer.drain();
            arrived_at(ends.peer);
        }
        CHECK(turns > 5);
        CHECK(turns < 100);
        other.cancel();
    });
}

TEST_CASE("a peer that is gone is told by drain, not by write") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        ends.peer.reset();
        ends.writer.write("lost");
        ends.writer.write("lost too");
        CHECK(ends.writer.write_buffer_size() == 0);
        for (int i = 0; i < 2; ++i) {
            const int code = co_await code_of(ends.writer.drain());
            CHECK(code == EPIPE);
        }
        const std::string text = co_await text_of<std::system_error>(ends.writer.drain());
        CHECK_THAT(text, ContainsSubstring("send"));
        ends.writer.writelines(std::vector<std::string>{"lost", "again"});
        CHECK(ends.writer.write_buffer_size() == 0);
        CHECK_FALSE(ends.writer.is_closing());
    });
}

TEST_CASE("a reset wakes who drains, and is told to who reads") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = support::tcp_ends();
        fill(ends.writer, mebibyte);
        Task<int> drain = aio::create_task(code_of(ends.writer.drain()));
        co_await settle();
        CHECK(ends.writer.waiting() == 1);
        support::reset_connection(ends.peer);
        const int drained = co_await drain;
        CHECK(drained == ECONNRESET);
        CHECK(ends.writer.write_buffer_size() == 0);
        const int read = co_await code_of(ends.reader.read());
        CHECK(read == ECONNRESET);
    });
}

TEST_CASE("a reset that a read met is told by drain, and drops what was not sent") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = support::tcp_ends();
        Task<int> read = aio::create_task(code_of(ends.reader.read()));
        co_await settle();
        support::reset_connection(ends.peer);
        const int code = co_await read;
        CHECK(code == ECONNRESET);
        const int drained = co_await code_of(ends.writer.drain());
        CHECK(drained == ECONNRESET);
        ends.writer.close();
        co_await ends.writer.wait_closed();  // nothing that was written is lost
    });
}

TEST_CASE("a pipe whose reader is gone gives an error and no signal") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = support::pipe_ends(support::PipeEnd::writing);
        ends.writer.write("kept");
        CHECK(arrived_at(ends.peer).bytes == "kept");
        const std::string text = co_await text_of<UsageError>(ends.reader.read());
        CHECK_THAT(text, ContainsSubstring("writing end of a pipe"));
        ends.writer.write(pattern(mebibyte));
        Task<int> drain = aio::create_task(code_of(ends.writer.drain()));
        co_await settle();
        CHECK(ends.writer.waiting() == 1);
        ends.peer.reset();
        const int code = co_await drain;
        CHECK(code == EPIPE);
        const std::string told = co_await text_of<std::system_error>(ends.writer.drain());
        CHECK_THAT(told, ContainsSubstring("write"));
    });
}

TEST_CASE("streams echo, side by side, in pieces of every size") {
    aio::run([]() -> Coroutine<void> {
        const auto echo = [](StreamReader reader, StreamWriter writer) -> Coroutine<void> {
            for (;;) {
                const std::string text = co_await reader.read(1'000);
                if (text.empty()) break;
                writer.write(text);
                co_await writer.drain();
            }
            writer.write_eof();
        };
        const auto client = [](StreamReader reader, StreamWriter writer, std::size_t piece) -> Coroutine<bool> {
            bool same = true;
            for (std::size_t i = 0; i < 50; ++i) {
                const std::string sent = pattern(piece, i);
                writer.write(sent);
                const std::string got = co_await reader.readexactly(sent.size());
                same = same && got == sent;
            }
            writer.write_eof();
            const std::string end = co_await reader.read();
            co_return same&& end.empty();
        };
        std::vector<Task<void>> servers;
        std::vector<Task<bool>> clients;
        for (std::size_t piece = 1; piece < 20'000; piece = piece * 3 + 1) {
            auto [here, there] = support::stream_pair();
            servers.push_back(aio::create_task(echo(here.reader, here.writer)));
            clients.push_back(aio::create_task(client(there.reader, there.writer, piece)));
        }
        for (const bool good : co_await aio::gather(clients)) CHECK(good);
        co_await aio::gather(servers);
    });
}
#endif
