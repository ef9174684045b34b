// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/streams.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/os/handle.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace support {

/// A stream of the running loop, and the other end of it in the test's own hands: a handle that does not block.
struct StreamEnds {
    plait::asyncio::StreamReader reader;
    plait::asyncio::StreamWriter writer;
    plait::os::Handle peer;
};

inline StreamEnds stream_over(plait::os::Handle handle, plait::os::Handle peer, plait::asyncio::detail::StreamKind kind,
                              std::size_t limit) {
    using namespace plait::asyncio::detail;
    auto [reader, writer] = make_streams(Reactor::of_running_loop(), std::move(handle), kind, limit);
    return {std::move(reader), std::move(writer), std::move(peer)};
}

inline void check_call(bool good, const char* call) {
    if (!good) throw std::system_error(errno, std::system_category(), call);
}

inline constexpr std::size_t usual_limit = plait::asyncio::detail::default_stream_limit;

inline void set_send_buffer(plait::os::NativeHandle handle, int size) {
    check_call(::setsockopt(handle, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0, "setsockopt");
}

inline StreamEnds socket_ends(std::size_t limit = usual_limit) {
    int ends[2];
    check_call(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "socketpair");
    for (const int end : ends) set_send_buffer(end, 100'000);  // whatever is usual on this machine
    return stream_over(plait::os::Handle{ends[0]}, plait::os::Handle{ends[1]},
                       plait::asyncio::detail::StreamKind::socket, limit);
}

/// Two streams that are each other's peers.
inline std::pair<StreamEnds, StreamEnds> stream_pair() {
    StreamEnds first = socket_ends();
    StreamEnds second = stream_over(std::move(first.peer), plait::os::Handle{},
                                    plait::asyncio::detail::StreamKind::socket, usual_limit);
    return {std::move(first), std::move(second)};
}

/// By TCP, which knows of resets.
inline StreamEnds tcp_ends() {
    const auto make = [] { return plait::os::Handle{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}; };
    const plait::os::Handle listener = make();
    plait::os::Handle peer = make();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    check_call(::bind(listener.get(), generic, size) == 0, "bind");
    check_call(::listen(listener.get(), 1) == 0, "listen");
    check_call(::getsockname(listener.get(), generic, &size) == 0, "getsockname");
    check_call(::connect(peer.get(), generic, size) == 0, "connect");
    plait::os::Handle accepted{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    check_call(static_cast<bool>(accepted), "accept4");
    check_call(::fcntl(peer.get(), F_SETFL, O_NONBLOCK) == 0, "fcntl");
    return stream_over(std::move(accepted), std::move(peer), plait::asyncio::detail::StreamKind::socket, usual_limit);
}

enum class PipeEnd { reading, writing };

/// A pipe, of which the stream has that end.
inline StreamEnds pipe_ends(PipeEnd end) {
    int ends[2];
    check_call(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
    plait::os::Handle reading{ends[0]};
    plait::os::Handle writing{ends[1]};
    using plait::asyncio::detail::StreamKind;
    if (end == PipeEnd::reading)
        return stream_over(std::move(reading), std::move(writing), StreamKind::reading_pipe, usual_limit);
    return stream_over(std::move(writing), std::move(reading), StreamKind::writing_pipe, usual_limit);
}

/// Writes all of it, which there has to be room for.
inline void feed(const plait::os::Handle& peer, std::string_view bytes) {
    const ssize_t written = ::write(peer.get(), bytes.data(), bytes.size());
    check_call(written >= 0, "write");
    if (static_cast<std::size_t>(written) != bytes.size()) throw std::runtime_error("there was no room to feed all");
}

/// What has arrived, without waiting; `ended` where the end has.
struct Arrived {
    std::string bytes;
    bool ended = false;
};
inline Arrived arrived_at(const plait::os::Handle& peer, std::size_t most = SIZE_MAX) {
    Arrived arrived;
    std::string room(64 * 1024, '\0');
    while (arrived.bytes.size() < most) {
        const std::size_t wanted = (std::min)(room.size(), most - arrived.bytes.size());
        const ssize_t count = ::read(peer.get(), room.data(), wanted);
        if (count < 0 && errno == EAGAIN) break;
        // A local socket says so where its peer closed and left something unread.
        arrived.ended = count == 0 || (count < 0 && errno == ECONNRESET);
        if (arrived.ended) break;
        check_call(count >= 0, "read");
        arrived.bytes.append(room.data(), static_cast<std::size_t>(count));
    }
    return arrived;
}

/// Closes it so that TCP says "reset" and not "end".
inline void reset_connection(plait::os::Handle& peer) {
    const linger at_once{1, 0};
    check_call(::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0, "setsockopt");
    peer.reset();
}

inline plait::asyncio::Coroutine<void> settle() {
    for (int i = 0; i < 40; ++i) co_await plait::asyncio::sleep(std::chrono::seconds{0});
}

/// Bytes that tell where they belong.
inline std::string pattern(std::size_t size, std::size_t from = 0) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((from + i) * 31 % 251);
    return bytes;
}

/// Awaits what is to throw an `E`, and gives its text; "nothing" where it did not.
template <class E, class A>
plait::asyncio::Coroutine<std::string> text_of(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const E& error) {
        co_return error.what();
    }
    co_return "nothing";
}
/// The same for a failed system call, and gives its code.
template <class A>
plait::asyncio::Coroutine<int> code_of(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const std::system_error& error) {
        co_return error.code().value();
    }
    co_return 0;
}

}  // namespace support
