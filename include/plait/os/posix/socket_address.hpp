// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/system_error.hpp>

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

enum class SocketFamily : std::uint8_t { none, ipv4, ipv6, local };

class SocketAddress {
public:
    SocketAddress() noexcept { storage_.any.sa_family = AF_UNSPEC; }
    /// What a system call wrote. Of a family that is none of ours: none.
    SocketAddress(const sockaddr* address, socklen_t size) noexcept : SocketAddress{} {
        if (size < sizeof(sa_family_t) || size > sizeof storage_) return;
        if (address->sa_family != AF_INET && address->sa_family != AF_INET6 && address->sa_family != AF_UNIX) return;
        std::memcpy(&storage_, address, size);
        size_ = size;
    }
    /// Throws: std::invalid_argument for a path that is empty or has a zero within; std::system_error where it is too long.
    static SocketAddress local(std::string_view path);

    [[nodiscard]] SocketFamily family() const noexcept {
        switch (native_family()) {
            case AF_INET:
                return SocketFamily::ipv4;
            case AF_INET6:
                return SocketFamily::ipv6;
            case AF_UNIX:
                return SocketFamily::local;
            default:
                return SocketFamily::none;
        }
    }
    /// In numbers, with the scope where there is one; empty where it has none.
    [[nodiscard]] std::string host() const;
    [[nodiscard]] std::uint16_t port() const noexcept;
    void set_port(std::uint16_t port) noexcept;
    /// Of a local socket; empty where it was given no name.
    [[nodiscard]] std::string path() const;
    /// "127.0.0.1:80", "[::1]:80", "/run/socket", "@abstract"; empty for none.
    [[nodiscard]] std::string to_string() const;

    [[nodiscard]] int native_family() const noexcept { return storage_.any.sa_family; }
    [[nodiscard]] const sockaddr* get() const noexcept { return &storage_.any; }
    [[nodiscard]] socklen_t size() const noexcept { return size_; }

    friend bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept { return a.equals(b); }

private:
    friend SocketAddress any_address(SocketFamily family, std::uint16_t port) noexcept;
    friend SocketAddress loopback_address(SocketFamily family, std::uint16_t port) noexcept;
    [[nodiscard]] bool equals(const SocketAddress& other) const noexcept;

    union Storage {
        sockaddr any;
        sockaddr_in ipv4;
        sockaddr_in6 ipv6;
        sockaddr_un local;
    };
    Storage storage_{.ipv6 = {}};
    socklen_t size_ = 0;
};

inline SocketAddress SocketAddress::local(std::string_view path) {
    const bool is_abstract = !path.empty() && path.front() == '\0';
    if (path.size() == (is_abstract ? 1u : 0u) || path.find('\0', is_abstract ? 1 : 0) != std::string_view::npos)
        throw std::invalid_argument("a socket's path is not empty and has no zero within");
    SocketAddress result;
    if (path.size() >= sizeof result.storage_.local.sun_path)
        throw_system_error("a socket's path of " + std::to_string(path.size()) + " bytes", ENAMETOOLONG);
    result.storage_.local = {};
    result.storage_.local.sun_family = AF_UNIX;
    std::memcpy(result.storage_.local.sun_path, path.data(), path.size());
    // An abstract name is as long as it says; a path ends with a zero.
    result.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (is_abstract ? 0 : 1));
    return result;
}

inline std::string SocketAddress::host() const {
    char text[INET6_ADDRSTRLEN] = "";
    if (family() == SocketFamily::ipv4) return ::inet_ntop(AF_INET, &storage_.ipv4.sin_addr, text, sizeof text);
    if (family() != SocketFamily::ipv6) return {};
    std::string host = ::inet_ntop(AF_INET6, &storage_.ipv6.sin6_addr, text, sizeof text);
    if (const auto scope = storage_.ipv6.sin6_scope_id; scope != 0) {
        char name[IF_NAMESIZE] = "";
        host += "%" + (::if_indextoname(scope, name) != nullptr ? std::string{name} : std::to_string(scope));
    }
    return host;
}

inline std::uint16_t SocketAddress::port() const noexcept {
    if (family() == SocketFamily::ipv4) return ntohs(storage_.ipv4.sin_port);
    return family() == SocketFamily::ipv6 ? ntohs(storage_.ipv6.sin6_port) : std::uint16_t{0};
}

inline void SocketAddress::set_port(std::uint16_t port) noexcept {
    if (family() == SocketFamily::ipv4) storage_.ipv4.sin_port = htons(port);
    if (family() == SocketFamily::ipv6) storage_.ipv6.sin6_port = htons(port);
}

inline std::string SocketAddress::path() const {
    constexpr std::size_t begin = offsetof(sockaddr_un, sun_path);
    if (family() != SocketFamily::local || size_ <= begin) return {};
    const std::string_view whole{storage_.local.sun_path, size_ - begin};
    return std::string{whole.front() == '\0' ? whole : whole.substr(0, whole.find('\0'))};
}

inline std::string SocketAddress::to_string() const {
    switch (family()) {
        case SocketFamily::ipv4:
            return host() + ":" + std::to_string(port());
        case SocketFamily::ipv6:
            return "[" + host() + "]:" + std::to_string(port());
        case SocketFamily::local: {
            std::string text = path();
            if (!text.empty() && text.front() == '\0') text.front() = '@';
            return text;
        }
        default:
            return {};
    }
}

inline bool SocketAddress::equals(const SocketAddress& other) const noexcept {
    if (family() != other.family()) return false;
    const Storage &mine = storage_, &theirs = other.storage_;
    switch (family()) {
        case SocketFamily::ipv4:
            return mine.ipv4.sin_port == theirs.ipv4.sin_port &&
                   mine.ipv4.sin_addr.s_addr == theirs.ipv4.sin_addr.s_addr;
        case SocketFamily::ipv6:
            return mine.ipv6.sin6_port == theirs.ipv6.sin6_port &&
                   mine.ipv6.sin6_scope_id == theirs.ipv6.sin6_scope_id &&
                   std::memcmp(&mine.ipv6.sin6_addr, &theirs.ipv6.sin6_addr, sizeof mine.ipv6.sin6_addr) == 0;
        case SocketFamily::local:
            return size_ == other.size_ && std::memcmp(&mine, &theirs, size_) == 0;
        default:
            return true;
    }
}

/// Of every interface.
inline SocketAddress any_address(SocketFamily family, std::uint16_t port) noexcept {
    SocketAddress result;
    result.storage_.ipv6 = {};
    if (family == SocketFamily::ipv4) {
        result.storage_.ipv4.sin_family = AF_INET;
        result.storage_.ipv4.sin_addr.s_addr = htonl(INADDR_ANY);
        result.size_ = sizeof(sockaddr_in);
    } else {
        result.storage_.ipv6.sin6_family = AF_INET6;
        result.size_ = sizeof(sockaddr_in6);
    }
    result.set_port(port);
    return result;
}

/// Of this machine, for itself alone.
inline SocketAddress loopback_address(SocketFamily family, std::uint16_t port) noexcept {
    SocketAddress result = any_address(family, port);
    if (family == SocketFamily::ipv4)
        result.storage_.ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        result.storage_.ipv6.sin6_addr = in6addr_loopback;
    return result;
}

/// The errors of name resolution, which have numbers of their own.
class ResolverCategory final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "resolver"; }
    [[nodiscard]] std::string message(int error) const override { return ::gai_strerror(error); }
};
PLAIT_VISIBLE inline const std::error_category& resolver_category() noexcept {
    static const ResolverCategory category;
    return category;
}

namespace detail {

using namespace plait::detail;

/// The addresses of `host`, in the order in which they are to be tried; `flags` as getaddrinfo has them. Returns its error.
inline int look_up(const std::string& host, std::uint16_t port, int flags, std::vector<SocketAddress>& found) {
    if (host.find('\0') != std::string::npos) return EAI_NONAME;  // what getaddrinfo would see is another name
    addrinfo hints{};
    hints.ai_flags = flags | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;  // one of each address, not one for each kind of socket
    addrinfo* first = nullptr;
    const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &first);
    if (error != 0) return error;
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner{first, &::freeaddrinfo};
    for (const addrinfo* each = first; each != nullptr; each = each->ai_next) {
        const SocketAddress address{each->ai_addr, each->ai_addrlen};
        if (address.family() == SocketFamily::none) continue;
        if (std::find(found.begin(), found.end(), address) == found.end()) found.push_back(address);
    }
    return 0;
}

}  // namespace detail

inline SocketAddress numeric_address(const std::string& host, std::uint16_t port) {
    std::vector<SocketAddress> found;
    static_cast<void>(os::detail::look_up(host, port, AI_NUMERICHOST, found));
    return found.empty() ? SocketAddress{} : found.front();
}

inline std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port) {
    std::vector<SocketAddress> found;
    const int error = os::detail::look_up(host, port, 0, found);
    if (error == 0 && !found.empty()) return found;
    const int cause = errno;
    const std::string call = "getaddrinfo(" + host + ")";
    if (error == EAI_SYSTEM) throw_system_error(call, cause);
    throw std::system_error(error != 0 ? error : EAI_NONAME, resolver_category(), call);
}

}  // namespace plait::inline PLAIT_ABI::os
