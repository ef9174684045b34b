// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/byte_buffer.hpp>
#include <plait/asyncio/detail/byte_source.hpp>
#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/asyncio/detail/waiter.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/os/byte_stream.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/system_error.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Throws: std::invalid_argument for none.
inline std::size_t checked_stream_limit(std::size_t limit) {
    if (limit == 0) throw std::invalid_argument("a stream's limit is at least 1");
    return limit;
}

/// Is told, once, that a connection's handle is closed: for who keeps count of connections.
class CloseListener {
public:
    CloseListener(const CloseListener&) = delete;
    CloseListener& operator=(const CloseListener&) = delete;

    virtual void on_closed() noexcept = 0;

protected:
    CloseListener() = default;
    ~CloseListener() = default;
};

/// A read that has begun and has not ended; one at a time.
class PendingRead {
public:
    PendingRead(const PendingRead&) = delete;
    PendingRead& operator=(const PendingRead&) = delete;

    /// Nothing more will come.
    virtual void on_read_end() noexcept = 0;
    [[nodiscard]] virtual bool is_waiting() const noexcept = 0;

protected:
    PendingRead() = default;
    ~PendingRead() = default;
};

/// What the handles of one stream share: the system's handle, what comes by it, and what was written and not yet sent.
///
/// Bytes are sent at once as far as that goes, and the rest by the reactor as the peer makes room. An error ends sending,
/// and drops what is unsent. The connection closes when it is told to, or when its last owner goes; either way what was
/// written is sent first, for which it lives on by itself.
class Connection final : private ReactorObject, private ReadyListener, public FrameAllocated {
public:
    Connection(Reactor& reactor, os::Handle handle, StreamKind kind, std::size_t limit);

    void add_owner() noexcept { ++owners_; }
    void drop_owner() noexcept;

    [[nodiscard]] os::NativeHandle native_handle() const noexcept { return handle_.get(); }
    [[nodiscard]] StreamKind kind() const noexcept { return kind_; }
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    /// One at most; null for none.
    void set_close_listener(CloseListener* listener) noexcept { close_listener_ = listener; }
    /// Throws: UsageError where the running task belongs to another loop than this.
    void check_loop() const;

    // Reading; by one task at a time.

    /// Throws: UsageError where another read is pending, or nothing can be read here.
    void begin_read(PendingRead& read);
    void end_read(const PendingRead& read) noexcept {
        if (pending_read_ == &read) pending_read_ = nullptr;
    }
    [[nodiscard]] bool has_waiting_read() const noexcept {
        return pending_read_ != nullptr && pending_read_->is_waiting();
    }
    [[nodiscard]] ByteSource& source() noexcept { return source_; }
    [[nodiscard]] const ByteSource& source() const noexcept { return source_; }
    /// As the functions of the source; not after its end.
    [[nodiscard]] bool receive() noexcept { return note(source_.receive(handle_.get(), reactor_->scratch())); }
    [[nodiscard]] bool receive_into(std::span<char> room, std::size_t& count) noexcept {
        return note(source_.receive_into(handle_.get(), room, count, reactor_->scratch()));
    }
    /// `listener` is told, once, when there is something to receive.
    void listen_for_bytes(ReadyListener& listener) { reactor_->listen(handle_.get(), Direction::read, listener); }
    void fail_reading(int error) noexcept;

    // Writing.

    /// Throws: UsageError where nothing may be written any more.
    void check_open_for_writing() const;
    void write(std::string_view bytes);
    void write_eof() noexcept;
    void close() noexcept;
    void abort() noexcept;
    [[nodiscard]] bool is_closing() const noexcept { return closing_; }
    [[nodiscard]] bool is_closed() const noexcept { return !handle_; }
    void set_limits(std::size_t high, std::size_t low);
    [[nodiscard]] std::size_t unsent() const noexcept { return unsent_.size(); }
    /// Whether more is unsent than should be: from above the one limit until below the other.
    [[nodiscard]] bool is_full() const noexcept { return full_; }
    /// Whether the running task has sent so much in its present turn that it is for others to run.
    [[nodiscard]] bool turn_is_over() const noexcept {
        return sent_in_turn_ > most_in_turn && !is_closed() && turn_ == reactor_->loop().turns;
    }
    /// What was written did not arrive.
    void throw_if_sending_failed() const {
        if (send_error_ != 0) os::throw_system_error(kind_ == StreamKind::socket ? "send" : "write", send_error_);
    }
    /// The same for who wants to write on.
    void throw_if_broken() const;
    [[nodiscard]] WaitList& draining() noexcept { return draining_; }
    [[nodiscard]] const WaitList& draining() const noexcept { return draining_; }
    [[nodiscard]] WaitList& awaiting_close() noexcept { return awaiting_close_; }

private:
    static constexpr std::size_t most_in_turn = 64 * 1024;
    static constexpr std::size_t cost_of_call = 1024;  // of a system call, in bytes

    bool note(bool received) noexcept;
    [[nodiscard]] os::Flow send_now(std::string_view bytes) noexcept {
        return kind_ == StreamKind::socket ? os::send_bytes(handle_.get(), bytes)
                                           : os::write_bytes(handle_.get(), bytes);
    }
    void count_for_turn(std::size_t size) noexcept;
    [[nodiscard]] std::size_t try_to_send(std::string_view bytes) noexcept;
    void flush() noexcept;
    void flush_later() noexcept;
    void update_full() noexcept;
    void fail_sending(int error) noexcept;
    void end_reading() noexcept;
    void shut() noexcept;
    static void wake_all(WaitList& list) noexcept {
        while (list.wake_first() != nullptr) {
        }
    }
    void on_ready() noexcept override;
    void on_loop_close() noexcept override;
    void report_unsent() noexcept;

    std::uint32_t owners_ = 0;
    StreamKind kind_;
    bool full_ = false;
    bool eof_wanted_ = false;
    bool closing_ = false;
    bool aborted_ = false;
    int send_error_ = 0;
    os::Handle handle_;
    Reactor* reactor_;  // null once closed
    std::size_t limit_;
    std::size_t high_ = 64 * 1024;
    std::size_t low_ = high_ / 4;
    std::uint64_t turn_ = UINT64_MAX;  // in which `sent_in_turn_` was sent
    std::size_t sent_in_turn_ = 0;
    ByteSource source_;
    ByteBuffer unsent_;
    PendingRead* pending_read_ = nullptr;
    CloseListener* close_listener_ = nullptr;
    WaitList draining_;
    WaitList awaiting_close_;
};

/// One owner of a connection; the last one closes it.
class ConnectionRef {
public:
    ConnectionRef() noexcept {}
    explicit ConnectionRef(Connection& connection) noexcept : connection_{&connection} { connection.add_owner(); }
    ConnectionRef(const ConnectionRef& other) noexcept : connection_{other.connection_} {
        if (connection_ != nullptr) connection_->add_owner();
    }
    ConnectionRef(ConnectionRef&& other) noexcept : connection_{std::exchange(other.connection_, nullptr)} {}
    ConnectionRef& operator=(ConnectionRef other) noexcept {
        std::swap(connection_, other.connection_);
        return *this;
    }
    ~ConnectionRef() {
        if (connection_ != nullptr) connection_->drop_owner();
    }

    explicit operator bool() const noexcept { return connection_ != nullptr; }
    Connection& operator*() const noexcept { return *connection_; }
    Connection* operator->() const noexcept { return connection_; }

private:
    Connection* connection_ = nullptr;
};

inline Connection::Connection(Reactor& reactor, os::Handle handle, StreamKind kind, std::size_t limit)
    : kind_{kind}, handle_{std::move(handle)}, reactor_{&reactor}, limit_{checked_stream_limit(limit)}, source_{kind} {
    static_cast<void>(reactor.scratch());  // from now on it is there
    join(reactor);
}

inline void Connection::drop_owner() noexcept {
    if (--owners_ != 0) return;
    close();
    if (is_closed()) delete this;  // else once all is sent
}

inline void Connection::check_loop() const {
    if (is_closed() || running().task->loop() == &reactor_->loop()) return;
    throw UsageError("this stream belongs to another event loop: use it in that loop's tasks only");
}

inline bool Connection::note(bool received) noexcept {
    constexpr auto reset = static_cast<int>(std::errc::connection_reset);
    // The system tells of a reset once, and that was to who wrote.
    if (source_.at_end() && send_error_ == reset) source_.fail(reset);
    if (source_.error() != 0) fail_reading(source_.error());
    return received;
}

inline void Connection::fail_reading(int error) noexcept {
    source_.fail(error);
    if (!unsent_.empty()) fail_sending(error);
}

inline void Connection::begin_read(PendingRead& read) {
    if (pending_read_ != nullptr)
        throw UsageError("another task reads from this StreamReader already: let one task read, and hand on the data");
    if (kind_ == StreamKind::writing_pipe)
        throw UsageError("nothing can be read here: this is the writing end of a pipe");
    check_loop();
    if (!is_closed() && reactor_->is_left())
        throw UsageError("this stream was copied by a fork, and belongs to the parent's event loop alone");
    pending_read_ = &read;
}

inline void Connection::check_open_for_writing() const {
    if (kind_ == StreamKind::reading_pipe)
        throw UsageError("nothing can be written here: this is the reading end of a pipe");
    if (closing_) throw UsageError("this stream was closed: write before close(), abort(), and the end of its loop");
    if (eof_wanted_) throw UsageError("nothing can be written after write_eof()");
    if (reactor_->is_left())
        throw UsageError("this stream was copied by a fork, and belongs to the parent's event loop alone");
}

inline void Connection::throw_if_broken() const {
    throw_if_sending_failed();
    if (aborted_) os::throw_system_error("the stream was aborted", static_cast<int>(std::errc::connection_aborted));
    source_.throw_if_failed();
}

inline void Connection::count_for_turn(std::size_t size) noexcept {
    const std::uint64_t turn = reactor_->loop().turns;
    if (std::exchange(turn_, turn) != turn) sent_in_turn_ = 0;
    sent_in_turn_ += size + cost_of_call;
}

inline std::size_t Connection::try_to_send(std::string_view bytes) noexcept {
    const os::Flow flow = send_now(bytes);
    if (flow.error != 0) fail_sending(flow.error);
    return flow.count;
}

inline void Connection::write(std::string_view bytes) {
    check_open_for_writing();
    if (bytes.empty() || send_error_ != 0) return;
    std::size_t sent = 0;
    if (unsent_.empty()) {
        sent = try_to_send(bytes);
        count_for_turn(sent);
        if (sent == bytes.size() || send_error_ != 0) return;
    }
    try {
        unsent_.append(bytes.substr(sent));
    } catch (...) {
        if (sent != 0) fail_sending(static_cast<int>(std::errc::not_enough_memory));  // nothing may follow a piece
        throw;
    }
    flush_later();
    update_full();
}

inline void Connection::write_eof() noexcept {
    if (eof_wanted_ || closing_) return;
    eof_wanted_ = true;
    if (unsent_.empty()) flush();
}

inline void Connection::flush_later() noexcept {
    if (is_listening()) return;
    int error = static_cast<int>(std::errc::not_enough_memory);
    try {
        return reactor_->listen(handle_.get(), Direction::write, *this);
    } catch (const std::system_error& failure) {
        error = failure.code().value();
    } catch (...) {
        // As said: there is no memory to remember that this is to be sent.
    }
    fail_sending(error);
    if (closing_) shut();
}

/// Sends what can be sent, and when nothing is left does what was to be done then.
inline void Connection::flush() noexcept {
    if (!unsent_.empty()) {
        unsent_.drop(try_to_send(unsent_.view()));
        update_full();
        if (!unsent_.empty()) return flush_later();
    }
    if (closing_ || (eof_wanted_ && kind_ == StreamKind::writing_pipe)) {
        closing_ = true;
        shut();
    } else if (eof_wanted_) {
        os::end_sending(handle_.get());
    }
}

inline void Connection::update_full() noexcept {
    if (full_ ? unsent_.size() > low_ : unsent_.size() <= high_) return;
    full_ = !full_;
    if (!full_) wake_all(draining_);
}

inline void Connection::set_limits(std::size_t high, std::size_t low) {
    if (low > high)
        throw std::invalid_argument("a write buffer's limits are high and low: " + std::to_string(high) +
                                    " is lower than " + std::to_string(low));
    high_ = high;
    low_ = low;
    update_full();
}

inline void Connection::fail_sending(int error) noexcept {
    send_error_ = error;
    unsent_.clear();
    stop_listening();
    update_full();
}

inline void Connection::end_reading() noexcept {
    if (!source_.ended()) source_.end();
    if (pending_read_ != nullptr) pending_read_->on_read_end();
}

inline void Connection::close() noexcept {
    if (closing_) return;
    closing_ = true;
    if (reactor_->is_left()) unsent_.clear();  // it is the parent's to send
    end_reading();
    if (unsent_.empty()) shut();
}

inline void Connection::abort() noexcept {
    if (is_closed()) return;
    closing_ = aborted_ = true;
    unsent_.clear();
    shut();
}

/// Closes the handle now.
inline void Connection::shut() noexcept {
    end_reading();
    stop_listening();
    reactor_->forget(handle_.get());
    handle_.reset();
    leave();
    reactor_ = nullptr;
    update_full();
    wake_all(awaiting_close_);
    if (CloseListener* const listener = std::exchange(close_listener_, nullptr)) listener->on_closed();
}

inline void Connection::on_ready() noexcept {
    const ConnectionRef self{
        *this};  // which deletes it if nobody else does: who hears of its end may drop the last owner
    flush();
}

inline void Connection::on_loop_close() noexcept {
    const ConnectionRef self{*this};
    closing_ = true;
    if (!unsent_.empty() && !reactor_->is_left()) {
        unsent_.drop(send_now(unsent_.view()).count);
        if (!unsent_.empty()) report_unsent();
    }
    unsent_.clear();
    shut();
}

inline void Connection::report_unsent() noexcept {
    LoopCore& loop = reactor_->loop();
    try {
        loop.report(ErrorContext{std::to_string(unsent_.size()) +
                                 " bytes written to a stream were not sent before its loop closed: await "
                                 "wait_closed() after close()"});
    } catch (...) {
        loop.report("what was written to a stream was not sent before its loop closed");
    }
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
