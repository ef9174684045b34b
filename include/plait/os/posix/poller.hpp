// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <span>

namespace plait::inline PLAIT_ABI::os {

inline constexpr short readable = POLLIN;
inline constexpr short writable = POLLOUT;
/// The other end is gone; told without being asked for. What it sent before may still be readable.
inline constexpr short hung_up = POLLHUP | POLLERR | POLLNVAL;

/// A pollfd under names of our own.
struct PollItem : pollfd {
    PollItem(NativeHandle handle, short wanted) noexcept : pollfd{handle, wanted, 0} {}

    [[nodiscard]] bool is_ready() const noexcept { return revents != 0; }
    [[nodiscard]] bool is_readable() const noexcept { return (revents & (POLLIN | hung_up)) != 0; }
    [[nodiscard]] bool is_writable() const noexcept { return (revents & POLLOUT) != 0; }
    /// The other end was closed; of something that has one.
    [[nodiscard]] bool has_hung_up() const noexcept { return (revents & POLLHUP) != 0; }
};

inline bool poll(std::span<PollItem> items, detail::Deadline deadline) {
    for (;;) {
        int milliseconds = -1;
        if (!deadline.is_never()) {
            // Rounded up, so that the deadline has passed when poll says so.
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left().duration());
            milliseconds = static_cast<int>((std::min)(left.count(), std::chrono::milliseconds::rep{3'600'000}));
        }
        const int count = ::poll(items.data(), static_cast<nfds_t>(items.size()), milliseconds);
        if (count > 0) return true;
        if (count < 0 && errno != EINTR) {
            if (errno != ENOMEM && errno != EAGAIN) throw_system_error("poll");
            ::poll(nullptr, 0, 1);  // the kernel is short of memory for a moment: no reason to give up a wait
        }
        if (!deadline.is_never() && deadline.has_passed()) return false;
    }
}

inline bool wait_readable(NativeHandle handle, detail::Deadline deadline) {
    PollItem item{handle, readable};
    return poll({&item, 1}, deadline);
}

class Waker {
public:
    Waker() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw_system_error("pipe2");
        read_ = above_standard_streams(ends[0]);
        write_ = above_standard_streams(ends[1]);
        if (!read_ || !write_) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
    }

    [[nodiscard]] NativeHandle handle() const noexcept { return read_.get(); }
    [[nodiscard]] const Handle& writing_end() const noexcept { return write_; }
    void wake() noexcept { wake(write_); }
    static void wake(const Handle& writing_end) noexcept {
        const char byte = 0;
        // A full pipe is as readable as one byte more would make it.
        while (::write(writing_end.get(), &byte, 1) < 0 && errno == EINTR) {
        }
    }
    void clear() noexcept {
        char bytes[64];
        for (;;) {
            const auto count = ::read(read_.get(), bytes, sizeof bytes);
            if (count == static_cast<ssize_t>(sizeof bytes) || (count < 0 && errno == EINTR)) continue;
            return;
        }
    }

private:
    Handle read_;
    Handle write_;
};

}  // namespace plait::inline PLAIT_ABI::os
