// SPDX-License-Identifier: MIT
#if __has_include(<sys/socket.h>)
#  include <plait/asyncio/detail/byte_source.hpp>

#  include "support/catch.hpp"

#  include <sys/socket.h>
#  include <unistd.h>

#  include <array>
#  include <cerrno>
#  include <cstddef>
#  include <span>
#  include <string>
#  include <string_view>
#  include <system_error>

using plait::asyncio::detail::ByteSource;
using plait::asyncio::detail::StreamKind;
namespace os = plait::os;

namespace {

/// A socket's source, and its peer.
class Ends {
public:
    Ends() {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        handle = os::Handle{ends[0]};
        peer = os::Handle{ends[1]};
    }
    void feed(std::string_view bytes) const {
        REQUIRE(::write(peer.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    }
    bool receive() { return source.receive(handle.get(), scratch); }
    std::string_view received() const { return source.received().view(); }

    ByteSource source{StreamKind::socket};
    os::Handle handle;
    os::Handle peer;
    std::array<char, 8> scratch{};
};

}  // namespace

TEST_CASE("a source that gave less than there was room for does not ask again before the system says so") {
    Ends ends;
    CHECK_FALSE(ends.receive());
    ends.feed("one");
    CHECK_FALSE(ends.receive());
    ends.source.on_ready();
    CHECK(ends.receive());
    ends.feed("two");
    CHECK_FALSE(ends.receive());
    ends.source.on_ready();
    CHECK(ends.receive());
    CHECK(ends.received() == "onetwo");
    CHECK_FALSE(ends.source.ended());
}

TEST_CASE("a source that always has more lets others have their turn now and then") {
    Ends ends;
    ends.feed(std::string(100, 'x'));
    int receives = 0;
    while (ends.receive()) ++receives;
    CHECK(receives == 8);
    CHECK(ends.received().size() == 64);
    ends.source.on_ready();
    CHECK(ends.receive());
}

TEST_CASE("a source's end and its error come after what came before them") {
    Ends ends;
    ends.feed("last");
    ends.peer.reset();
    CHECK(ends.receive());
    CHECK_FALSE(ends.source.ended());
    ends.source.on_ready();
    CHECK(ends.receive());
    CHECK(ends.source.ended());
    CHECK(ends.source.at_end());
    CHECK_NOTHROW(ends.source.throw_if_failed());
    CHECK(ends.received() == "last");
    ends.source.fail(ECONNRESET);
    CHECK(ends.source.ended());
    CHECK_FALSE(ends.source.at_end());
    CHECK_THROWS_AS(ends.source.throw_if_failed(), std::system_error);
    CHECK(ends.received() == "last");

    Ends none;
    none.handle.reset();
    CHECK(none.receive());
    CHECK(none.source.error() == EBADF);
}

TEST_CASE("a source receives into a room, and keeps what is too much for it") {
    Ends ends;
    std::array<char, 4> small_room{};
    std::array<char, 100> large_room{};
    std::size_t count = 0;
    ends.feed("abcdef");
    CHECK(ends.source.receive_into(ends.handle.get(), small_room, count, ends.scratch));
    CHECK(std::string_view(small_room.data(), count) == "abcd");
    CHECK(ends.received() == "ef");
    ends.source.received().clear();
    ends.source.on_ready();
    ends.feed("more than fits in the scratch memory");
    CHECK(ends.source.receive_into(ends.handle.get(), large_room, count, ends.scratch));
    CHECK(std::string_view(large_room.data(), count) == "more than fits in the scratch memory");
    CHECK(ends.received().empty());
}
#endif
