// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/connection.hpp>
#include <plait/asyncio/detail/context_values.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/server_places.hpp>
#include <plait/asyncio/detail/streams.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/timer_wheel.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/socket.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

class ServerState;

/// One connection of a server: until it is closed, and its handler has ended.
class ServerConnection final : private CloseListener, public TaskLink, public FrameAllocated {
public:
    ServerConnection(ServerState& server, Connection& connection) noexcept;

    [[nodiscard]] ServerState& server() const noexcept { return server_; }
    /// Null once it is closed.
    [[nodiscard]] Connection* connection() const noexcept { return connection_; }
    void handler_ended() noexcept;

private:
    ~ServerConnection() = default;
    void on_closed() noexcept override;
    void end() noexcept;

    ServerState& server_;
    Connection* connection_;
    bool handled_ = false;
};

/// Lies in the frame of a handler's task: says when that has ended, whether or not it ever began.
class HandlerTurn {
public:
    explicit HandlerTurn(ServerConnection& connection) noexcept : connection_{&connection} {}
    HandlerTurn(HandlerTurn&& other) noexcept : connection_{std::exchange(other.connection_, nullptr)} {}
    HandlerTurn& operator=(HandlerTurn&&) = delete;
    ~HandlerTurn() {
        if (connection_ != nullptr) connection_->handler_ended();
    }

    ServerConnection& operator*() const noexcept { return *connection_; }
    ServerConnection* operator->() const noexcept { return connection_; }

private:
    ServerConnection* connection_;
};

/// A socket that connections come to.
class ServerSocket final : private ReadyListener {
public:
    ServerSocket(ServerState& server, ServerPlace place) noexcept : server_{server}, place_{std::move(place)} {}
    ~ServerSocket() = default;

    [[nodiscard]] const os::Handle& handle() const noexcept { return place_.socket; }
    using ReadyListener::stop_listening;
    void wait_for_connections();
    void close() noexcept;

private:
    inline void on_ready() noexcept override;

    ServerState& server_;
    ServerPlace place_;
};

/// What the handles of a server share: its sockets, and what to do with those who connect.
///
/// Alive while there are handles, connections, or tasks that wait for its end. Closes when it is told to, with its last
/// handle, or with its loop. Where there is no descriptor left for a connection that has come, that waits in the system's
/// queue, and all are asked for again a while later, or when one of this server's own has ended.
class ServerState : private ReactorObject, private TimerNode {
public:
    ServerState(Reactor& reactor, int backlog, std::size_t limit)
        : reactor_{reactor}, context_{current_context()}, backlog_{backlog}, limit_{limit} {
        join(reactor);
    }

    void add_owner() noexcept { ++owners_; }
    void drop_owner() noexcept {
        if (--owners_ == 0) delete this;
    }
    void add_handle() noexcept {
        ++handles_;
        add_owner();
    }
    void drop_handle() noexcept {
        if (--handles_ == 0) close();
        drop_owner();
    }

    void add_socket(ServerPlace place);
    [[nodiscard]] const std::vector<os::SocketAddress>& addresses() const noexcept { return addresses_; }
    void start_serving();
    [[nodiscard]] bool is_serving() const noexcept { return serving_ && !is_closed(); }
    [[nodiscard]] bool is_closed() const noexcept { return closed_.is_set(); }
    void close() noexcept;
    /// Calls `visit(connection)` for each that is open; that may close it.
    template <class Visit>
    void each_connection(Visit visit);
    [[nodiscard]] Event& closed() noexcept { return closed_; }
    /// Set when it is closed, and so is each of its connections.
    [[nodiscard]] Event& ended() noexcept { return ended_; }
    [[nodiscard]] std::size_t connections() const noexcept { return connection_count_; }

    /// Tells the loop's exception handler, which may do whatever it likes, of the exception that is being handled.
    void report(const char* what) noexcept { reactor_.loop().report(what, std::current_exception(), running().task); }

protected:
    virtual ~ServerState() { close(); }
    virtual Coroutine<void> handle(HandlerTurn turn, StreamReader reader, StreamWriter writer) = 0;

private:
    friend class ServerConnection;
    friend class ServerSocket;

    void accept_from(ServerSocket& socket) noexcept;
    void begin(os::Handle handle);
    void pause(int error) noexcept;
    void resume() noexcept;
    void connection_ended() noexcept;
    void on_time() noexcept override { resume(); }
    void on_loop_close() noexcept override { close(); }

    Reactor& reactor_;  // alive until this is closed
    const Context context_;
    const int backlog_;
    const std::size_t limit_;
    std::size_t owners_ = 1;  // who makes it
    std::size_t handles_ = 0;
    std::vector<std::unique_ptr<ServerSocket>> sockets_;
    std::vector<os::SocketAddress> addresses_;
    detail::TaskLink connections_;
    std::size_t connection_count_ = 0;
    bool serving_ = false;
    bool paused_ = false;
    bool told_ = false;  // that it has to pause, since it last had not
    Event closed_;
    Event ended_;
};

inline ServerConnection::ServerConnection(ServerState& server, Connection& connection) noexcept
    : server_{server}, connection_{&connection} {
    server.add_owner();
    ++server.connection_count_;
    insert_before(server.connections_);
    connection.set_close_listener(this);
}

inline void ServerConnection::handler_ended() noexcept {
    handled_ = true;
    if (connection_ == nullptr) end();
}

inline void ServerConnection::on_closed() noexcept {
    connection_ = nullptr;
    if (server_.paused_) server_.resume();
    if (handled_) end();
}

inline void ServerConnection::end() noexcept {
    ServerState& server = server_;
    unlink();
    delete this;
    server.connection_ended();
    server.drop_owner();
}

inline void ServerSocket::wait_for_connections() {
    server_.reactor_.listen(place_.socket.get(), Direction::read, *this);
}

inline void ServerSocket::close() noexcept {
    stop_listening();
    if (!server_.reactor_.is_left()) place_.name.remove();  // a fork's copy leaves it to the parent
    server_.reactor_.forget(place_.socket.get());
    place_.socket.reset();
}

inline void ServerSocket::on_ready() noexcept { server_.accept_from(*this); }

inline void ServerState::add_socket(ServerPlace place) {
    addresses_.push_back(os::local_address(place.socket.get()));
    sockets_.push_back(std::make_unique<ServerSocket>(*this, std::move(place)));
}

inline void ServerState::start_serving() {
    if (is_closed()) throw UsageError("this Server is closed: start another");
    if (std::exchange(serving_, true)) return;
    try {
        for (const auto& each : sockets_) {
            os::listen(each->handle(), backlog_);
            each->wait_for_connections();
        }
    } catch (...) {
        for (const auto& each : sockets_) each->stop_listening();
        serving_ = false;
        throw;
    }
}

inline void ServerState::close() noexcept {
    if (is_closed()) return;
    if (is_timed()) reactor_.loop().timers.remove(*this);
    for (const auto& each : sockets_) each->close();
    leave();
    paused_ = false;
    closed_.set();
    if (connection_count_ == 0) ended_.set();
}

template <class Visit>
void ServerState::each_connection(Visit visit) {
    // One that closes leaves the list, at once or later, and no other does.
    for (detail::TaskLink* link = connections_.following; link != &connections_;) {
        ServerConnection& each = static_cast<ServerConnection&>(*std::exchange(link, link->following));
        if (each.connection() != nullptr) visit(*each.connection());
    }
}

inline void ServerState::connection_ended() noexcept {
    if (--connection_count_ == 0 && is_closed()) ended_.set();
}

inline void ServerState::accept_from(ServerSocket& socket) noexcept {
    const auto self = plait::detail::StatePointer<ServerState>::share(this);
    try {
        // Others are to have their turn too, however many come.
        for (int i = 0; i < backlog_ && !is_closed(); ++i) {
            os::Accepted accepted = os::accept(socket.handle());
            if (accepted.what == os::Accepting::accepted) {
                begin(std::move(accepted.connection));
            } else if (accepted.what == os::Accepting::exhausted) {
                return pause(accepted.error);
            } else if (accepted.what == os::Accepting::failed) {
                os::throw_system_error("accept", accepted.error);
            } else if (accepted.what == os::Accepting::none) {
                told_ = false;
                break;
            }
        }
        if (!is_closed()) socket.wait_for_connections();
    } catch (...) {
        report("a server cannot accept connections");
        if (!is_closed() && !is_timed()) pause(static_cast<int>(std::errc::not_enough_memory));
    }
}

/// Whoever the connection is handed to closes it, also where that throws.
inline void ServerState::begin(os::Handle handle) {
    try {
        os::send_at_once(handle);
        auto [reader, writer] = make_streams(reactor_, std::move(handle), StreamKind::socket, limit_);
        HandlerTurn turn{*new ServerConnection{*this, StreamAccess::connection(writer)}};
        Coroutine<void> handler = this->handle(std::move(turn), std::move(reader), std::move(writer));
        const Task<void> task = reactor_.loop().owner().create_task(std::move(handler));
        if (context_) TaskAccess::state(task).set_context(context_);
    } catch (...) {
        report("a server could not begin to handle a connection");
    }
}

inline void ServerState::pause(int error) noexcept {
    using std::chrono::milliseconds;
    for (const auto& each : sockets_) each->stop_listening();
    paused_ = true;
    if (!is_timed()) reactor_.loop().start_timer(*this, milliseconds{100});
    if (std::exchange(told_, true)) return;
    try {
        os::throw_system_error("accept", error);
    } catch (...) {
        report("a server cannot accept connections for the moment, and tries again");
    }
}

inline void ServerState::resume() noexcept {
    paused_ = false;
    if (is_timed()) reactor_.loop().timers.remove(*this);
    try {
        for (const auto& each : sockets_) {
            each->stop_listening();
            each->wait_for_connections();
        }
    } catch (const std::system_error& error) {
        pause(error.code().value());
    } catch (...) {
        pause(static_cast<int>(std::errc::not_enough_memory));
    }
}

/// With the handler, which is kept until the last of its tasks has ended.
template <class F>
class HandlingServer final : public ServerState {
public:
    template <class Callable>
    HandlingServer(Reactor& reactor, int backlog, std::size_t limit, Callable&& handler)
        : ServerState{reactor, backlog, limit}, handler_(std::forward<Callable>(handler)) {}

private:
    ~HandlingServer() override = default;

    Coroutine<void> handle(HandlerTurn turn, StreamReader reader, StreamWriter writer) override {
        return run(handler_, std::move(turn), std::move(reader), std::move(writer));
    }
    static decltype(auto) call(F& handler, StreamReader& reader, StreamWriter& writer) {
        if constexpr (std::is_invocable_v<F&, StreamReader, StreamWriter>)
            return handler(std::move(reader), std::move(writer));
        else
            return handler(reader, writer);
    }
    static Coroutine<void> run(F& handler, HandlerTurn turn, StreamReader reader, StreamWriter writer) {
        using Result = decltype(call(handler, reader, writer));
        try {
            if constexpr (Awaitable<Result>)
                static_cast<void>(co_await call(handler, reader, writer));
            else
                static_cast<void>(call(handler, reader, writer));
        } catch (const CancelledError&) {
            throw;
        } catch (...) {
            turn->server().report("an exception left the handler of a connection");
            if (Connection* const connection = turn->connection()) connection->close();
        }
    }

    F handler_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
