// SPDX-License-Identifier: MIT
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/detail/streams.hpp>
#  include <plait/asyncio/run.hpp>

#  include "asyncio/stream_ends.hpp"
#  include "support/catch.hpp"

#  include <fcntl.h>

using plait::asyncio::Coroutine;
using plait::asyncio::detail::default_stream_limit;
using plait::asyncio::detail::StreamAccess;
namespace aio = plait::asyncio;

TEST_CASE("both sides of a stream are handles of one connection, which owns what they were made of") {
    aio::run([]() -> Coroutine<void> {
        support::StreamEnds ends = support::socket_ends();
        auto& connection = StreamAccess::connection(ends.reader);
        CHECK(&StreamAccess::connection(ends.writer) == &connection);
        CHECK(ends.reader.limit() == default_stream_limit);
        const plait::os::NativeHandle handle = connection.native_handle();
        ends.writer = {};
        CHECK(::fcntl(handle, F_GETFD) != -1);
        ends.writer = StreamAccess::writer(connection);
        ends.reader = {};
        ends.writer.write("x");
        CHECK(support::arrived_at(ends.peer).bytes == "x");
        ends.reader = StreamAccess::reader(connection);
        ends.reader = {};
        ends.writer = {};
        CHECK(::fcntl(handle, F_GETFD) == -1);
        co_return;
    });
}
#endif
