// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/socket.hpp>

#include <cstdint>
#include <exception>
#include <system_error>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// A socket that is bound, and the file that this made.
struct ServerPlace {
    os::Handle socket;
    os::LocalName name;
};

/// Binds each of `addresses`. False where the port that the first one was given is taken for another.
inline bool try_to_bind_each(const std::vector<os::SocketAddress>& addresses, bool reuse_port, bool one_port,
                             std::vector<ServerPlace>& places) {
    std::exception_ptr missing;
    std::uint16_t port = 0;
    for (os::SocketAddress address : addresses) {
        const bool port_given = address.port() != 0;
        if (!port_given && one_port) address.set_port(port);
        try {
            os::Handle socket = os::bind_stream(address, reuse_port);
            port = os::local_address(socket.get()).port();
            places.push_back({std::move(socket), os::LocalName{}});
        } catch (const std::system_error& error) {
            const std::error_code code = error.code();
            if (code == std::errc::address_in_use && !port_given && address.port() != 0) return false;
            // A machine without IPv6, of which its list of names does not know.
            if (code != std::errc::address_family_not_supported && code != std::errc::address_not_available) throw;
            missing = std::current_exception();
        }
    }
    if (places.empty()) std::rethrow_exception(missing);
    return true;
}

/// The same with one port for all, where that can be had.
inline std::vector<ServerPlace> bind_each(const std::vector<os::SocketAddress>& addresses, bool reuse_port) {
    constexpr int most_tries = 10;
    std::vector<ServerPlace> places;
    for (int i = 1; !try_to_bind_each(addresses, reuse_port, i < most_tries, places); ++i) places.clear();
    return places;
}

inline std::vector<ServerPlace> bind_path(const os::SocketAddress& address) {
    std::vector<ServerPlace> places(1);
    places[0].socket = os::bind_local(address);
    places[0].name = os::LocalName{address.path()};
    return places;
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
