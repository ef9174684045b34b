// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: sockets that never block, are inherited by nobody and raise no SIGPIPE.
//   SocketAddress                 where a socket is: family, host(), port(), path(), to_string(); of no allocation
//   SocketAddress::local(path)    of a name in the file system; one that begins with a zero is abstract (Linux)
//   numeric_address(host, port)   of "127.0.0.1", "::1", "fe80::1%eth0": nothing is looked up; none for what is a name
//   any_address / loopback_address(family, port)
//   resolve(host, port)           blocks; throws std::system_error that names the host, of resolver_category()
//   stream_socket(family), datagram_socket(family)
//   bind(socket, address), bind_stream(address, reuse_port), bind_local(address), listen(socket, backlog)
//   accept(listener) -> Accepted  and what a failure means
//   connect(socket, address) -> Connecting;  pending_error(socket) once it is writable
//   local_address, peer_address   none where there is none
//   send_datagram, receive_datagram -> bool    false: not now
//   LocalName                     removes a socket's file, if it is still the socket's

#if !defined(_WIN32)
#  include <plait/os/posix/socket.hpp>
#endif
