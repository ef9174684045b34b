// SPDX-License-Identifier: MIT
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/detail/stream_read.hpp>
#  include <plait/asyncio/readiness.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/sleep.hpp>

#  include "asyncio/stream_ends.hpp"
#  include "support/catch.hpp"

#  include <chrono>
#  include <cstddef>
#  include <string>
#  include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using plait::asyncio::detail::AtEnd;
using plait::asyncio::detail::ByteSource;
using plait::asyncio::detail::ReadUntil;
using plait::asyncio::detail::StreamAccess;
using plait::asyncio::detail::StreamKind;
using support::feed;
using support::pattern;
using support::settle;
using support::socket_ends;
using support::StreamEnds;
namespace aio = plait::asyncio;

TEST_CASE("what a read into large memory had received goes back when it is cancelled, with what comes after") {
    for (const std::size_t size : {std::size_t{3}, std::size_t{100'000}})
        aio::run(
            [](std::size_t room_size) -> Coroutine<void> {
                const StreamEnds ends = socket_ends();
                std::vector<char> room(room_size);
                Task<std::size_t> task;
                // Its turn comes after the bytes have been received, and before the reader's.
                const auto cancel = [&]() -> Coroutine<void> {
                    co_await aio::wait_readable(StreamAccess::connection(ends.reader).native_handle());
                    CHECK(ends.reader.waiting() == 0);
                    task.cancel();
                };
                auto canceller = aio::create_task(cancel);
                task = aio::create_task(ends.reader.readinto(room));
                co_await aio::sleep(0s);
                REQUIRE(ends.reader.waiting() == 1);
                feed(ends.peer, "abcdef");
                co_await canceller;
                co_await settle();
                CHECK(task.cancelled());
                feed(ends.peer, "gh");
                const std::string kept = co_await ends.reader.readexactly(8);
                CHECK(kept == "abcdefgh");
            },
            size);
}

TEST_CASE("two reads in one expression are one after the other") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        feed(ends.peer, "12");
        const bool right = (co_await ends.reader.read(1)) == "1" && (co_await ends.reader.read(1)) == "2";
        CHECK(right);
    });
}

TEST_CASE("a task is woken when its read has enough, and not before") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        auto& received = StreamAccess::connection(ends.reader).source().received();
        Task<std::string> task = aio::create_task(ends.reader.readexactly(9));
        for (const std::size_t size : {std::size_t{3}, std::size_t{6}}) {
            co_await settle();
            CHECK(received.size() == size - 3);
            feed(ends.peer, "abc");
            while (received.size() != size) co_await aio::sleep(0s);
            CHECK(ends.reader.waiting() == 1);
        }
        feed(ends.peer, "abc");
        const std::string got = co_await task;
        CHECK(got == "abcabcabc");
    });
}

TEST_CASE("a separator is searched for from where the last search ended") {
    ByteSource source{StreamKind::socket};
    ReadUntil until{"xyz", AtEnd::fail, 100};
    CHECK_FALSE(until.is_met(source));
    source.put("x");
    CHECK_FALSE(until.is_met(source));
    source.put("yx");
    CHECK_FALSE(until.is_met(source));
    source.put("yz!");
    CHECK(until.is_met(source));
    CHECK(until.take(source) == "xyxyz");
    CHECK(source.received().view() == "!");
}
#endif
