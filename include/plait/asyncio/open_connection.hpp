// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/address.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/connect.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/streams.hpp>
#include <plait/asyncio/resolve.hpp>
#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/socket.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

/// How a connection differs from the ordinary one.
struct ConnectOptions {
    /// How long a line of its StreamReader may be.
    std::size_t limit = detail::default_stream_limit;
    /// From where it goes; empty for wherever the system chooses, and 0 for a port that is free.
    std::string_view local_host = {};
    int local_port = 0;
    /// Of a host with several addresses the next is tried when the one before has not answered for so long, and the first
    /// to answer is taken (RFC 8305, which says 250 ms). Otherwise they are tried one after the other.
    Timeout happy_eyeballs_delay = Timeout::never();
};

namespace detail {

struct OpenConnectionFunction {
    /// Connects to a TCP server, and gives both sides of the connection.
    ///
    ///     auto [reader, writer] = co_await open_connection("example.org", 80);
    ///     writer.write("GET / HTTP/1.0\r\n\r\n");
    ///     std::string page = co_await reader.read();
    ///
    /// Python: asyncio.open_connection. A name is looked up on a thread, and its addresses are tried in turn. Small writes
    /// are sent at once (TCP_NODELAY). A time limit: wait_for.
    /// Cancel: closes what was being opened.
    /// Throws: std::system_error with the place in its text: ECONNREFUSED, ETIMEDOUT, …, of the address that was tried
    /// last, and of `resolver_category()` where the name has none; std::invalid_argument for a port that is none, and
    /// for a local host of another family than the host's.
    Coroutine<std::pair<StreamReader, StreamWriter>> operator()(std::string_view host, int port,
                                                                ConnectOptions options = {}) const {
        return open(std::string{host}, checked_port(port), checked_stream_limit(options.limit),
                    std::string{options.local_host}, checked_port(options.local_port), options.happy_eyeballs_delay);
    }

private:
    static void keep_families_of(const std::vector<os::SocketAddress>& locals,
                                 std::vector<os::SocketAddress>& addresses) {
        std::erase_if(addresses, [&](const os::SocketAddress& address) {
            return std::none_of(locals.begin(), locals.end(),
                                [&](const os::SocketAddress& local) { return local.family() == address.family(); });
        });
    }
    static Coroutine<std::pair<StreamReader, StreamWriter>> open(std::string host, std::uint16_t port,
                                                                 std::size_t limit, std::string local_host,
                                                                 std::uint16_t local_port, Timeout delay) {
        std::vector<os::SocketAddress> addresses = co_await addresses_of(host, port);
        std::vector<os::SocketAddress> locals;
        if (!local_host.empty()) {
            locals = co_await addresses_of(local_host, local_port);
            keep_families_of(locals, addresses);
            if (addresses.empty())
                throw std::invalid_argument("open_connection: from " + local_host + " there is no way to " + host +
                                            ": one is of IPv4 and the other of IPv6");
        } else if (local_port != 0) {
            locals.push_back(os::any_address(os::SocketFamily::ipv4, local_port));
            locals.push_back(os::any_address(os::SocketFamily::ipv6, local_port));
        }
        if (!delay.is_never()) interleave_families(addresses);
        std::string place = host.find(':') == std::string::npos ? host : "[" + host + "]";
        place += ":" + std::to_string(port);
        os::Handle socket = co_await connect_first(std::move(addresses), std::move(locals), std::move(place), delay);
        os::send_at_once(socket);
        co_return make_streams(Reactor::of_running_loop(), std::move(socket), StreamKind::socket, limit);
    }
};

struct OpenUnixConnectionFunction {
    /// Connects to a server's UNIX socket: of a path, or on Linux of an abstract name, which begins with a zero. While the
    /// server's queue is full it is tried again.
    ///
    /// Python: asyncio.open_unix_connection. Cancel: closes what was being opened.
    /// Throws: std::system_error with the path in its text, where there is no such socket (ENOENT) or nobody listens there
    /// (ECONNREFUSED); std::invalid_argument for a path that is none.
    Coroutine<std::pair<StreamReader, StreamWriter>> operator()(std::string_view path,
                                                                std::size_t limit = default_stream_limit) const {
        return open(os::SocketAddress::local(path), checked_stream_limit(limit));
    }

private:
    static Coroutine<std::pair<StreamReader, StreamWriter>> open(os::SocketAddress address, std::size_t limit) {
        os::Handle socket = co_await connect_local(address);
        co_return make_streams(Reactor::of_running_loop(), std::move(socket), StreamKind::socket, limit);
    }
};

}  // namespace detail

inline constexpr detail::OpenConnectionFunction open_connection{};
inline constexpr detail::OpenUnixConnectionFunction open_unix_connection{};

}  // namespace plait::inline PLAIT_ABI::asyncio
