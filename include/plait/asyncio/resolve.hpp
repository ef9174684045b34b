// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/address.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/core/config.hpp>
#include <plait/os/socket.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

/// The kind of the std::system_error by which a name does not resolve; its numbers are those of getaddrinfo.
///
/// Python: socket.gaierror.
inline const std::error_category& resolver_category() noexcept { return os::resolver_category(); }

namespace detail {

/// `host` in numbers is taken as it is; a name is looked up on a thread.
inline Coroutine<std::vector<os::SocketAddress>> addresses_of(std::string host, std::uint16_t port) {
    std::vector<os::SocketAddress> addresses;
    const os::SocketAddress numeric = os::numeric_address(host, port);
    if (numeric.family() != os::SocketFamily::none) {
        addresses.push_back(numeric);
    } else {
        addresses = co_await to_thread(
            {.abandon = true}, [](const std::string& name, std::uint16_t number) { return os::resolve(name, number); },
            host, port);
    }
    co_return addresses;
}

struct ResolveFunction {
    /// Looks the name of a host up, on a thread of `to_thread`, and gives its addresses in the order in which they should
    /// be tried: at least one.
    ///
    ///     std::vector<Address> addresses = co_await resolve("localhost", 80);
    ///
    /// Python: loop.getaddrinfo. A host in numbers is given back at once.
    /// Cancel: returns at once; the look-up, which cannot be stopped, is left to its thread, which `run` waits for at its
    /// end.
    /// Throws: std::system_error naming the host, of `resolver_category()`, where it has no address; std::invalid_argument
    /// for a port that is none.
    Coroutine<std::vector<Address>> operator()(std::string_view host, int port) const {
        return all(std::string{host}, checked_port(port));
    }

private:
    static Coroutine<std::vector<Address>> all(std::string host, std::uint16_t port) {
        const std::vector<os::SocketAddress> found = co_await addresses_of(host, port);
        std::vector<Address> addresses;
        for (const os::SocketAddress& each : found) addresses.push_back(AddressAccess::address(each));
        co_return addresses;
    }
};

}  // namespace detail

inline constexpr detail::ResolveFunction resolve{};

}  // namespace plait::inline PLAIT_ABI::asyncio
