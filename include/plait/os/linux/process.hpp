// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/process.hpp>

#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>

namespace plait::inline PLAIT_ABI::os {

inline bool has_raised_privileges() noexcept { return ::getauxval(AT_SECURE) != 0; }

/// In doubt it was.
inline bool was_raised_at_start() noexcept {
    if (!has_raised_privileges()) return false;
    // Capabilities, or a security module's doing. Else the ids may have differed in who started it already.
    if (::getuid() == ::geteuid() && ::getgid() == ::getegid()) return true;
    struct ::stat file{};
    if (::stat("/proc/self/exe", &file) != 0 || (file.st_mode & (S_ISUID | S_ISGID)) != 0) return true;
    return ::getxattr("/proc/self/exe", "security.capability", nullptr, 0) >= 0 ||
           (errno != ENODATA && errno != ENOTSUP);
}

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

/// Whether there was one to ask.
inline bool wait_watched(NativeHandle watch, ::siginfo_t& info, int more_options) noexcept {
    int result = 0;
    do
        result =
            ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(watch), &info, WEXITED | WNOHANG | more_options);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

inline std::optional<ExitStatus> reap_watched(NativeHandle watch) noexcept {
    ::siginfo_t info{};
    if (!wait_watched(watch, info, 0))
        return exit_status_of_watched(watch);  // the host reaped it, or has no such child
    if (info.si_pid == 0) return std::nullopt;
    return ExitStatus{true, info.si_code == CLD_EXITED ? std::int64_t{info.si_status} : -std::int64_t{info.si_status}};
}

inline bool is_held(NativeHandle watch) noexcept {
    ::siginfo_t info{};
    return wait_watched(watch, info, WNOWAIT) && info.si_pid == 0;
}

/// An old kernel, or a filter of system calls, may know none of it, or not all.
inline bool can_watch_processes() noexcept {
    static const bool can = [] {
        const auto is_missing = [](int error) { return error == ENOSYS || error == EPERM || error == EACCES; };
        const Handle self = watch_process(::getpid());
        if (!self) return !is_missing(errno);  // no descriptor left: ask for one later
        ::siginfo_t info{};
        const bool waits = wait_watched(self.get(), info, 0) || errno == ECHILD;
        return waits && (::syscall(SYS_pidfd_send_signal, self.get(), 0, nullptr, 0) == 0 || !is_missing(errno));
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
