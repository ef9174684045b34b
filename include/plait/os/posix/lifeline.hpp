// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>

namespace plait::inline PLAIT_ABI::os {

inline constexpr int polite_end = SIGTERM;
inline constexpr int certain_end = SIGKILL;

/// Ends this process at the news of `watched`, at the end of `channel`, and when `parent`, if given, is no longer its
/// parent.
inline void end_with(Handle watched, const Handle& channel, std::optional<std::int64_t> parent) {
    const auto end_this_process = [] { ::kill(::getpid(), SIGKILL); };
    if (parent && parent_process_id() != *parent) end_this_process();  // asked after the watch began: no gap between
    const BlockSignals blocked;
    // A handle of its own: the other may be closed before this process has ended, and its number be another's then.
    Handle end{::fcntl(channel.get(), F_DUPFD_CLOEXEC, 3)};
    std::thread([end_this_process, parent, watched = std::move(watched), end = std::move(end)] {
        // Asked for nothing but the end: what the parent writes there is for others.
        PollItem items[] = {{watched.get(), readable}, {end.get(), 0}};
        // Where the system does not tell of the parent's end it is asked for now and then.
        const auto soon = [&] {
            return watched ? detail::Deadline::never() : detail::Deadline{std::chrono::milliseconds{200}};
        };
        while (!poll(items, soon()) && (!parent || parent_process_id() == *parent)) {
        }
        end_this_process();
    }).detach();
}

inline void end_with_parent(std::int64_t parent, const Handle& channel) {
    wake_with_parent();
    end_with(watch_process(parent), channel, parent);
}

inline void end_with_program(const Handle& watched, const Handle& channel) {
    end_with(watched ? Handle{::fcntl(watched.get(), F_DUPFD_CLOEXEC, 3)} : Handle{}, channel, std::nullopt);
}

}  // namespace plait::inline PLAIT_ABI::os
