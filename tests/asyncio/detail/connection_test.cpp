// SPDX-License-Identifier: MIT
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/detail/connection.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/run.hpp>

#  include "asyncio/stream_ends.hpp"
#  include "support/catch.hpp"

#  include <array>
#  include <cstddef>
#  include <optional>
#  include <stdexcept>
#  include <string>
#  include <utility>

using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::detail::CloseListener;
using plait::asyncio::detail::Connection;
using plait::asyncio::detail::StreamAccess;
using support::arrived_at;
using support::feed;
using support::pattern;
using support::socket_ends;
using support::StreamEnds;
namespace aio = plait::asyncio;

namespace {

class CloseCount final : public CloseListener {
public:
    void on_closed() noexcept override { ++count; }
    int count = 0;
};

}  // namespace

TEST_CASE("a connection that had less to give than it was asked for does not ask again before the system says so") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        Connection& connection = StreamAccess::connection(ends.reader);
        CHECK_FALSE(connection.receive());  // asked, and found nothing
        feed(ends.peer, "one");
        CHECK_FALSE(connection.receive());  // not asked
        const std::string first = co_await ends.reader.read(2);
        CHECK(first == "on");
        feed(ends.peer, "two");
        CHECK_FALSE(connection.receive());
        const std::string second = co_await ends.reader.read(10);
        CHECK(second == "e");
        CHECK_FALSE(connection.receive());
        const std::string third = co_await ends.reader.read(10);
        CHECK(third == "two");
    });
}

TEST_CASE("a connection receives into memory that is given, and keeps what is too much for it") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        Connection& connection = StreamAccess::connection(ends.reader);
        feed(ends.peer, "hello");
        std::array<char, 2> room{};
        std::size_t count = 0;
        CHECK(connection.receive_into(room, count));
        CHECK(std::string(room.data(), count) == "he");
        CHECK(connection.source().received().view() == "llo");
        CHECK_FALSE(connection.receive_into(room, count));
        co_return;
    });
}

TEST_CASE("a limit of nothing is refused, and the handle is closed") {
    aio::run([]() -> Coroutine<void> {
        CHECK_THROWS_AS(socket_ends(0), std::invalid_argument);
        co_return;
    });
}

TEST_CASE("a close listener is told once, whatever closes the connection") {
    CloseCount closed;
    const auto open = [&closed]() {
        StreamEnds ends = socket_ends();
        StreamAccess::connection(ends.writer).set_close_listener(&closed);
        return ends;
    };
    std::optional<EventLoop> loop;
    loop.emplace();
    StreamEnds left;
    const auto close_all = [&]() -> Coroutine<void> {
        StreamEnds ends = open();
        ends.writer.close();
        CHECK(closed.count == 1);
        ends.writer.abort();
        ends.reader = {};
        ends.writer = {};
        CHECK(closed.count == 1);
        ends = open();
        ends.writer.abort();
        CHECK(closed.count == 2);
        ends = open();
        ends.reader = {};
        ends.writer = {};
        CHECK(closed.count == 3);
        ends = open();
        ends.writer.write(pattern(1024 * 1024));
        ends.reader = {};
        ends.writer = {};
        CHECK(closed.count == 3);
        while (!arrived_at(ends.peer).ended) co_await support::settle();
        CHECK(closed.count == 4);
        ends = open();
        StreamAccess::connection(ends.writer).set_close_listener(nullptr);
        ends.writer.close();
        CHECK(closed.count == 4);
        left = open();
    };
    loop->run_until_complete(close_all());
    CHECK(closed.count == 4);
    loop.reset();
    CHECK(closed.count == 5);
}
#endif
