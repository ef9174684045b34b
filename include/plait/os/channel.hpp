// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: a channel is a two-way stream of bytes between two processes, without a name that a third could open.
//   make_channel() -> {first, second}              two ends, inherited by nobody unless told
//   send_some(end, bytes) -> Transfer              what fits now; never blocks, never raises SIGPIPE
//   receive_some(end, buffer) -> Transfer          what is there now; never blocks
//   send_all / receive_all(end, …, deadline)       the whole, blocking; false when the other end went or time is over
//   send_with_handles / receive_with_handles       a short message that carries handles along, up to most_handles
//   peer_is(end, pid)                              whether that process, of this user, made the channel
// Transfer{count, closed}: how many bytes went, and whether the other end is gone.

#if !defined(_WIN32)
#  include <plait/os/posix/channel.hpp>
#endif
