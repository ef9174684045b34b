// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/socket.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

struct AddressAccess;

inline std::uint16_t checked_port(int port) {
    if (port < 0 || port > 65535) throw std::invalid_argument("a port is a number from 0 to 65535");
    return static_cast<std::uint16_t>(port);
}

}  // namespace detail

/// Where a socket is: a host in numbers and a port, or the path of a UNIX socket.
///
///     Address address = server.addresses().front();
///     std::cout << address << '\n';               // 127.0.0.1:8080, [::1]:8080, /run/socket
///     co_await endpoint.send("hello", Address("127.0.0.1", 9000));
///
/// Python: the tuples of getsockname and getpeername. A default-constructed one is none, as is that of a socket that has
/// none. Names are looked up by `resolve`.
class Address {
public:
    Address() noexcept {}
    /// Throws: std::invalid_argument where `host` is no address in numbers, such as "::1", or `port` is none.
    Address(std::string_view host, int port)
        : address_{os::numeric_address(std::string{host}, detail::checked_port(port))} {
        if (!*this)
            throw std::invalid_argument(
                "an Address takes a host in numbers, such as 127.0.0.1 or ::1: a name is looked up "
                "by resolve(host, port)");
    }
    /// Of a UNIX socket: a path, or on Linux an abstract name, which begins with a zero.
    ///
    /// Throws: std::invalid_argument where it is empty or has a zero within; std::system_error where it is too long.
    static Address local(std::string_view path) { return Address{os::SocketAddress::local(path)}; }

    /// In numbers; empty where it has none.
    std::string host() const { return address_.host(); }
    /// 0 where it has none.
    int port() const noexcept { return address_.port(); }
    /// Of a UNIX socket; empty for others, and for one that was given none.
    std::string path() const { return address_.path(); }
    /// For people to read: an abstract name begins with an @.
    std::string to_string() const { return address_.to_string(); }
    /// Whether it is one.
    explicit operator bool() const noexcept { return address_.family() != os::SocketFamily::none; }

    friend bool operator==(const Address& a, const Address& b) noexcept { return a.address_ == b.address_; }
    template <class Stream>
        requires requires(Stream& stream, const std::string& text) { stream << text; }
    friend Stream& operator<<(Stream& stream, const Address& address) {
        stream << address.to_string();
        return stream;
    }

private:
    friend struct detail::AddressAccess;
    explicit Address(const os::SocketAddress& address) noexcept : address_{address} {}

    os::SocketAddress address_;
};

namespace detail {

/// For the rest of the wing.
struct AddressAccess {
    static Address address(const os::SocketAddress& native) noexcept { return Address{native}; }
    static const os::SocketAddress& native(const Address& address) noexcept { return address.address_; }
};

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::asyncio
