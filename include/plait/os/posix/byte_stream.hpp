// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/handle.hpp>
#include <plait/os/terminal.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>

namespace plait::inline PLAIT_ABI::os {

struct Flow {
    std::size_t count = 0;
    int error = 0;
    bool would_block = false;
};

/// Calls until no signal interrupts it.
template <class Call>
Flow flow_of(Call call) noexcept {
    for (;;) {
        const ssize_t count = call();
        if (count >= 0) return {static_cast<std::size_t>(count), 0, false};
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {0, 0, true};
        if (errno != EINTR) return {0, errno, false};
    }
}

inline Flow receive_bytes(NativeHandle socket, std::span<char> room) noexcept {
    return flow_of([=] { return ::recv(socket, room.data(), room.size(), MSG_DONTWAIT); });
}

inline Flow send_bytes(NativeHandle socket, std::string_view bytes) noexcept {
    return flow_of([=] { return ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
}

inline Flow read_bytes(NativeHandle handle, std::span<char> room) noexcept {
    return flow_of([=] { return ::read(handle, room.data(), room.size()); });
}

inline Flow write_bytes(NativeHandle handle, std::string_view bytes) noexcept {
    NoPipeSignal none;
    const Flow flow = flow_of([=] { return ::write(handle, bytes.data(), bytes.size()); });
    none.has_failed = flow.error == EPIPE;
    return flow;
}

inline void end_sending(NativeHandle socket) noexcept { ::shutdown(socket, SHUT_WR); }

}  // namespace plait::inline PLAIT_ABI::os
