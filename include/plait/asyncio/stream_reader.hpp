// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/connection.hpp>
#include <plait/asyncio/detail/stream_read.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::IncompleteReadError;
using plait::LimitOverrunError;

namespace detail {

struct StreamAccess;

}  // namespace detail

/// The reading side of a socket or a pipe: bytes in the order in which they were sent.
///
///     std::string line = co_await reader.readline();
///     std::string header = co_await reader.readexactly(16);
///     for (;;) {
///         std::string text = co_await reader.read(4096);
///         if (text.empty()) break;
///         use(text);
///     }
///
/// Python: asyncio.StreamReader. Data are received when a task asks for them; the peer waits meanwhile. A handle: a copy
/// names the same stream, and the stream closes with the last reader and writer of it.
/// Cancel: of any read loses no byte; what had come stays for the next.
/// Throws: std::system_error where the connection broke (ECONNRESET), once what had come before has been read; UsageError
/// while another task reads. What was received stays where a read throws.
/// Threads: from its loop's only. Lifetime: may outlive its loop, and has nothing more to give then but what it had
/// received.
class StreamReader {
public:
    /// A handle of no stream, to be assigned to.
    StreamReader() noexcept = default;

    /// Reads to the end of the stream.
    detail::StreamRead<detail::ReadAll> read() const { return {connection(), detail::ReadAll{}}; }
    /// Reads what there is, `most` bytes at most and seldom more than 64 KiB at once, waiting for the first. Nothing at the
    /// end of the stream.
    detail::StreamRead<detail::ReadSome> read(std::size_t most) const { return {connection(), detail::ReadSome{most}}; }
    /// The same into memory of the caller's, which stays for the time; gives how much it was. For who reads without an
    /// allocation.
    detail::StreamRead<detail::ReadInto> readinto(std::span<char> room) const {
        return {connection(), detail::ReadInto{room}};
    }
    /// Reads `count` bytes, no fewer.
    ///
    /// Throws: IncompleteReadError, with what there was, where the stream ends before.
    detail::StreamRead<detail::ReadExactly> readexactly(std::size_t count) const {
        return {connection(), detail::ReadExactly{count}};
    }
    /// Reads up to the next separator and with it.
    ///
    /// Throws: IncompleteReadError, with what there was, where the stream ends before; LimitOverrunError where more than
    /// `limit` bytes come before it, and then they stay in the stream; std::invalid_argument for an empty separator.
    detail::StreamRead<detail::ReadUntil> readuntil(std::string_view separator = "\n") const {
        if (separator.empty()) throw std::invalid_argument("readuntil: a separator has at least one byte");
        return {connection(), detail::ReadUntil{std::string{separator}, detail::AtEnd::fail, limit()}};
    }
    /// Reads a line with its "\n"; without it where the stream ends first, and nothing at the end.
    ///
    /// Throws: LimitOverrunError, as readuntil.
    detail::StreamRead<detail::ReadUntil> readline() const {
        return {connection(), detail::ReadUntil{"\n", detail::AtEnd::give, limit()}};
    }

    /// Whether the end was met and all before it was read. One learns of the end by reading: an empty `read` or
    /// `readline` says the same.
    bool at_eof() const { return connection()->source().at_end() && connection()->source().received().empty(); }
    /// How long a line may be.
    std::size_t limit() const { return connection()->limit(); }
    /// How many tasks wait for data: one at most; for tests and diagnosis.
    std::size_t waiting() const { return connection()->has_waiting_read() ? 1 : 0; }

private:
    friend struct detail::StreamAccess;

    explicit StreamReader(detail::Connection& connection) noexcept : connection_{connection} {}
    const detail::ConnectionRef& connection() const {
        if (!connection_)
            throw UsageError("this StreamReader names no stream: it was default-constructed or moved from");
        return connection_;
    }

    detail::ConnectionRef connection_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio
