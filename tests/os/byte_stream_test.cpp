// SPDX-License-Identifier: MIT
#include <plait/os/byte_stream.hpp>

#if __has_include(<sys/socket.h>)
#  include "support/catch.hpp"

#  include <fcntl.h>
#  include <signal.h>
#  include <sys/socket.h>
#  include <unistd.h>

#  include <array>
#  include <cerrno>
#  include <span>
#  include <string>

namespace os = plait::os;

namespace {

struct Ends {
    os::Handle first;
    os::Handle second;
};

Ends socket_pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    return {os::Handle{ends[0]}, os::Handle{ends[1]}};
}

/// The reading end first.
Ends pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    return {os::Handle{ends[0]}, os::Handle{ends[1]}};
}

bool says(os::Flow flow, std::size_t count, int error, bool would_block) {
    return flow.count == count && flow.error == error && flow.would_block == would_block;
}

}  // namespace

TEST_CASE("bytes go through a socket, and do not wait for each other") {
    Ends ends = socket_pair();
    std::array<char, 8> room{};
    CHECK(says(os::receive_bytes(ends.second.get(), room), 0, 0, true));
    CHECK(says(os::send_bytes(ends.first.get(), "hello"), 5, 0, false));
    CHECK(says(os::receive_bytes(ends.second.get(), std::span{room}.first(3)), 3, 0, false));
    CHECK(std::string(room.data(), 3) == "hel");
    const std::string much(1024 * 1024, 'x');
    const os::Flow some = os::send_bytes(ends.first.get(), much);
    CHECK(some.count != 0);
    CHECK(some.count < much.size());
    CHECK(says(os::send_bytes(ends.first.get(), much), 0, 0, true));
}

TEST_CASE("a socket's end is no bytes, and its error is told") {
    Ends ends = socket_pair();
    std::array<char, 8> room{};
    os::end_sending(ends.first.get());
    CHECK(says(os::receive_bytes(ends.second.get(), room), 0, 0, false));
    CHECK(says(os::send_bytes(ends.second.get(), "x"), 1, 0, false));
    ends.second.reset();
    CHECK(says(os::send_bytes(ends.first.get(), "x"), 0, EPIPE, false));
    CHECK(says(os::receive_bytes(os::Handle::none, room), 0, EBADF, false));
}

TEST_CASE("bytes go through a pipe, whose end is no bytes, and whose loss is an error and no signal") {
    Ends ends = pipe();
    std::array<char, 8> room{};
    CHECK(says(os::read_bytes(ends.first.get(), room), 0, 0, true));
    CHECK(says(os::write_bytes(ends.second.get(), "hello"), 5, 0, false));
    CHECK(says(os::read_bytes(ends.first.get(), room), 5, 0, false));
    Ends other = pipe();
    other.second.reset();
    CHECK(says(os::read_bytes(other.first.get(), room), 0, 0, false));
    const std::string much(1024 * 1024, 'x');
    CHECK(os::write_bytes(ends.second.get(), much).count < much.size());
    CHECK(says(os::write_bytes(ends.second.get(), much), 0, 0, true));
    ends.first.reset();
    CHECK(says(os::write_bytes(ends.second.get(), "x"), 0, EPIPE, false));
    sigset_t pending;
    REQUIRE(::sigpending(&pending) == 0);
    CHECK(::sigismember(&pending, SIGPIPE) == 0);
}
#endif
