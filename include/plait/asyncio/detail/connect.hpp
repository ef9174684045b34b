// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/socket.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

class ConnectRace;

/// One attempt to connect, which ends in the background; given up in its destructor.
class ConnectAttempt final : private ReadyListener {
public:
    ConnectAttempt(ConnectRace& race, const os::SocketAddress& address, os::Handle socket);
    ~ConnectAttempt() {
        stop_listening();
        if (socket_) reactor_.forget(socket_.get());
    }

    [[nodiscard]] const os::SocketAddress& address() const noexcept { return address_; }
    [[nodiscard]] bool has_ended() const noexcept { return !is_listening(); }
    /// Once it has ended: its error, or none.
    [[nodiscard]] std::error_code error() const noexcept {
        return {os::pending_error(socket_), std::system_category()};
    }
    /// What it came to, of which the reactor knows nothing any more.
    [[nodiscard]] os::Handle take() noexcept {
        reactor_.forget(socket_.get());
        return std::move(socket_);
    }

private:
    inline void on_ready() noexcept override;

    ConnectRace& race_;
    Reactor& reactor_;
    const os::SocketAddress address_;
    os::Handle socket_;
};

/// Several attempts, of which the first one to succeed wins. Awaiting it ends when one of them has ended, or after
/// `patience`.
class ConnectRace : private Waiter, private TimerNode {
public:
    /// `place` is for the text of the error.
    ConnectRace(Reactor& reactor, std::string place) : reactor_{reactor}, place_{std::move(place)} {}
    ~ConnectRace() { stop(); }

    [[nodiscard]] Reactor& reactor() const noexcept { return reactor_; }
    [[nodiscard]] std::size_t under_way() const noexcept { return attempts_.size(); }
    /// The connection, where it was made or found to be made; else none, and the attempt is under way or has failed.
    [[nodiscard]] os::Handle begin(const os::SocketAddress& address, const std::vector<os::SocketAddress>& locals);
    [[nodiscard]] os::Handle take_winner();
    [[noreturn]] void throw_failure() const {
        throw std::system_error(last_error_,
                                failures_ > 1 ? "connect to " + place_ + " (" + list_ + ")" : "connect to " + place_);
    }

    Timeout patience = Timeout::never();

    AwaiterReference<ConnectRace> operator co_await() noexcept { return AwaiterReference<ConnectRace>{*this}; }
    [[nodiscard]] static bool await_ready() noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        task_ = running().task;
        waiting_ = true;
        task_->loop()->start_timer(*this, patience);
        task_->suspend(handle, this);
    }
    void await_resume() {
        stop();
        task_->check_cancelled();
    }
    void wake() noexcept {
        if (std::exchange(waiting_, false)) task_->wake();
    }

private:
    void add_failure(const os::SocketAddress& address, const std::error_code& error);
    void on_time() noexcept override { wake(); }
    bool cancel_wait() noexcept override {
        stop();
        return false;
    }
    void stop() noexcept {
        waiting_ = false;
        if (is_timed()) task_->loop()->timers.remove(*this);
    }

    Reactor& reactor_;
    std::vector<std::unique_ptr<ConnectAttempt>> attempts_;
    TaskBase* task_ = nullptr;
    bool waiting_ = false;
    std::string place_;
    std::string list_;  // of the addresses that failed, and why
    std::error_code last_error_;
    int failures_ = 0;
};

inline ConnectAttempt::ConnectAttempt(ConnectRace& race, const os::SocketAddress& address, os::Handle socket)
    : race_{race}, reactor_{race.reactor()}, address_{address}, socket_{std::move(socket)} {
    reactor_.listen(socket_.get(), Direction::write, *this);
}

inline void ConnectAttempt::on_ready() noexcept { race_.wake(); }

inline void ConnectRace::add_failure(const os::SocketAddress& address, const std::error_code& error) {
    if (failures_++ != 0) list_ += "; ";
    list_ += address.to_string() + ": " + error.message();
    last_error_ = error;
}

inline os::Handle ConnectRace::begin(const os::SocketAddress& address, const std::vector<os::SocketAddress>& locals) {
    try {
        os::Handle socket = os::stream_socket(address.family());
        const auto local = std::find_if(locals.begin(), locals.end(), [&](const os::SocketAddress& each) {
            return each.family() == address.family();
        });
        if (local != locals.end()) os::bind(socket, *local);
        if (os::connect(socket, address) == os::Connecting::done) return socket;
        attempts_.push_back(std::make_unique<ConnectAttempt>(*this, address, std::move(socket)));
    } catch (const std::system_error& error) {
        add_failure(address, error.code());
    }
    return {};
}

inline os::Handle ConnectRace::take_winner() {
    for (std::size_t i = 0; i < attempts_.size();) {
        ConnectAttempt& attempt = *attempts_[i];
        if (!attempt.has_ended()) {
            ++i;
            continue;
        }
        const std::error_code error = attempt.error();
        if (!error) return attempt.take();
        add_failure(attempt.address(), error);
        attempts_.erase(attempts_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return {};
}

/// The first of `addresses` that can be connected to, from one of `locals` where there are any. The next is tried when the
/// one before has failed, or has taken longer than `patience`; those under way go on meanwhile.
inline Coroutine<os::Handle> connect_first(std::vector<os::SocketAddress> addresses,
                                           std::vector<os::SocketAddress> locals, std::string place, Timeout patience) {
    ConnectRace race{Reactor::of_running_loop(), std::move(place)};
    for (std::size_t next = 0;;) {
        os::Handle connection;
        const std::size_t before = race.under_way();
        while (next < addresses.size() && !connection && race.under_way() == before)
            connection = race.begin(addresses[next++], locals);
        if (connection) co_return connection;
        if (race.under_way() == 0) race.throw_failure();
        race.patience = next < addresses.size() ? patience : Timeout::never();
        co_await race;
        connection = race.take_winner();
        if (connection) co_return connection;
    }
}

/// Of the addresses of several families every other one is of another (RFC 8305), so that a family that does not work
/// costs one wait.
inline void interleave_families(std::vector<os::SocketAddress>& addresses) {
    if (addresses.empty()) return;
    const os::SocketFamily first = addresses.front().family();
    std::vector<os::SocketAddress> ones, others, mixed;
    for (const os::SocketAddress& each : addresses) (each.family() == first ? ones : others).push_back(each);
    for (std::size_t i = 0; i < (std::max)(ones.size(), others.size()); ++i) {
        if (i < ones.size()) mixed.push_back(ones[i]);
        if (i < others.size()) mixed.push_back(others[i]);
    }
    addresses = std::move(mixed);
}

/// A UNIX socket connects at once, or its server's queue is full: nothing tells when that has room again.
inline Coroutine<os::Handle> connect_local(os::SocketAddress address) {
    using std::chrono::milliseconds;
    for (milliseconds pause{1};; pause = (std::min)(2 * pause, milliseconds{50})) {
        os::Handle socket = os::stream_socket(os::SocketFamily::local);
        if (os::connect(socket, address) != os::Connecting::queue_full) co_return socket;
        co_await sleep(pause);
    }
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
