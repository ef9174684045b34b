// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/process.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

inline bool has_raised_privileges() noexcept { return ::getuid() != ::geteuid() || ::getgid() != ::getegid(); }

inline bool was_raised_at_start() noexcept { return has_raised_privileges(); }

inline Handle watch_process(std::int64_t) noexcept { return Handle{}; }
inline constexpr bool can_watch_processes() noexcept { return false; }
inline bool signal_watched(NativeHandle, int) noexcept { return false; }
inline ExitStatus exit_status_of_watched(NativeHandle) noexcept { return {}; }
inline std::optional<ExitStatus> reap_watched(NativeHandle) noexcept { return ExitStatus{}; }
inline bool is_held(NativeHandle) noexcept { return false; }

inline std::optional<std::size_t> resident_memory(std::int64_t) noexcept { return std::nullopt; }

inline bool is_stopped(std::int64_t) noexcept { return false; }

inline constexpr bool children_die_with_parent = false;

/// Not to be had here: whoever has a channel to the parent sees its end of file.
inline bool die_with_parent(std::int64_t pid) noexcept { return ::getppid() == static_cast<pid_t>(pid); }

/// Not to be had here: a stopped process stays until somebody wakes it.
inline void wake_with_parent() noexcept {}

/// Not to be had here: an orphan is adopted by the system.
inline void adopt_orphans() noexcept {}
inline std::vector<std::int64_t> children_of_this_thread() { return {}; }
inline std::vector<std::int64_t> descendants_of(std::int64_t) { return {}; }

inline void close_handles_from(NativeHandle first) noexcept { close_listed_handles_from(first); }

}  // namespace plait::inline PLAIT_ABI::os
