// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/address.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/readiness.hpp>
#include <plait/asyncio/resolve.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future_state.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/socket.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

/// Where a DatagramEndpoint is, and with whom it speaks.
struct DatagramOptions {
    /// Where it receives; empty for every interface.
    std::string_view local_host = {};
    /// 0 for one that is free.
    int local_port = 0;
    /// The only one with whom it speaks; empty for anyone.
    std::string_view remote_host = {};
    int remote_port = 0;
    /// Several endpoints may have the same port, each with this option; the system divides what comes among them.
    bool reuse_port = false;
    /// Lets it send to broadcast addresses.
    bool allow_broadcast = false;
};

/// What `receive` gives.
struct Datagram {
    Datagram(std::string bytes, Address from) noexcept : data{std::move(bytes)}, sender{from} {}

    std::string data;
    Address sender;
};

namespace detail {

/// The socket of an endpoint, for its handles and for calls that wait.
class DatagramState final : public ReactorObject, public FrameAllocated {
public:
    DatagramState(Reactor& reactor, os::Handle socket, bool connected) noexcept
        : reactor_{reactor}, socket_{std::move(socket)}, connected_{connected} {
        join(reactor);
    }

    void add_owner() noexcept { ++owners_; }
    void drop_owner() noexcept {
        if (--owners_ == 0) delete this;
    }

    [[nodiscard]] bool is_closed() const noexcept { return !socket_; }
    [[nodiscard]] const os::Handle& socket() const noexcept { return socket_; }
    void close() noexcept {
        if (is_closed()) return;
        reactor_.forget(socket_.get());
        socket_.reset();
    }
    /// Throws what a datagram sent before met, once.
    bool try_receive(std::string& data, os::SocketAddress& sender) {
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
        return os::receive_datagram(socket_, reactor_.scratch(), data, sender);
    }
    bool try_send(std::span<const std::byte> data, const os::SocketAddress& receiver);

    /// Says that a task waits to receive, for a scope.
    class Receiving {
    public:
        explicit Receiving(DatagramState& state) : state_{state} {
            if (state.receiving_)
                throw UsageError("another task receives from this DatagramEndpoint already: give one task that job");
            state.receiving_ = true;
        }
        Receiving(const Receiving&) = delete;
        Receiving& operator=(const Receiving&) = delete;
        ~Receiving() { state_.receiving_ = false; }

    private:
        DatagramState& state_;
    };

    /// Whether the running task has received or sent so much in its present turn that it is for others to run.
    [[nodiscard]] bool turn_is_over() {
        constexpr unsigned most_in_turn = 32;
        if (is_closed()) return false;
        if (reactor_.is_left())
            throw UsageError(
                "this DatagramEndpoint was copied by a fork, and belongs to the parent's event loop alone");
        const std::uint64_t turn = reactor_.loop().turns;
        if (std::exchange(turn_, turn) != turn) used_in_turn_ = 0;
        return ++used_in_turn_ > most_in_turn;
    }

private:
    ~DatagramState() { close(); }
    void on_loop_close() noexcept override { socket_.reset(); }

    Reactor& reactor_;  // alive while the socket is open
    os::Handle socket_;
    std::size_t owners_ = 1;
    std::exception_ptr error_;
    bool connected_;
    bool receiving_ = false;
    unsigned used_in_turn_ = 0;
    std::uint64_t turn_ = 0;
};

using DatagramPointer = plait::detail::StatePointer<DatagramState>;

struct CreateDatagramEndpoint;

}  // namespace detail

/// A UDP socket: sends and receives datagrams, each of which comes whole, perhaps twice or never.
///
///     DatagramEndpoint endpoint = co_await create_datagram_endpoint({.local_host = "127.0.0.1", .local_port = 9000});
///     for (;;) {
///         Datagram datagram = co_await endpoint.receive();
///         co_await endpoint.send(datagram.data, datagram.sender);
///     }
///
/// Python: the transport and protocol of loop.create_datagram_endpoint. Where nothing may be lost use `open_connection`.
/// Threads: from its loop's only.
/// Lifetime: copies name the same socket, which closes with the last of them, or by `close`; at the latest with its loop.
class DatagramEndpoint {
public:
    /// A handle of no socket, to be assigned to.
    DatagramEndpoint() noexcept = default;

    /// Waits for a datagram. One task at a time receives.
    ///
    /// Cancel: loses no datagram.
    /// Throws: EndOfStream once it is closed; std::system_error, from an endpoint with a remote, where that does not
    /// receive what it was sent (ECONNREFUSED); UsageError where another task receives.
    Coroutine<Datagram> receive() const { return receive_from(state()); }
    /// Hands a datagram to the system, waiting while that has no room. To `receiver`, or to the remote.
    ///
    /// Throws: std::system_error where it cannot be sent: it is longer than a datagram can be (65507 bytes, of IPv4), or
    /// there is no way to the receiver; UsageError once it is closed, or where there is nobody to send to.
    Coroutine<void> send(std::string_view data) const {
        return send_to(state(), std::string{data}, os::SocketAddress{});
    }
    Coroutine<void> send(std::string_view data, const Address& receiver) const {
        if (!receiver) throw UsageError("DatagramEndpoint::send: the Address is none");
        return send_to(state(), std::string{data}, detail::AddressAccess::native(receiver));
    }

    /// Where it receives; none once it is closed.
    Address local_address() const { return detail::AddressAccess::address(os::local_address(state()->socket().get())); }
    /// The only one with whom it speaks; none where that may be anyone.
    Address remote_address() const { return detail::AddressAccess::address(os::peer_address(state()->socket().get())); }
    int port() const { return local_address().port(); }

    /// Who waits to receive is told by EndOfStream. Twice is fine.
    void close() const { state()->close(); }
    bool is_closed() const { return state()->is_closed(); }

private:
    friend struct detail::CreateDatagramEndpoint;
    explicit DatagramEndpoint(detail::DatagramPointer of) noexcept : state_{std::move(of)} {}
    const detail::DatagramPointer& state() const {
        if (!state_)
            throw UsageError("this DatagramEndpoint names no socket: it was default-constructed or moved from");
        return state_;
    }
    static Coroutine<Datagram> receive_from(detail::DatagramPointer state);
    static Coroutine<void> send_to(detail::DatagramPointer state, std::string data, os::SocketAddress receiver);

    detail::DatagramPointer state_;
};

inline bool detail::DatagramState::try_send(std::span<const std::byte> data, const os::SocketAddress& receiver) {
    if (is_closed()) throw UsageError("this DatagramEndpoint is closed");
    if (!connected_ && receiver.family() == os::SocketFamily::none)
        throw UsageError("DatagramEndpoint::send: say to whom, for this endpoint has no remote");
    try {
        return os::send_datagram(socket_, data, receiver);
    } catch (const std::system_error& error) {
        // The system tells whoever calls next of a datagram sent before that was refused: that is for who receives.
        if (!connected_ || error.code() != std::errc::connection_refused) throw;
        error_ = std::current_exception();
    }
    reactor_.forget(socket_.get());  // who waits there looks again
    return os::send_datagram(socket_, data, receiver);
}

inline Coroutine<Datagram> DatagramEndpoint::receive_from(detail::DatagramPointer state) {
    using detail::Direction;
    const detail::DatagramState::Receiving receiving{*state};
    std::string data;
    os::SocketAddress sender;
    for (;;) {
        if (state->is_closed()) throw EndOfStream("this DatagramEndpoint is closed");
        if (!state->turn_is_over() && state->try_receive(data, sender)) break;
        co_await detail::Readiness<Direction::read, detail::Whose::ours>{state->socket().get()};
    }
    co_return Datagram{std::move(data), detail::AddressAccess::address(sender)};
}

inline Coroutine<void> DatagramEndpoint::send_to(detail::DatagramPointer state, std::string data,
                                                 os::SocketAddress receiver) {
    using detail::Direction;
    while (state->turn_is_over() || !state->try_send(std::as_bytes(std::span{data}), receiver))
        co_await detail::Readiness<Direction::write, detail::Whose::ours>{state->socket().get()};
}

namespace detail {

struct CreateDatagramEndpoint {
    /// Makes a UDP socket: of IPv4, unless a host says otherwise, and at a port that is free, unless one is given.
    ///
    ///     DatagramEndpoint client = co_await create_datagram_endpoint({.remote_host = "::1", .remote_port = 9000});
    ///
    /// Python: loop.create_datagram_endpoint. Names are looked up on a thread.
    /// Throws: std::system_error where a name does not resolve, the port is taken, or the remote cannot be reached from
    /// here; std::invalid_argument for a port that is none.
    Coroutine<DatagramEndpoint> operator()(DatagramOptions options = {}) const {
        const Flags flags{options.reuse_port, options.allow_broadcast};
        return make(std::string{options.local_host}, checked_port(options.local_port), std::string{options.remote_host},
                    checked_port(options.remote_port), flags);
    }

private:
    struct Flags {
        bool reuse_port;
        bool allow_broadcast;
    };

    static Coroutine<DatagramEndpoint> make(std::string local_host, std::uint16_t local_port, std::string remote_host,
                                            std::uint16_t remote_port, Flags flags) {
        // One of none where anything will do.
        std::vector<os::SocketAddress> locals(1);
        std::vector<os::SocketAddress> remotes(1);
        if (!local_host.empty()) locals = co_await addresses_of(local_host, local_port);
        if (!remote_host.empty()) remotes = co_await addresses_of(remote_host, remote_port);
        std::exception_ptr error;
        for (const os::SocketAddress& remote : remotes)
            for (const os::SocketAddress& local : locals) {
                if (local.family() != remote.family() && !local_host.empty() && !remote_host.empty()) continue;
                try {
                    co_return endpoint_at(local, local_port, remote, flags);
                } catch (const std::system_error&) {
                    error = std::current_exception();
                }
            }
        if (!error)
            throw std::invalid_argument("create_datagram_endpoint: " + local_host + " and " + remote_host +
                                        " are not both of IPv4, or of IPv6");
        std::rethrow_exception(error);
    }
    static DatagramEndpoint endpoint_at(os::SocketAddress local, std::uint16_t local_port,
                                        const os::SocketAddress& remote, Flags flags) {
        const bool connected = remote.family() != os::SocketFamily::none;
        if (local.family() == os::SocketFamily::none)
            local = os::any_address(connected ? remote.family() : os::SocketFamily::ipv4, local_port);
        os::Handle socket = os::datagram_socket(local.family());
        if (flags.reuse_port) os::share_port(socket);
        if (flags.allow_broadcast) os::allow_broadcast(socket);
        os::bind(socket, local);
        if (connected) static_cast<void>(os::connect(socket, remote));
        Reactor& reactor = Reactor::of_running_loop();
        return DatagramEndpoint{DatagramPointer{new DatagramState{reactor, std::move(socket), connected}}};
    }
};

}  // namespace detail

inline constexpr detail::CreateDatagramEndpoint create_datagram_endpoint{};

}  // namespace plait::inline PLAIT_ABI::asyncio
