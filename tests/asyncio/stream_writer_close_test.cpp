// SPDX-License-Identifier: MIT

// How a stream ends: by write_eof, close, abort, its last handle, its loop.

#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/stream_writer.hpp>
#  include <plait/core/error.hpp>

#  include "asyncio/stream_ends.hpp"
#  include "asyncio/virtual_time.hpp"
#  include "support/catch.hpp"
#  include "support/forked_child.hpp"

#  include <fcntl.h>

#  include <cerrno>
#  include <chrono>
#  include <cstddef>
#  include <optional>
#  include <string>
#  include <utility>
#  include <vector>

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::StreamReader;
using plait::asyncio::StreamWriter;
using plait::asyncio::Task;
using plait::asyncio::detail::StreamAccess;
using support::Arrived;
using support::arrived_at;
using support::code_of;
using support::feed;
using support::pattern;
using support::settle;
using support::socket_ends;
using support::StreamEnds;
namespace aio = plait::asyncio;

namespace {

constexpr std::size_t much = 1024 * 1024;

/// Takes what arrives at the peer until the end.
Coroutine<std::string> collect(const plait::os::Handle& peer) {
    std::string all;
    for (;;) {
        const Arrived arrived = arrived_at(peer);
        all += arrived.bytes;
        if (arrived.ended) co_return all;
        co_await aio::sleep(0s);
    }
}

Coroutine<void> open_on_loop(StreamEnds& ends) {
    ends = socket_ends();
    co_return;
}

}  // namespace

TEST_CASE("write_eof ends one direction, once all is sent; the other goes on") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        CHECK(ends.writer.can_write_eof());
        ends.writer.write(pattern(much));
        ends.writer.write_eof();
        ends.writer.write_eof();
        CHECK_THROWS_AS(ends.writer.write("x"), UsageError);
        CHECK_FALSE(ends.writer.is_closing());
        const std::string got = co_await collect(ends.peer);
        CHECK(got == pattern(much));
        feed(ends.peer, "answer");
        ends.peer.reset();
        const std::string answer = co_await ends.reader.read();
        CHECK(answer == "answer");
        co_await ends.writer.drain();
    });
}

TEST_CASE("write_eof closes a pipe, once all is sent") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = support::pipe_ends(support::PipeEnd::writing);
        ends.writer.write(pattern(much));
        ends.writer.write_eof();
        const std::string got = co_await collect(ends.peer);
        CHECK(got == pattern(much));
        CHECK(ends.writer.is_closing());
        co_await ends.writer.wait_closed();
    });
}

TEST_CASE("close sends what was written, and closes then") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        ends.writer.write(pattern(much));
        ends.writer.close();
        ends.writer.close();
        CHECK(ends.writer.is_closing());
        CHECK_THROWS_AS(ends.writer.write("x"), UsageError);
        Task<void> first = aio::create_task(ends.writer.wait_closed());
        Task<void> second = aio::create_task(ends.writer.wait_closed());
        co_await settle();
        CHECK_FALSE(first.done());
        second.cancel();
        const std::string got = co_await collect(ends.peer);
        CHECK(got == pattern(much));
        co_await first;
        CHECK(second.cancelled());
        co_await ends.writer.wait_closed();
        co_await ends.writer.drain();
    });
}

TEST_CASE("a stream with nothing to send closes at once") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        Task<void> wait = aio::create_task(ends.writer.wait_closed());
        co_await settle();
        CHECK_FALSE(wait.done());
        ends.writer.write("last");
        ends.writer.close();
        const Arrived arrived = arrived_at(ends.peer);
        CHECK(arrived.bytes == "last");
        CHECK(arrived.ended);
        co_await wait;
    });
}

TEST_CASE("wait_closed tells what could not be sent") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        ends.writer.write(pattern(much));
        ends.writer.close();
        Task<int> wait = aio::create_task(code_of(ends.writer.wait_closed()));
        co_await settle();
        CHECK_FALSE(wait.done());
        ends.peer.reset();
        const int code = co_await wait;
        CHECK((code == EPIPE || code == ECONNRESET));
        const int again = co_await code_of(ends.writer.wait_closed());
        CHECK(again == code);
    });
}

TEST_CASE("an error that a read met drops what was not sent, and is told as what it was") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = support::tcp_ends();
        ends.writer.write(pattern(16 * much));
        REQUIRE(ends.writer.write_buffer_size() != 0);
        Task<int> read = aio::create_task(code_of(ends.reader.read()));
        co_await settle();
        support::reset_connection(ends.peer);
        const int code = co_await read;
        CHECK(code == ECONNRESET);
        CHECK(ends.writer.write_buffer_size() == 0);
        const int drained = co_await code_of(ends.writer.drain());
        CHECK(drained == ECONNRESET);
        ends.writer.close();
        const int closed = co_await code_of(ends.writer.wait_closed());
        CHECK(closed == ECONNRESET);
    });
}

TEST_CASE("abort closes at once, drops what was not sent, and ends every wait") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        ends.writer.write(pattern(much));
        Task<int> drain = aio::create_task(code_of(ends.writer.drain()));
        Task<std::string> read = aio::create_task(ends.reader.read());
        Task<void> wait = aio::create_task(ends.writer.wait_closed());
        co_await settle();
        ends.writer.close();
        co_await settle();
        CHECK_FALSE(drain.done());
        CHECK_FALSE(wait.done());
        CHECK(read.done());  // by the close
        ends.writer.abort();
        ends.writer.abort();
        const Arrived arrived = arrived_at(ends.peer);
        CHECK(arrived.ended);
        CHECK(arrived.bytes.size() < much);
        const int drained = co_await drain;
        CHECK(drained == ECONNABORTED);
        co_await wait;
        CHECK_THROWS_AS(ends.writer.write("x"), UsageError);
    });
}

TEST_CASE("the last handle of a stream closes it, once all is sent") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        ends.writer.write(pattern(much));
        StreamWriter copy = ends.writer;
        ends.reader = {};
        ends.writer = {};
        copy.write("more");
        copy = {};
        const std::string got = co_await collect(ends.peer);
        CHECK(got == pattern(much) + "more");
    });
}

TEST_CASE("a stream whose handles are gone drops the rest where its peer is gone too") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        ends.writer.write(pattern(much));
        ends.reader = {};
        ends.writer = {};
        ends.peer.reset();
        co_await settle();
    });
}

TEST_CASE("a read keeps its stream, and so does a drain") {
    aio::run([]() -> Coroutine<void> {
        StreamEnds ends = socket_ends();
        ends.writer.write(pattern(much));
        Task<void> drain = aio::create_task(ends.writer.drain());
        Task<std::string> read = aio::create_task(ends.reader.readline());
        co_await settle();
        ends.reader = {};
        ends.writer = {};
        feed(ends.peer, "line\n");
        const std::string line = co_await read;
        CHECK(line == "line\n");
        arrived_at(ends.peer);
        while (!drain.done()) {
            arrived_at(ends.peer);
            co_await aio::sleep(0s);
        }
    });
}

TEST_CASE("what is unsent when the loop closes is told to its handler") {
    for (const bool keeps_handles : {true, false}) {
        support::ErrorLog log;
        std::optional<EventLoop> loop;
        loop.emplace();
        log.watch(*loop);
        StreamEnds ends;
        loop->run_until_complete(open_on_loop(ends));
        ends.writer.write(pattern(much));
        if (!keeps_handles) ends.reader = {}, ends.writer = {};
        loop.reset();
        const Arrived arrived = arrived_at(ends.peer);
        CHECK(arrived.ended);
        REQUIRE(log.messages.size() == 1);
        CHECK_THAT(log.messages[0], ContainsSubstring(std::to_string(much - arrived.bytes.size()) + " bytes written"));
    }
}

TEST_CASE("what can be sent when the loop closes is sent") {
    support::ErrorLog log;
    EventLoop loop;
    log.watch(loop);
    StreamEnds ends;
    loop.run_until_complete(open_on_loop(ends));
    std::size_t written = 0;
    constexpr std::size_t piece = 8'000;
    for (; ends.writer.write_buffer_size() == 0; written += piece) ends.writer.write(pattern(piece, written));
    std::string got = arrived_at(ends.peer).bytes;
    CHECK(got.size() < written);
    loop.close();
    got += arrived_at(ends.peer).bytes;
    CHECK(got == pattern(written));
    CHECK(log.messages.empty());
}

TEST_CASE("a writer that outlives its loop is closed, and says so") {
    StreamEnds ends;
    aio::run([&ends]() -> Coroutine<void> { co_await open_on_loop(ends); });
    CHECK(ends.writer.is_closing());
    CHECK_THROWS_AS(ends.writer.write("x"), UsageError);
    CHECK_THROWS_AS(ends.writer.writelines(std::vector<std::string>{"x"}), UsageError);
    ends.writer.write_eof();
    ends.writer.close();
    ends.writer.abort();
    CHECK(ends.writer.write_buffer_size() == 0);
    CHECK(ends.writer.waiting() == 0);
    aio::run([&ends]() -> Coroutine<void> {
        co_await ends.writer.drain();
        co_await ends.writer.wait_closed();
    });
    CHECK_THROWS_AS(StreamWriter{}.write("x"), UsageError);
}

TEST_CASE("waits for a stream are destroyed with their loop wherever they stand") {
    for (int passes = 0; passes < 5; ++passes) {
        plait::os::Handle peer;
        EventLoop loop;
        loop.set_exception_handler([](EventLoop&, const aio::ErrorContext&) {});
        const auto begin = [](plait::os::Handle& other) -> Coroutine<void> {
            StreamEnds ends = socket_ends();
            ends.writer.write(pattern(much));
            static_cast<void>(aio::create_task(ends.writer.drain()));
            static_cast<void>(aio::create_task(ends.writer.wait_closed()));
            other = std::move(ends.peer);
            co_return;
        };
        loop.run_until_complete(begin(peer));
        for (int pass = 0; pass < passes; ++pass) {
            if (pass > 1) arrived_at(peer);
            loop.call_soon([&loop] { loop.stop(); });
            loop.run_forever();
        }
        loop.close();
        arrived_at(peer);
        CHECK(arrived_at(peer).ended);
    }
}

TEST_CASE("a fork's copy of a stream sends nothing, and takes nothing from the parent's") {
    std::optional<EventLoop> loop;
    loop.emplace();
    StreamEnds ends;
    loop->run_until_complete(open_on_loop(ends));
    ends.writer.write(pattern(much));
    const std::size_t sent = much - ends.writer.write_buffer_size();
    const auto refuses = [&ends] {
        try {
            ends.writer.write("x");
        } catch (const UsageError&) {
            return true;
        }
        return false;
    };
    const plait::os::NativeHandle handle = StreamAccess::connection(ends.writer).native_handle();
    support::ForkedChild child{[&] {
        if (!refuses()) return 1;
        if (arrived_at(ends.peer).bytes.size() != sent) return 2;  // there is room for more
        ends.writer.close();
        if (::fcntl(handle, F_GETFD) != -1) return 3;
        loop.reset();
        return arrived_at(ends.peer).bytes.empty() ? 0 : 4;
    }};
    CHECK(child.join() == 0);
    ends.writer.close();
    CHECK(loop->run_until_complete(collect(ends.peer)) == pattern(much - sent, sent));
    loop->run_until_complete(ends.writer.wait_closed());
}

TEST_CASE("a fork's copy of a loop with streams sends nothing when it closes") {
    std::optional<EventLoop> loop;
    loop.emplace();
    StreamEnds ends;
    loop->run_until_complete(open_on_loop(ends));
    ends.writer.write(pattern(much));
    support::ForkedChild child{[&] {
        arrived_at(ends.peer);
        loop.reset();
        return arrived_at(ends.peer).bytes.empty() ? 0 : 1;
    }};
    CHECK(child.join() == 0);
    ends.writer.abort();
}
#endif
