// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/posix/poller.hpp>
#include <plait/os/system_error.hpp>

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

namespace detail {

using namespace plait::detail;

// glibc has epoll_pwait2 since 2.35: a template finds it where it is.
template <class Event>
int wait_in_epoll(int epoll, Event* events, int most, std::chrono::nanoseconds left) noexcept {
    if constexpr (requires { epoll_pwait2(epoll, events, most, nullptr, nullptr); }) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
        const ::timespec time{static_cast<time_t>(seconds.count()), static_cast<long>((left - seconds).count())};
        const int count = epoll_pwait2(epoll, events, most, &time, nullptr);
        if (count >= 0 || errno != ENOSYS) return count;
    }
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left);
    return ::epoll_wait(epoll, events, most, static_cast<int>(milliseconds.count()));
}

}  // namespace detail

class Poller {
public:
    Poller() : epoll_{above_standard_streams(::epoll_create1(EPOLL_CLOEXEC))} {
        if (!epoll_) throw_system_error("epoll_create1");
    }

    void add(NativeHandle handle, short events, std::uint32_t stamp) {
        if (control(EPOLL_CTL_ADD, handle, events, stamp)) return;
        if (errno == EPERM)
            throw_system_error("epoll_ctl: this is a file or a device that is always ready, so just read or write it");
        if (errno != EEXIST || !control(EPOLL_CTL_MOD, handle, events, stamp)) throw_system_error("epoll_ctl");
    }
    void change(NativeHandle handle, short events, std::uint32_t stamp) {
        if (control(EPOLL_CTL_MOD, handle, events, stamp)) return;
        if (errno != ENOENT || !control(EPOLL_CTL_ADD, handle, events, stamp)) throw_system_error("epoll_ctl");
    }
    void remove(NativeHandle handle) noexcept { static_cast<void>(control(EPOLL_CTL_DEL, handle, 0, 0)); }

    template <class Told>
    void wait(detail::Deadline deadline, Told told) {
        std::array<::epoll_event, 256> events;
        const int most = static_cast<int>(events.size());
        int count = 0;
        if (deadline.is_never()) {
            count = ::epoll_wait(epoll_.get(), events.data(), most, -1);
        } else {
            const auto left = (std::min)(deadline.left().duration(), std::chrono::nanoseconds{std::chrono::hours{1}});
            count = left.count() == 0 ? ::epoll_wait(epoll_.get(), events.data(), most, 0)
                                      : detail::wait_in_epoll(epoll_.get(), events.data(), most, left);
        }
        if (count < 0 && errno != EINTR) throw_system_error("epoll_wait");
        for (int i = 0; i < count; ++i) {
            const ::epoll_event& event = events[static_cast<std::size_t>(i)];
            told(static_cast<NativeHandle>(event.data.u64 & UINT32_MAX),
                 static_cast<std::uint32_t>(event.data.u64 >> 32), static_cast<short>(event.events));
        }
    }
    /// Lets go of it in a fork's copy, where it is the parent's still.
    void close() noexcept { epoll_.reset(); }

private:
    [[nodiscard]] bool control(int what, NativeHandle handle, short events, std::uint32_t stamp) noexcept {
        ::epoll_event event{};
        event.events = static_cast<std::uint32_t>(events);
        event.data.u64 = std::uint64_t{stamp} << 32 | static_cast<std::uint32_t>(handle);
        return ::epoll_ctl(epoll_.get(), what, handle, &event) == 0;
    }

    Handle epoll_;
};

static_assert(readable == EPOLLIN && writable == EPOLLOUT && (hung_up & EPOLLERR) != 0 && (hung_up & EPOLLHUP) != 0);

}  // namespace plait::inline PLAIT_ABI::os
