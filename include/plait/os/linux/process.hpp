// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/process.hpp>

#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

inline bool has_raised_privileges() noexcept { return ::getauxval(AT_SECURE) != 0; }

inline Handle watch_process(std::int64_t pid) noexcept {
    return above_standard_streams(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
}

inline constexpr bool children_die_with_parent = true;

inline bool die_with_parent(std::int64_t pid) noexcept {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    return ::getppid() == static_cast<pid_t>(pid);  // asked after: a parent that died between is seen here
}

inline void wake_with_parent() noexcept { ::prctl(PR_SET_PDEATHSIG, SIGCONT); }

inline void close_handles_from(NativeHandle first) noexcept {
    if (::syscall(SYS_close_range, first, ~0U, 0) != 0) close_listed_handles_from(first);
}

}  // namespace plait::inline PLAIT_ABI::os
