// SPDX-License-Identifier: MIT

// Reads that are given up: cancelled, or destroyed with their loop; and a read's share of its loop.

#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/readiness.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/sleep.hpp>
#  include <plait/asyncio/stream_reader.hpp>
#  include <plait/asyncio/wait_for.hpp>
#  include <plait/core/error.hpp>

#  include "asyncio/stream_ends.hpp"
#  include "support/catch.hpp"

#  include <fcntl.h>

#  include <array>
#  include <chrono>
#  include <cstddef>
#  include <string>
#  include <utility>
#  include <vector>

using namespace std::chrono_literals;
using plait::TimeoutError;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::StreamReader;
using plait::asyncio::Task;
using plait::asyncio::detail::StreamAccess;
using support::feed;
using support::pattern;
using support::settle;
using support::socket_ends;
using support::StreamEnds;
namespace aio = plait::asyncio;

namespace {

std::array<char, 4> room;

Coroutine<void> read_all(StreamReader reader) { co_await reader.read(); }
Coroutine<void> read_some(StreamReader reader) { co_await reader.read(2); }
Coroutine<void> read_exactly(StreamReader reader) { co_await reader.readexactly(8); }
Coroutine<void> read_line(StreamReader reader) { co_await reader.readline(); }
Coroutine<void> read_into(StreamReader reader) { co_await reader.readinto(room); }

constexpr std::array<Coroutine<void> (*)(StreamReader), 5> reads{read_all, read_some, read_exactly, read_line,
                                                                 read_into};

bool waits_for_more(Coroutine<void> (*read)(StreamReader)) {
    return read == read_all || read == read_exactly || read == read_line;
}

}  // namespace

TEST_CASE("a read that is cancelled while it waits loses no byte") {
    aio::run([]() -> Coroutine<void> {
        for (const auto read : reads) {
            const StreamEnds ends = socket_ends();
            const std::string before = waits_for_more(read) ? "1234" : "";
            feed(ends.peer, before);
            Task<void> task = aio::create_task(read(ends.reader));
            co_await settle();
            REQUIRE(ends.reader.waiting() == 1);
            task.cancel();
            co_await settle();
            CHECK(task.cancelled());
            CHECK(ends.reader.waiting() == 0);
            feed(ends.peer, "end");
            const std::string kept = co_await ends.reader.readexactly(before.size() + 3);
            CHECK(kept == before + "end");
        }
    });
}

TEST_CASE("a read that is cancelled when its data have come loses no byte") {
    aio::run([]() -> Coroutine<void> {
        for (const auto read : reads) {
            const StreamEnds ends = socket_ends();
            const std::string before = waits_for_more(read) ? "1234" : "";
            feed(ends.peer, before);
            Task<void> task;
            // Listens to the same handle, and first: so its turn is between the reader's being told and the reader's turn.
            const auto cancel = [&]() -> Coroutine<void> {
                co_await aio::wait_readable(StreamAccess::connection(ends.reader).native_handle());
                task.cancel();
            };
            auto canceller = aio::create_task(cancel);
            task = aio::create_task(read(ends.reader));
            co_await aio::sleep(0s);
            REQUIRE(ends.reader.waiting() == 1);
            feed(ends.peer, "5678\n");
            co_await canceller;
            co_await settle();
            CHECK(task.cancelled());
            const std::string kept = co_await ends.reader.readexactly(before.size() + 5);
            CHECK(kept == before + "5678\n");
        }
    });
}

TEST_CASE("reads that time out again and again lose no byte") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = socket_ends();
        const std::string sent = pattern(2'000);
        std::size_t fed = 0;
        std::string got;
        while (got.size() < sent.size()) {
            bool timed_out = false;
            try {
                got += co_await aio::wait_for(ends.reader.readexactly(20), 100us);
            } catch (const TimeoutError&) {
                timed_out = true;
            }
            if (timed_out && fed < sent.size()) feed(ends.peer, {&sent[fed++], 1});
        }
        CHECK(got == sent);
    });
}

TEST_CASE("a read is destroyed with its loop wherever it stands") {
    for (const auto read : reads)
        for (int passes = 0; passes < 6; ++passes) {
            plait::os::Handle peer;
            EventLoop loop;
            loop.set_exception_handler([](EventLoop&, const aio::ErrorContext&) {});
            loop.run_until_complete([](plait::os::Handle& other, auto body) -> Coroutine<void> {
                StreamEnds ends = socket_ends();
                static_cast<void>(aio::create_task(body(ends.reader)));
                other = std::move(ends.peer);
                co_return;
            }(peer, read));
            for (int pass = 0; pass < passes; ++pass) {
                if (pass == 2) feed(peer, "123");
                loop.call_soon([&loop] { loop.stop(); });
                loop.run_forever();
            }
            loop.close();
            CHECK(support::arrived_at(peer).ended);
        }
}

TEST_CASE("who reads what always is there lets other tasks run") {
    aio::run([]() -> Coroutine<void> {
        const StreamEnds ends = support::pipe_ends(support::PipeEnd::reading);
        const int capacity = ::fcntl(ends.peer.get(), F_SETPIPE_SZ, 1024 * 1024);
        if (capacity < 1024 * 1024) co_return;  // the system does not allow that much
        feed(ends.peer, std::string(1024 * 1024, 'x'));
        int turns = 0;
        auto other = aio::create_task([&turns]() -> Coroutine<void> {
            for (;; ++turns) co_await aio::sleep(0s);
        });
        const std::string all = co_await ends.reader.readexactly(1024 * 1024);
        CHECK(all.size() == 1024 * 1024);
        CHECK(turns > 0);
        other.cancel();
    });
}
#endif
