// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/connection.hpp>
#include <plait/os/channel.hpp>

#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// The two ends of a pipe.
struct PipeEnds {
    Connection first;
    Connection second;
};

/// Two connected ends, for two processes, or threads, to talk through. No name leads to them, and no process gets one
/// that it is not given.
///
///     auto [left, right] = Pipe();            // both send and receive
///     auto [reader, writer] = Pipe(false);    // one way
///
/// Python: multiprocessing.Pipe. Throws: std::system_error where no descriptors are left.
inline PipeEnds Pipe(bool duplex = true) {
    os::ChannelEnds channel = os::make_channel();
    return {detail::ConnectionAccess::make(std::move(channel.first), {.receives = true, .sends = duplex}),
            detail::ConnectionAccess::make(std::move(channel.second), {.receives = duplex, .sends = true})};
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
