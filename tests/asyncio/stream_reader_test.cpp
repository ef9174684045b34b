// SPDX-License-Identifier: MIT
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/sleep.hpp>
#  include <plait/asyncio/stream_reader.hpp>
#  include <plait/asyncio/wait_for.hpp>
#  include <plait/core/error.hpp>

#  include "asyncio/stream_ends.hpp"
#  include "support/catch.hpp"

#  include <sys/socket.h>

#  include <cerrno>
#  include <chrono>
#  include <cstddef>
#  include <optional>
#  include <string>
#  include <system_error>
#  include <utility>
#  include <vector>

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using plait::CancelledError;
using plait::EndOfStream;
using plait::IncompleteReadError;
using plait::LimitOverrunError;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::StreamReader;
using plait::asyncio::Task;
using support::code_of;
using support::feed;
using support::pattern;
using support::settle;
using support::socket_ends;
using support::StreamEnds;
using support::text_of;
namespace aio = plait::asyncio;

namespace {

/// Feeds it piece by piece, each once the reader waits.
Coroutine<void> feed_slowly(const plait::os::Handle& peer, StreamReader reader, std::string bytes) {
    for (const char byte : bytes) {
        while (reader.waiting() == 0) co_await aio::sleep(0s);
        feed(peer, {&byte, 1});
    }
}

}  // namespace

TEST_CASE("read gives what there is, and keeps what was not asked for") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        feed(ends.peer, "hello");
        const std::string first = co_await ends.reader.read(100);
        CHECK(first == "hello");
        feed(ends.peer, "hello");
        const std::string second = co_await ends.reader.read(2);
        CHECK(second == "he");
        const std::string third = co_await ends.reader.read(100);
        CHECK(third == "llo");
        const std::string none = co_await ends.reader.read(0);
        CHECK(none.empty());
        CHECK_FALSE(ends.reader.at_eof());
    });
}

TEST_CASE("read waits for the first byte, and other tasks run meanwhile") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        Task<std::string> task = aio::create_task(ends.reader.read(100));
        co_await settle();
        CHECK_FALSE(task.done());
        CHECK(ends.reader.waiting() == 1);
        feed(ends.peer, "x");
        const std::string got = co_await task;
        CHECK(got == "x");
        CHECK(ends.reader.waiting() == 0);
    });
}

TEST_CASE("read without a number reads to the end, and at the end there is nothing") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        Task<std::string> task = aio::create_task(ends.reader.read());
        feed(ends.peer, "one ");
        co_await settle();
        feed(ends.peer, "two");
        CHECK_FALSE(task.done());
        ends.peer.reset();
        const std::string all = co_await task;
        CHECK(all == "one two");
        CHECK(ends.reader.at_eof());
        const std::string more = co_await ends.reader.read();
        CHECK(more.empty());
        const std::string some = co_await ends.reader.read(1);
        CHECK(some.empty());
        const std::string line = co_await ends.reader.readline();
        CHECK(line.empty());
    });
}

TEST_CASE("what came before the end is given before it") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        feed(ends.peer, "abc");
        ends.peer.reset();
        const std::string first = co_await ends.reader.read(1);
        CHECK(first == "a");
        CHECK_FALSE(ends.reader.at_eof());
        const std::string rest = co_await ends.reader.read(100);
        CHECK(rest == "bc");
        const std::string end = co_await ends.reader.read(100);
        CHECK(end.empty());
        CHECK(ends.reader.at_eof());
    });
}

TEST_CASE("readexactly waits for all of it") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        auto task = aio::create_task(feed_slowly(ends.peer, ends.reader, "0123456789"));
        const std::string four = co_await ends.reader.readexactly(4);
        CHECK(four == "0123");
        const std::string six = co_await ends.reader.readexactly(6);
        CHECK(six == "456789");
        const std::string none = co_await ends.reader.readexactly(0);
        CHECK(none.empty());
        co_await task;
    });
}

TEST_CASE("readexactly says how far it came where the stream ends before") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        feed(ends.peer, "abc");
        ends.peer.reset();
        std::optional<IncompleteReadError> caught;
        try {
            co_await ends.reader.readexactly(10);
        } catch (const EndOfStream& error) {
            caught = static_cast<const IncompleteReadError&>(error);
        }
        REQUIRE(caught);
        CHECK(caught->partial() == "abc");
        CHECK(caught->expected() == 10);
        CHECK(std::string(caught->what()) == "the stream ended after 3 of 10 bytes");
        CHECK(ends.reader.at_eof());
    });
}

TEST_CASE("readline gives lines with their ends, and the last one without") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        feed(ends.peer, "one\n\ntwo\nthr");
        std::vector<std::string> lines;
        for (int i = 0; i < 3; ++i) lines.push_back(co_await ends.reader.readline());
        CHECK(lines == std::vector<std::string>{"one\n", "\n", "two\n"});
        Task<std::string> task = aio::create_task(ends.reader.readline());
        co_await settle();
        CHECK_FALSE(task.done());
        feed(ends.peer, "ee");
        ends.peer.reset();
        const std::string last = co_await task;
        CHECK(last == "three");
        const std::string end = co_await ends.reader.readline();
        CHECK(end.empty());
    });
}

TEST_CASE("readuntil finds a separator that comes in pieces") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        auto task = aio::create_task(feed_slowly(ends.peer, ends.reader, "a\r\rb\r\n\r\nrest\r\n"));
        const std::string head = co_await ends.reader.readuntil("\r\n\r\n");
        CHECK(head == "a\r\rb\r\n\r\n");
        const std::string line = co_await ends.reader.readuntil("\r\n");
        CHECK(line == "rest\r\n");
        co_await task;
    });
}

TEST_CASE("readuntil says how far it came where the stream ends before") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        feed(ends.peer, "abc");
        ends.peer.reset();
        const std::string text = co_await text_of<IncompleteReadError>(ends.reader.readuntil());
        CHECK_THAT(text, ContainsSubstring("after 3 bytes, before the separator"));
        CHECK_THROWS_AS(ends.reader.readuntil(""), std::invalid_argument);
    });
}

TEST_CASE("a line over the limit is refused and stays, whether or not its end has come") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends(4);
        CHECK(ends.reader.limit() == 4);
        for (const std::string sent : {"12345\n", "12345"}) {
            feed(ends.peer, sent);
            std::optional<LimitOverrunError> caught;
            try {
                co_await ends.reader.readline();
            } catch (const LimitOverrunError& error) {
                caught = error;
            }
            REQUIRE(caught);
            CHECK(caught->consumed() == 5);
            CHECK_THAT(caught->what(), ContainsSubstring("limit of 4 bytes"));
            const std::string kept = co_await ends.reader.read(100);
            CHECK(kept == sent);
        }
        feed(ends.peer, "1234\n");
        const std::string line = co_await ends.reader.readline();
        CHECK(line == "1234\n");
        feed(ends.peer, "1234\r");  // may be the beginning of the separator
        Task<std::string> task = aio::create_task(ends.reader.readuntil("\r\n"));
        co_await settle();
        CHECK_FALSE(task.done());
        feed(ends.peer, "\n");
        const std::string last = co_await task;
        CHECK(last == "1234\r\n");
    });
}

TEST_CASE("readinto reads into memory of the caller's, of any size") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        std::vector<char> tiny(3);
        std::vector<char> large(100'000);
        feed(ends.peer, "hello");
        std::size_t count = co_await ends.reader.readinto(tiny);
        CHECK(std::string(tiny.data(), count) == "hel");
        count = co_await ends.reader.readinto(large);
        CHECK(std::string(large.data(), count) == "lo");
        feed(ends.peer, "again");
        count = co_await ends.reader.readinto(large);
        CHECK(std::string(large.data(), count) == "again");
        count = co_await ends.reader.readinto({});
        CHECK(count == 0);
        ends.peer.reset();
        count = co_await ends.reader.readinto(tiny);
        CHECK(count == 0);
        CHECK(ends.reader.at_eof());
    });
}

TEST_CASE("a reset is an error at the read, again and again, once what came before it is read") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = support::tcp_ends();
        feed(ends.peer, "last words");
        const std::string begin = co_await ends.reader.readexactly(4);
        CHECK(begin == "last");
        support::reset_connection(ends.peer);
        const int all = co_await code_of(ends.reader.read());
        CHECK(all == ECONNRESET);
        const int many = co_await code_of(ends.reader.readexactly(100));
        CHECK(many == ECONNRESET);
        CHECK_FALSE(ends.reader.at_eof());
        const std::string words = co_await ends.reader.read(100);
        CHECK(words == " words");
        const std::string text = co_await text_of<std::system_error>(ends.reader.read(100));
        CHECK_THAT(text, ContainsSubstring("recv"));
        const int line = co_await code_of(ends.reader.readline());
        CHECK(line == ECONNRESET);
    });
}

TEST_CASE("a second task that reads at the same time is refused, and harms nobody") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        Task<std::string> first = aio::create_task(ends.reader.readexactly(2));
        co_await settle();
        const StreamReader copy = ends.reader;
        const std::string text = co_await text_of<UsageError>(copy.read(1));
        CHECK_THAT(text, ContainsSubstring("another task reads"));
        feed(ends.peer, "abc");
        const std::string two = co_await first;
        CHECK(two == "ab");
        const std::string rest = co_await copy.read(1);
        CHECK(rest == "c");
    });
}

TEST_CASE("a pipe is read to its end") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = support::pipe_ends(support::PipeEnd::reading);
        auto task = aio::create_task(feed_slowly(ends.peer, ends.reader, "one\ntwo"));
        const std::string line = co_await ends.reader.readline();
        CHECK(line == "one\n");
        const std::string word = co_await ends.reader.readexactly(3);
        CHECK(word == "two");
        co_await task;
        ends.peer.reset();
        const std::string rest = co_await ends.reader.read();
        CHECK(rest.empty());
        CHECK_FALSE(ends.writer.can_write_eof());
        CHECK_THROWS_AS(ends.writer.write("x"), UsageError);
        CHECK_THROWS_AS(ends.writer.write_eof(), UsageError);
    });
}

TEST_CASE("a read ends when its stream is closed here") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        feed(ends.peer, "abc");
        Task<std::string> task = aio::create_task(ends.reader.readline());
        co_await settle();
        ends.writer.close();
        const std::string got = co_await task;
        CHECK(got == "abc");
        const std::string end = co_await ends.reader.read();
        CHECK(end.empty());
        CHECK(ends.reader.at_eof());
    });
}

TEST_CASE("a handle of no stream says so") {
    StreamReader none;
    CHECK_THROWS_AS(none.read(), UsageError);
    CHECK_THROWS_AS(none.at_eof(), UsageError);
}

TEST_CASE("a stream is for the tasks of its loop alone") {
    EventLoop loop;
    StreamEnds ends;
    loop.run_until_complete([](StreamEnds& made) -> Coroutine<void> {
        made = socket_ends();
        co_return;
    }(ends));
    EventLoop other;
    CHECK_THAT(other.run_until_complete(text_of<UsageError>(ends.reader.read())),
               ContainsSubstring("another event loop"));
    other.close();
    feed(ends.peer, "x");
    CHECK(loop.run_until_complete(ends.reader.read(5)) == "x");
}

TEST_CASE("a reader that outlives its loop has what was received, and then the end") {
    StreamEnds ends;
    aio::run([&ends]() -> Coroutine<void> {
        ends = socket_ends();
        feed(ends.peer, "one\ntwo");
        const std::string line = co_await ends.reader.readline();
        CHECK(line == "one\n");
    });
    CHECK(support::arrived_at(ends.peer).ended);
    CHECK(aio::run(ends.reader.read()) == "two");
    CHECK(ends.reader.at_eof());
}
#endif
