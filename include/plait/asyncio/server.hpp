// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/address.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/server_places.hpp>
#include <plait/asyncio/detail/server_state.hpp>
#include <plait/asyncio/detail/streams.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/resolve.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future_state.hpp>
#include <plait/os/socket.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

/// How a server differs from the ordinary one.
struct ServerOptions {
    /// How many connections may wait to be accepted; the system may have a limit of its own.
    int backlog = 100;
    /// How long a line of a StreamReader may be.
    std::size_t limit = detail::default_stream_limit;
    /// Several servers may have the same port, each with this option; the system divides the connections among them.
    bool reuse_port = false;
    /// False: it has its port, but takes no connection before `start_serving` or `serve_forever`.
    bool start_serving = true;
};

/// What a server calls for each connection, in a task of its own: with both sides, by value or by reference. Where it
/// returns something to be awaited, that is awaited in the task.
template <class F>
concept ConnectionHandler =
    std::is_invocable_v<F&, StreamReader, StreamWriter> || std::is_invocable_v<F&, StreamReader&, StreamWriter&>;

namespace detail {

struct ServerAccess;

inline const ServerOptions& checked(const ServerOptions& options) {
    if (options.backlog < 1) throw std::invalid_argument("a server's backlog is at least 1");
    static_cast<void>(checked_stream_limit(options.limit));
    return options;
}

}  // namespace detail

/// A server's sockets, which take connections until it is closed.
///
///     Coroutine<void> echo(StreamReader reader, StreamWriter writer) {
///         for (;;) {
///             const std::string data = co_await reader.read(4096);
///             if (data.empty()) break;
///             writer.write(data);
///             co_await writer.drain();
///         }
///     }
///     Server server = co_await start_server(echo, "127.0.0.1", 0);
///     std::cout << "port " << server.port() << '\n';
///     co_await server.serve_forever();
///
/// Python: asyncio.Server. A handle: a copy names the same server, which closes with the last of them, or by `close`; at
/// the latest with its loop.
/// Threads: from its loop's only.
class [[nodiscard("a server closes where its last handle is dropped")]] Server {
public:
    /// A handle of no server, to be assigned to.
    Server() noexcept = default;
    Server(const Server& other) noexcept : state_{other.state_} {
        if (state_ != nullptr) state_->add_handle();
    }
    Server(Server&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    Server& operator=(Server other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~Server() {
        if (state_ != nullptr) state_->drop_handle();
    }

    /// Of the first of its sockets, and of the others where that port was free there too; 0 for a UNIX socket.
    int port() const { return state().addresses().front().port(); }
    /// Where it listens, or did.
    std::vector<Address> addresses() const {
        std::vector<Address> addresses;
        for (const os::SocketAddress& each : state().addresses())
            addresses.push_back(detail::AddressAccess::address(each));
        return addresses;
    }
    /// Whether it takes connections.
    bool is_serving() const { return state().is_serving(); }
    /// Takes connections from now on; nothing where it does already.
    ///
    /// Throws: UsageError once it is closed; std::system_error where the port is taken (by one that shares it).
    void start_serving() const { state().start_serving(); }
    /// Takes connections until it is closed. Any number of tasks may wait so.
    ///
    /// Cancel: closes it, and does not wait for its connections. Throws: as `start_serving`.
    Coroutine<void> serve_forever() const { return serve(Server{state()}); }

    /// Takes no more connections: those who wait to be accepted are refused, those that are accepted go on. A UNIX
    /// socket's file is removed. Twice is fine.
    void close() const { state().close(); }
    /// Closes each connection that it has, as StreamWriter::close does; the server goes on.
    void close_clients() const {
        state().each_connection([](detail::Connection& each) { each.close(); });
    }
    /// The same as StreamWriter::abort does: what is unsent is dropped.
    void abort_clients() const {
        state().each_connection([](detail::Connection& each) { each.abort(); });
    }
    /// Waits until it is closed, and so is each of its connections, and their handlers have ended. Not for a handler.
    ///
    /// Cancel: changes nothing.
    Coroutine<void> wait_closed() const {
        return wait_ended(plait::detail::StatePointer<detail::ServerState>::share(&state()));
    }

    /// How many connections it has; one ends when it is closed and its handler has ended.
    std::size_t connections() const { return state().connections(); }

private:
    friend struct detail::ServerAccess;

    explicit Server(detail::ServerState& of) noexcept : state_{&of} { of.add_handle(); }
    detail::ServerState& state() const {
        if (state_ == nullptr)
            throw UsageError("this Server names no server: it was default-constructed or moved from");
        return *state_;
    }
    static Coroutine<void> serve(Server self) {
        self.start_serving();
        try {
            co_await self.state().closed().wait();
        } catch (const CancelledError&) {
            self.close();
            throw;
        }
    }
    static Coroutine<void> wait_ended(plait::detail::StatePointer<detail::ServerState> state) {
        co_await state->ended().wait();
    }

    detail::ServerState* state_ = nullptr;
};

namespace detail {

/// For the functions that make one.
struct ServerAccess {
    template <class F>
    static Server make(F&& handler, std::vector<ServerPlace> places, ServerOptions options) {
        using State = HandlingServer<std::decay_t<F>>;
        Reactor& reactor = Reactor::of_running_loop();
        const plait::detail::StatePointer<ServerState> state{
            new State{reactor, options.backlog, options.limit, std::forward<F>(handler)}};
        for (ServerPlace& each : places) state->add_socket(std::move(each));
        if (options.start_serving) state->start_serving();
        return Server{*state};
    }
};

struct StartServerFunction {
    /// Listens at a TCP port, and calls `handler(reader, writer)` for each connection, in a task of its own. A host with
    /// several addresses is listened to at each; an empty one is every interface, of IPv4 and IPv6. Port 0 is one that is
    /// free, which `port()` tells.
    ///
    ///     Server server = co_await start_server(echo, "", 8080);
    ///     co_await server.serve_forever();
    ///
    /// Python: asyncio.start_server. An exception that leaves a handler goes to the loop's exception handler, and closes
    /// the connection. Where descriptors run out that is told there too, and connections wait in the system's queue
    /// meanwhile. The handler is kept as long as any of its tasks runs, so a lambda may have captures. (For g++ 12 give such
    /// a lambda a name first, in a line without `co_await`: see the README.)
    /// Throws: std::system_error where the port is taken or may not be had (EADDRINUSE, EACCES), and of
    /// `resolver_category()` where the name has no address; std::invalid_argument for a port or a backlog that is none.
    template <ConnectionHandler F>
    Coroutine<Server> operator()(F handler, std::string_view host, int port, ServerOptions options = {}) const {
        return start(std::move(handler), std::string{host}, checked_port(port), checked(options));
    }

private:
    template <class F>
    static Coroutine<Server> start(F handler, std::string host, std::uint16_t port, ServerOptions options) {
        std::vector<os::SocketAddress> addresses;
        if (host.empty())
            addresses = {os::any_address(os::SocketFamily::ipv4, port), os::any_address(os::SocketFamily::ipv6, port)};
        else
            addresses = co_await addresses_of(host, port);
        co_return ServerAccess::make(std::move(handler), bind_each(addresses, options.reuse_port), options);
    }
};

struct StartUnixServerFunction {
    /// The same at a UNIX socket: of a path, or on Linux of an abstract name, which begins with a zero. A socket at which
    /// nobody listens any more is replaced; the file is removed when the server closes.
    ///
    /// Python: asyncio.start_unix_server. Throws: std::system_error with the path in its text, where a server listens there
    /// or something else is in the way (EADDRINUSE); std::invalid_argument for a path that is none, and for `reuse_port`.
    template <ConnectionHandler F>
    Coroutine<Server> operator()(F handler, std::string_view path, ServerOptions options = {}) const {
        if (options.reuse_port) throw std::invalid_argument("start_unix_server: a UNIX socket has no port to share");
        return start(std::move(handler), os::SocketAddress::local(path), checked(options));
    }

private:
    template <class F>
    static Coroutine<Server> start(F handler, os::SocketAddress address, ServerOptions options) {
        co_return ServerAccess::make(std::move(handler), bind_path(address), options);
    }
};

}  // namespace detail

inline constexpr detail::StartServerFunction start_server{};
inline constexpr detail::StartUnixServerFunction start_unix_server{};

}  // namespace plait::inline PLAIT_ABI::asyncio
