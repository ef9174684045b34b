// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/posix/socket_address.hpp>
#include <plait/os/system_error.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::os {

namespace detail {

using namespace plait::detail;

inline Handle make_socket(int family, int kind) {
    Handle made = above_standard_streams(::socket(family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made) throw_system_error("socket");
    return made;
}

inline void set_option(const Handle& socket, int level, int option, const char* name) {
    const int on = 1;
    if (::setsockopt(socket.get(), level, option, &on, sizeof on) != 0)
        throw_system_error(std::string{"setsockopt("} + name + ")");
}

inline int native_family(SocketFamily family) noexcept {
    return family == SocketFamily::ipv4 ? AF_INET : family == SocketFamily::ipv6 ? AF_INET6 : AF_UNIX;
}

template <class Call>
SocketAddress address_by(Call call, NativeHandle socket) noexcept {
    sockaddr_storage address;
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    return call(socket, generic, &size) == 0 ? SocketAddress{generic, size} : SocketAddress{};
}

}  // namespace detail

inline Handle stream_socket(SocketFamily family) {
    return detail::make_socket(detail::native_family(family), SOCK_STREAM);
}
inline Handle datagram_socket(SocketFamily family) {
    return detail::make_socket(detail::native_family(family), SOCK_DGRAM);
}

/// Sends small pieces at once, without waiting for more. Nothing on what is not TCP.
inline void send_at_once(const Handle& socket) noexcept {
    const int on = 1;
    static_cast<void>(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}
inline void allow_broadcast(const Handle& socket) {
    detail::set_option(socket, SOL_SOCKET, SO_BROADCAST, "SO_BROADCAST");
}
/// Several sockets with one address, among which the kernel divides what comes.
inline void share_port(const Handle& socket) { detail::set_option(socket, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"); }

inline SocketAddress local_address(NativeHandle socket) noexcept { return detail::address_by(::getsockname, socket); }
inline SocketAddress peer_address(NativeHandle socket) noexcept { return detail::address_by(::getpeername, socket); }

inline void bind(const Handle& socket, const SocketAddress& address) {
    if (::bind(socket.get(), address.get(), address.size()) == 0) return;
    const int error = errno;
    throw_system_error("bind(" + address.to_string() + ")", error);
}

/// A socket to listen at `address`: of IPv6 for that alone, for IPv4 has another.
inline Handle bind_stream(const SocketAddress& address, bool reuse_port) {
    Handle socket = stream_socket(address.family());
    // The connections of a server that has ended may keep its port for a minute.
    detail::set_option(socket, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
    if (reuse_port) share_port(socket);
    if (address.family() == SocketFamily::ipv6) detail::set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY");
    os::bind(socket, address);
    return socket;
}

inline void listen(const Handle& socket, int backlog) {
    if (::listen(socket.get(), backlog) != 0) throw_system_error("listen");
}

/// What `connect` began: the connection is there; or comes, and the socket is writable then; or the server's queue is
/// full, and is to be tried again later (of local sockets alone).
enum class Connecting : std::uint8_t { done, under_way, queue_full };

inline Connecting connect(const Handle& socket, const SocketAddress& address) {
    if (::connect(socket.get(), address.get(), address.size()) == 0) return Connecting::done;
    const int error = errno;
    if (error == EINPROGRESS || error == EINTR) return Connecting::under_way;
    if (error == EAGAIN && address.family() == SocketFamily::local) return Connecting::queue_full;
    throw_system_error("connect(" + address.to_string() + ")", error);
}

/// The error that a socket met in the background, or 0; it is told once.
inline int pending_error(const Handle& socket) noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

/// What `accept` found: a connection; none now; one that has gone before it was taken, so that there may be others; no
/// descriptor or memory for one, which waits; or a listener that is of no use any more.
enum class Accepting : std::uint8_t { accepted, none, gone, exhausted, failed };
struct Accepted {
    Accepting what;
    Handle connection = {};
    int error = 0;  // where it was exhausted or failed
};

inline Accepted accept(const Handle& listener) noexcept {
    Handle connection =
        above_standard_streams(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection) return {Accepting::accepted, std::move(connection)};
    const int error = errno;
    switch (error) {
        case EAGAIN:
            return {Accepting::none};
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return {Accepting::exhausted, {}, error};
        case EBADF:
        case EINVAL:
        case ENOTSOCK:
            return {Accepting::failed, {}, error};
        default:
            return {Accepting::gone};  // Linux tells here what befell the connection: ECONNABORTED, EPROTO, ENETDOWN, …
    }
}

/// To `address`, or where there is none to whom the socket is connected.
inline bool send_datagram(const Handle& socket, std::span<const std::byte> data, const SocketAddress& address) {
    const bool addressed = address.family() != SocketFamily::none;
    for (;;) {
        const ssize_t sent = ::sendto(socket.get(), data.data(), data.size(), MSG_NOSIGNAL,
                                      addressed ? address.get() : nullptr, addressed ? address.size() : 0);
        if (sent >= 0) return true;
        const int error = errno;
        if (error == EAGAIN || error == EWOULDBLOCK) return false;
        if (error != EINTR) throw_system_error(addressed ? "sendto(" + address.to_string() + ")" : "send", error);
    }
}

/// By way of `room`: 64 KiB, which is longer than any datagram of IP.
inline bool receive_datagram(const Handle& socket, std::span<char> room, std::string& data, SocketAddress& sender) {
    for (;;) {
        sockaddr_storage address;
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        const ssize_t received = ::recvfrom(socket.get(), room.data(), room.size(), 0, generic, &size);
        if (received >= 0) {
            data.assign(room.data(), static_cast<std::size_t>(received));
            sender = SocketAddress{generic, size};
            return true;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
        if (errno != EINTR) throw_system_error("recvfrom");
    }
}

/// The file that a bound local socket makes. `remove` takes it away, unless another socket has taken the name.
class LocalName {
public:
    LocalName() noexcept = default;
    explicit LocalName(std::string path) : path_{std::move(path)}, made_{identity_at(path_)} {}

    /// While the socket is still open: so long its number is nobody else's.
    void remove() noexcept {
        if (made_.number != 0 && identity_at(path_) == made_) ::unlink(path_.c_str());
        made_ = {};
    }

private:
    static HandleIdentity identity_at(const std::string& path) noexcept {
        struct ::stat status{};
        if (path.empty() || path.front() == '\0' || ::lstat(path.c_str(), &status) != 0) return {};
        return {status.st_dev, status.st_ino};
    }

    std::string path_;
    HandleIdentity made_;
};

/// A socket to listen at a path. A socket of that name at which nobody listens is replaced.
inline Handle bind_local(const SocketAddress& address) {
    Handle socket = stream_socket(SocketFamily::local);
    if (::bind(socket.get(), address.get(), address.size()) == 0) return socket;
    const int error = errno;
    const std::string path = address.path();
    struct ::stat status{};
    if (error == EADDRINUSE && path.front() != '\0' && ::lstat(path.c_str(), &status) == 0 &&
        S_ISSOCK(status.st_mode)) {
        const Handle visitor = stream_socket(SocketFamily::local);
        if (::connect(visitor.get(), address.get(), address.size()) != 0 && errno == ECONNREFUSED) {
            ::unlink(path.c_str());
            os::bind(socket, address);
            return socket;
        }
    }
    throw_system_error("bind(" + address.to_string() + ")", error);
}

}  // namespace plait::inline PLAIT_ABI::os
