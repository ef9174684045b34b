// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: bytes by a handle that does not block; none of it throws, or raises SIGPIPE.
//   Flow{count, error, would_block}     how many bytes went; 0, and neither of the others: the stream has ended
//   receive_bytes(socket, room), send_bytes(socket, bytes)
//   read_bytes(handle, room), write_bytes(handle, bytes)     of a pipe, a terminal, or whatever else is no socket
//   end_sending(socket)                 its peer reads the end once it has read all that was sent before

#if !defined(_WIN32)
#  include <plait/os/posix/byte_stream.hpp>
#endif
