// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/system_error.hpp>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

struct Transfer {
    std::size_t count = 0;
    bool closed = false;
};

struct ChannelEnds {
    Handle first;
    Handle second;
};

inline ChannelEnds make_channel() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw_system_error("socketpair");
    ChannelEnds channel{above_standard_streams(ends[0]), above_standard_streams(ends[1])};
    if (!channel.first || !channel.second) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
    return channel;
}

/// What a failed transfer means: nothing now, or the other end gone; other errors are thrown.
inline Transfer failed_transfer(const char* call) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {};
    if (errno == EPIPE || errno == ECONNRESET) return {0, true};
    throw_system_error(call);
}

inline Transfer send_some(const Handle& end, std::span<const std::byte> bytes) {
    const auto sent = ::send(end.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? failed_transfer("send") : Transfer{static_cast<std::size_t>(sent), false};
}

inline Transfer receive_some(const Handle& end, std::span<std::byte> buffer) {
    const auto received = ::recv(end.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (received < 0) return failed_transfer("recv");
    return {static_cast<std::size_t>(received), received == 0 && !buffer.empty()};
}

inline bool send_all(const Handle& end, std::span<const std::byte> bytes,
                     detail::Deadline deadline = detail::Deadline::never()) {
    while (!bytes.empty()) {
        const Transfer sent = send_some(end, bytes);
        if (sent.closed) return false;
        bytes = bytes.subspan(sent.count);
        PollItem item{end.get(), writable};
        if (!bytes.empty() && !poll({&item, 1}, deadline)) return false;
    }
    return true;
}

inline bool receive_all(const Handle& end, std::span<std::byte> buffer,
                        detail::Deadline deadline = detail::Deadline::never()) {
    while (!buffer.empty()) {
        if (!wait_readable(end.get(), deadline)) return false;
        const Transfer received = receive_some(end, buffer);
        if (received.closed) return false;
        buffer = buffer.subspan(received.count);
    }
    return true;
}

/// As many as Linux lets one message carry.
inline constexpr std::size_t most_handles = 253;

/// `bytes` is short enough to go in one piece. False where the other end is gone.
/// Throws: std::length_error for more than most_handles handles; std::system_error.
inline bool send_with_handles(const Handle& end, std::span<const std::byte> bytes,
                              std::span<const NativeHandle> handles) {
    if (handles.size() > most_handles)
        throw std::length_error("plait: " + std::to_string(handles.size()) + " handles for one message, which takes " +
                                std::to_string(most_handles) + ": send them in several");
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(most_handles * sizeof(NativeHandle))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!handles.empty()) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(handles.size_bytes());
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(handles.size_bytes());
        std::memcpy(CMSG_DATA(header), handles.data(), handles.size_bytes());
    }
    ssize_t sent = 0;
    do sent = ::sendmsg(end.get(), &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EPIPE && errno != ECONNRESET) throw_system_error("sendmsg");
    return sent == static_cast<ssize_t>(bytes.size());
}

/// Fills `buffer` from one message, and `handles` with what came along. False where the other end is gone, nothing came
/// by the deadline, or the message is not `buffer.size()` bytes long.
inline bool receive_with_handles(const Handle& end, std::span<std::byte> buffer, std::vector<Handle>& handles,
                                 detail::Deadline deadline = detail::Deadline::never()) {
    if (!wait_readable(end.get(), deadline)) return false;
    iovec part{buffer.data(), buffer.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(most_handles * sizeof(NativeHandle))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t received = 0;
    do received = ::recvmsg(end.get(), &message, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0 && errno != ECONNRESET) throw_system_error("recvmsg");
    bool complete = (message.msg_flags & MSG_CTRUNC) == 0;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(NativeHandle);
        for (std::size_t i = 0; i < count; ++i) {
            NativeHandle native = Handle::none;
            std::memcpy(&native, CMSG_DATA(header) + i * sizeof native, sizeof native);
            handles.push_back(above_standard_streams(native));
            if (!handles.back()) complete = false;
        }
    }
    return complete && received == static_cast<ssize_t>(buffer.size());
}

inline bool peer_is(const Handle& end, std::int64_t pid) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(end.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && size == sizeof peer &&
           peer.uid == ::geteuid() && peer.pid == static_cast<pid_t>(pid);
}

}  // namespace plait::inline PLAIT_ABI::os
