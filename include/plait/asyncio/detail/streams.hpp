// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/connection.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/stream_reader.hpp>
#include <plait/asyncio/stream_writer.hpp>
#include <plait/core/config.hpp>
#include <plait/os/handle.hpp>

#include <cstddef>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// For the rest of the wing: the connection behind a handle, and the handles of a connection.
struct StreamAccess {
    static Connection& connection(const StreamReader& reader) { return *reader.connection(); }
    static Connection& connection(const StreamWriter& writer) { return *writer.connection(); }
    static StreamReader reader(Connection& connection) noexcept { return StreamReader{connection}; }
    static StreamWriter writer(Connection& connection) noexcept { return StreamWriter{connection}; }
};

inline constexpr std::size_t default_stream_limit = 64 * 1024;

/// Both sides of a new connection, which owns the handle, a non-blocking one. Of a pipe, one side only is of use.
inline std::pair<StreamReader, StreamWriter> make_streams(Reactor& reactor, os::Handle handle, StreamKind kind,
                                                          std::size_t limit = default_stream_limit) {
    Connection& connection = *new Connection{reactor, std::move(handle), kind, limit};
    return {StreamAccess::reader(connection), StreamAccess::writer(connection)};
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
