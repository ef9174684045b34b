// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/system_error.hpp>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
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
    ssize_t sent = -1;
    // Again, for who sends a byte to wake somebody and does not wait until there is room.
    do sent = ::send(end.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
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

/// What the socket calls take: parts of memory, and room for handles beside them.
class SocketMessage {
public:
    explicit SocketMessage(std::span<iovec> parts) noexcept {
        header.msg_iov = parts.data();
        header.msg_iovlen = static_cast<decltype(header.msg_iovlen)>(parts.size());
    }
    SocketMessage(const SocketMessage&) = delete;
    SocketMessage& operator=(const SocketMessage&) = delete;

    void attach(std::span<const NativeHandle> handles) {
        if (handles.empty()) return;
        if (handles.size() > most_handles)
            throw std::length_error("plait: " + std::to_string(handles.size()) +
                                    " handles for one message, which takes " + std::to_string(most_handles) +
                                    ": send them in several");
        header.msg_control = control_;
        header.msg_controllen = static_cast<decltype(header.msg_controllen)>(CMSG_SPACE(handles.size_bytes()));
        std::memset(control_, 0, header.msg_controllen);
        cmsghdr* const first = CMSG_FIRSTHDR(&header);
        first->cmsg_level = SOL_SOCKET;
        first->cmsg_type = SCM_RIGHTS;
        first->cmsg_len = static_cast<decltype(first->cmsg_len)>(CMSG_LEN(handles.size_bytes()));
        std::memcpy(CMSG_DATA(first), handles.data(), handles.size_bytes());
    }
    void make_room_for_handles() noexcept {
        header.msg_control = control_;
        header.msg_controllen = sizeof control_;
    }
    /// Appends what came; false where some found no room in this process.
    bool take_handles(std::vector<Handle>& handles) {
        bool complete = (header.msg_flags & MSG_CTRUNC) == 0;
        // All are owned before anything can throw.
        std::size_t count = 0;
        std::array<Handle, most_handles> taken;
        for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
            if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
            const std::size_t came = (each->cmsg_len - CMSG_LEN(0)) / sizeof(NativeHandle);
            for (std::size_t i = 0; i < came && count < taken.size(); ++i) {
                NativeHandle native = Handle::none;
                std::memcpy(&native, CMSG_DATA(each) + i * sizeof native, sizeof native);
                taken[count] = above_standard_streams(native);
                if (taken[count])
                    ++count;
                else
                    complete = false;
            }
        }
        try {
            handles.reserve(handles.size() + count);
        } catch (const std::bad_alloc&) {
            return false;  // the bytes have been received: they are not lost too
        }
        for (std::size_t i = 0; i < count; ++i) handles.push_back(std::move(taken[i]));
        return complete;
    }

    msghdr header{};

private:
    // Not filled with zeros: every receive has one.
    alignas(cmsghdr) char control_[CMSG_SPACE(most_handles * sizeof(NativeHandle))];
};

/// The parts of one message, one after the other in the stream: what fits now.
inline constexpr std::size_t most_pieces = 8;

inline Transfer send_some(const Handle& end, std::span<const std::span<const std::byte>> pieces,
                          std::span<const NativeHandle> handles) {
    iovec parts[most_pieces];
    std::size_t count = 0;
    for (; count < pieces.size() && count < most_pieces; ++count)
        parts[count] = {const_cast<std::byte*>(pieces[count].data()), pieces[count].size()};
    SocketMessage message{{parts, count}};
    message.attach(handles);
    const auto sent = ::sendmsg(end.get(), &message.header, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? failed_transfer("sendmsg") : Transfer{static_cast<std::size_t>(sent), false};
}

/// Appends to `handles` those that came along with a byte that was received. No byte that handles come with is received
/// together with a later one of the kind.
inline Transfer receive_some(const Handle& end, std::span<std::byte> buffer, std::vector<Handle>& handles) {
    iovec part{buffer.data(), buffer.size()};
    SocketMessage message{{&part, 1}};
    message.make_room_for_handles();
    const auto received = ::recvmsg(end.get(), &message.header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received < 0) return failed_transfer("recvmsg");
    if (message.header.msg_controllen != 0) static_cast<void>(message.take_handles(handles));
    return {static_cast<std::size_t>(received), received == 0 && !buffer.empty()};
}

/// For this process and whoever else holds this end.
inline void stop_sending(const Handle& end) noexcept { ::shutdown(end.get(), SHUT_WR); }
inline void end_channel(const Handle& end) noexcept { ::shutdown(end.get(), SHUT_RDWR); }

/// `bytes` is short enough to go in one piece. False where the other end is gone.
/// Throws: std::length_error for more than most_handles handles; std::system_error.
inline bool send_with_handles(const Handle& end, std::span<const std::byte> bytes,
                              std::span<const NativeHandle> handles) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    SocketMessage message{{&part, 1}};
    message.attach(handles);
    ssize_t sent = 0;
    do sent = ::sendmsg(end.get(), &message.header, MSG_NOSIGNAL);
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
    SocketMessage message{{&part, 1}};
    message.make_room_for_handles();
    ssize_t received = 0;
    do received = ::recvmsg(end.get(), &message.header, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0 && errno != ECONNRESET) throw_system_error("recvmsg");
    const bool complete = received >= 0 && message.take_handles(handles);
    return complete && received == static_cast<ssize_t>(buffer.size());
}

inline bool peer_is(const Handle& end, std::int64_t pid) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(end.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && size == sizeof peer &&
           peer.uid == ::geteuid() && peer.pid == static_cast<pid_t>(pid);
}

}  // namespace plait::inline PLAIT_ABI::os
