// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/process.hpp>

#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

inline bool has_raised_privileges() noexcept { return ::getauxval(AT_SECURE) != 0; }

inline Handle watch_process(std::int64_t pid) noexcept {
    return above_standard_streams(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
}

/// Whether that process could be signalled: for want of the right to it is an error of its own.
inline bool signal_watched(NativeHandle watch, int number) {
    if (::syscall(SYS_pidfd_send_signal, watch, number, nullptr, 0) == 0) return true;
    if (errno != ESRCH) throw_system_error("pidfd_send_signal");
    return false;
}

/// From kernels that keep it (6.15 and later), once somebody has reaped that process.
inline ExitStatus exit_status_of_watched(NativeHandle watch) noexcept {
    struct Info {  // the kernel's struct pidfd_info, as of its first version
        std::uint64_t mask, control_group;
        std::uint32_t pid, thread_group, parent, ids[8];
        std::int32_t exit_code;
    };
    static_assert(sizeof(Info) == 64);
    constexpr std::uint64_t exit_wanted = 1U << 3;
    Info info{};
    info.mask = exit_wanted;
    if (::ioctl(watch, _IOWR(0xFF, 11, Info), &info) != 0 || (info.mask & exit_wanted) == 0) return {};
    return exit_status_of(info.exit_code);
}

inline ExitStatus reap_watched(NativeHandle watch) noexcept {
    ::siginfo_t info{};
    int result = 0;
    do result = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(watch), &info, WEXITED | WNOHANG);
    while (result != 0 && errno == EINTR);
    if (result != 0 || info.si_pid == 0) return exit_status_of_watched(watch);  // the host reaped it
    return {true, info.si_code == CLD_EXITED ? std::int64_t{info.si_status} : -std::int64_t{info.si_status}};
}

/// An old kernel, or a filter of system calls, may know none of it, or not all.
inline bool can_watch_processes() noexcept {
    static const bool can = [] {
        const Handle self = watch_process(::getpid());
        if (!self)
            return errno != ENOSYS && errno != EPERM && errno != EACCES;  // no descriptor left: ask for one later
        ::siginfo_t info{};
        const bool waits =
            ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(self.get()), &info, WEXITED | WNOHANG) == 0 ||
            errno == ECHILD;
        return waits && ::syscall(SYS_pidfd_send_signal, self.get(), 0, nullptr, 0) == 0;
    }();
    return can;
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
