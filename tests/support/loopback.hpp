// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/socket.hpp>

#include <sys/socket.h>

#include <cstdio>
#include <system_error>

namespace support {

/// Whether this machine has a loopback of IPv6; says so where it has none.
inline bool has_ipv6() {
    try {
        plait::os::bind_stream(plait::os::loopback_address(plait::os::SocketFamily::ipv6, 0), false);
        return true;
    } catch (const std::system_error& error) {
        std::printf("skipped: no IPv6 here: %s\n", error.what());
        return false;
    }
}

/// The socket of this process that is bound to `port`.
inline int native_socket_at(int port) {
    for (int number = 3; number < 1024; ++number) {
        sockaddr_storage address{};
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (::getsockname(number, generic, &size) == 0 && plait::os::SocketAddress{generic, size}.port() == port)
            return number;
    }
    throw std::runtime_error("no socket of this port");
}

}  // namespace support
