// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/posix/poller.hpp>
#include <plait/os/system_error.hpp>

#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

class Poller {
public:
    void add(NativeHandle handle, short events, std::uint32_t stamp) {
        // poll would tell of both as ready, again and again.
        struct ::stat status{};
        if (::fstat(handle, &status) != 0) throw_system_error("fstat");
        if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
            throw_system_error("poll: this is a file, which is always ready, so just read or write it", EPERM);
        const auto number = static_cast<std::size_t>(handle);
        if (number >= places_.size()) places_.resize(number + 1, nowhere);
        if (places_[number] == nowhere) {
            stamps_.resize(items_.size());  // what a try without memory left
            stamps_.push_back(stamp);
            items_.emplace_back(handle, events);
            places_[number] = items_.size() - 1;
        } else {
            items_[places_[number]].events = events;
            stamps_[places_[number]] = stamp;
        }
    }
    void change(NativeHandle handle, short events, std::uint32_t stamp) { add(handle, events, stamp); }
    void remove(NativeHandle handle) noexcept {
        const auto number = static_cast<std::size_t>(handle);
        if (number >= places_.size() || places_[number] == nowhere) return;
        const std::size_t place = places_[number];
        items_[place] = items_.back();
        stamps_[place] = stamps_.back();
        places_[static_cast<std::size_t>(items_[place].fd)] = place;
        places_[number] = nowhere;
        items_.pop_back();
        stamps_.pop_back();
    }

    template <class Told>
    void wait(detail::Deadline deadline, Told told) {
        int milliseconds = -1;
        if (!deadline.is_never()) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left().duration());
            milliseconds = static_cast<int>((std::min)(left.count(), std::chrono::milliseconds::rep{3'600'000}));
        }
        const int count = ::poll(items_.data(), static_cast<nfds_t>(items_.size()), milliseconds);
        if (count < 0 && errno != EINTR && errno != EAGAIN && errno != ENOMEM) throw_system_error("poll");
        if (count <= 0) return;
        // Who is told may have others added or removed: so from a copy.
        told_.clear();
        for (std::size_t i = 0; i < items_.size(); ++i)
            if (items_[i].is_ready()) told_.push_back({items_[i].fd, stamps_[i], items_[i].revents});
        for (const Ready& ready : told_) told(ready.handle, ready.stamp, ready.events);
    }
    void close() noexcept {}

private:
    static constexpr std::size_t nowhere = SIZE_MAX;
    struct Ready {
        NativeHandle handle;
        std::uint32_t stamp;
        short events;
    };

    std::vector<PollItem> items_;
    std::vector<std::uint32_t> stamps_;  // of the items
    std::vector<std::size_t> places_;    // by handle
    std::vector<Ready> told_;
};

}  // namespace plait::inline PLAIT_ABI::os
