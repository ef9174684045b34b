// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/address.hpp>
#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/connection.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/os/socket.hpp>

#include <coroutine>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

class DrainAwaiter;
class WaitClosedAwaiter;
struct StreamAccess;

/// What `drain` and `wait_closed` give: nothing happens before it is awaited.
template <class Awaiter>
class [[nodiscard("it waits only when it is awaited")]] StreamWait {
public:
    explicit StreamWait(ConnectionRef connection) noexcept : connection_{std::move(connection)} {}
    Awaiter operator co_await() const noexcept { return Awaiter{connection_}; }

private:
    ConnectionRef connection_;
};

}  // namespace detail

/// The writing side of a socket or a pipe.
///
///     writer.write("hello\n");
///     co_await writer.drain();          // waits where the peer does not keep up
///     writer.close();
///     co_await writer.wait_closed();    // until all is sent
///
/// Python: asyncio.StreamWriter. `write` sends what it can at once, and keeps the rest, for the loop to send as the peer
/// makes room; who writes much awaits `drain` after each write, or what is kept grows. A handle: a copy names the same
/// stream.
/// Lifetime: when the last reader and writer of a stream go it closes, as by `close`; what a peer that is gone does not
/// take is dropped then, and nobody is told. A stream closes with its loop, whose exception handler is told what was not
/// sent by then; a writer may outlive that, but not write.
/// Threads: from its loop's only.
class StreamWriter {
public:
    /// A handle of no stream, to be assigned to.
    StreamWriter() noexcept = default;

    /// Never waits. Once the connection is broken the bytes are dropped, and `drain` tells of it.
    ///
    /// Throws: UsageError after `close`, `abort`, `write_eof`, and the end of the loop.
    void write(std::string_view bytes) const { connection()->write(bytes); }
    void write(std::span<const std::byte> bytes) const {
        write(std::string_view{reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    /// Writes each of a range of strings, in one piece.
    template <class Range>
        requires requires(Range& range) { std::string_view{*std::begin(range)}; }
    void writelines(Range&& lines) const {
        std::string all;  // apart from the stream, for a range may run code that uses that
        for (auto&& line : lines) all += std::string_view{line};
        write(all);
    }
    void writelines(std::initializer_list<std::string_view> lines) const {
        writelines(std::span<const std::string_view>{lines.begin(), lines.size()});
    }

    /// Waits while more is kept than the high-water mark, until less than the low-water mark is. Any number of tasks may
    /// wait. Lets other tasks run too where this one has sent much since its last wait.
    ///
    /// Cancel: changes nothing. Throws: std::system_error where the connection is broken (EPIPE, ECONNRESET) or was
    /// aborted.
    detail::StreamWait<detail::DrainAwaiter> drain() const {
        return detail::StreamWait<detail::DrainAwaiter>{connection()};
    }
    /// The marks: 64 KiB and a quarter of the high one, unless they are set.
    ///
    /// Throws: std::invalid_argument where the low one is higher.
    void set_write_buffer_limits(std::size_t high, std::size_t low) const { connection()->set_limits(high, low); }
    void set_write_buffer_limits(std::size_t high) const { set_write_buffer_limits(high, high / 4); }
    /// How many bytes were written and could not be sent yet.
    std::size_t write_buffer_size() const { return connection()->unsent(); }

    /// The peer reads the end of the stream after what was written; it may go on sending. Closes a pipe.
    void write_eof() const;
    /// Whether there is a writing side that could end.
    bool can_write_eof() const { return connection()->kind() != detail::StreamKind::reading_pipe; }

    /// Closes the stream once what was written is sent, which the loop does in the background: for ever where the peer
    /// does not read, until `abort` or the loop's end. Reading ends at once. A second time does nothing.
    void close() const { connection()->close(); }
    /// Closes at once, and drops what is not sent.
    void abort() const { connection()->abort(); }
    /// Whether `close` or `abort` was called, or the loop has ended.
    bool is_closing() const { return connection()->is_closing(); }
    /// Waits until the stream is closed; who waits does not close it.
    ///
    /// Cancel: changes nothing. Throws: std::system_error where something that was written could not be sent.
    detail::StreamWait<detail::WaitClosedAwaiter> wait_closed() const {
        return detail::StreamWait<detail::WaitClosedAwaiter>{connection()};
    }

    /// Where the peer is, and where this side is; none of a pipe, and once the stream is closed or broken.
    ///
    /// Python: get_extra_info("peername"), get_extra_info("sockname").
    Address peername() const { return detail::AddressAccess::address(os::peer_address(connection()->native_handle())); }
    Address sockname() const {
        return detail::AddressAccess::address(os::local_address(connection()->native_handle()));
    }

    /// How many tasks wait in `drain`; for tests and diagnosis.
    std::size_t waiting() const { return std::as_const(*connection()).draining().waiting(); }

private:
    friend struct detail::StreamAccess;

    explicit StreamWriter(detail::Connection& connection) noexcept : connection_{connection} {}
    const detail::ConnectionRef& connection() const {
        if (!connection_)
            throw UsageError("this StreamWriter names no stream: it was default-constructed or moved from");
        return connection_;
    }

    detail::ConnectionRef connection_;
};

inline void StreamWriter::write_eof() const {
    if (!can_write_eof()) throw UsageError("nothing can be written here: this is the reading end of a pipe");
    connection()->write_eof();
}

namespace detail {

class DrainAwaiter : public AwaiterBase {
public:
    explicit DrainAwaiter(ConnectionRef connection) noexcept : connection_{std::move(connection)} {}

    [[nodiscard]] bool await_ready() const {
        connection_->throw_if_broken();
        if (connection_->is_full()) connection_->check_loop();
        return !connection_->is_full() && !connection_->turn_is_over();
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        if (connection_->is_full()) return place_.emplace().wait_in(connection_->draining(), handle);
        task_ = running().task;
        task_->suspend(handle, nullptr);
        task_->wake();
    }
    void await_resume() const {
        if (place_)
            place_->check_let_go();
        else if (task_ != nullptr)
            task_->check_cancelled();
        connection_->throw_if_broken();
    }

private:
    ConnectionRef connection_;
    std::optional<PlainPlace> place_;
    TaskBase* task_ = nullptr;  // that gave up the rest of its turn
};

class WaitClosedAwaiter : public AwaiterBase {
public:
    explicit WaitClosedAwaiter(ConnectionRef connection) noexcept : connection_{std::move(connection)} {}

    [[nodiscard]] bool await_ready() const {
        connection_->check_loop();
        return connection_->is_closed();
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        place_.emplace().wait_in(connection_->awaiting_close(), handle);
    }
    void await_resume() const {
        if (place_) place_->check_let_go();
        connection_->throw_if_sending_failed();
    }

private:
    ConnectionRef connection_;
    std::optional<PlainPlace> place_;
};

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::asyncio
