// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/child_process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

/// How many handles from 3 on a spawned child finds: its channel.
inline constexpr int inherited_handles = 1;

/// The status of a dead process that somebody else has reaped, from kernels that keep it (6.15 and later).
inline ExitStatus exit_status_by_pidfd(NativeHandle pidfd) noexcept {
    struct Info {  // the kernel's struct pidfd_info, as of its first version
        std::uint64_t mask, control_group;
        std::uint32_t pid, thread_group, parent, ids[8];
        std::int32_t exit_code;
    };
    static_assert(sizeof(Info) == 64);
    constexpr std::uint64_t exit_wanted = 1U << 3;
    Info info{};
    info.mask = exit_wanted;
    if (::ioctl(pidfd, _IOWR(0xFF, 11, Info), &info) != 0 || (info.mask & exit_wanted) == 0) return {};
    return exit_status_of(info.exit_code);
}

/// A child held by a pidfd: its end is an event, and a signal can meet no other process that got its number.
class Child {
public:
    Child() noexcept = default;

    [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
    [[nodiscard]] NativeHandle sentinel() const noexcept { return pidfd_.get(); }
    [[nodiscard]] ExitStatus status() const noexcept { return status_; }

    void wait_for_news(detail::Deadline deadline) const { static_cast<void>(wait_readable(pidfd_.get(), deadline)); }

    bool reap() {
        if (ended_) return true;
        if (!wait_readable(pidfd_.get(), detail::Deadline::at({}))) return false;
        ::siginfo_t info{};
        int result = 0;
        do result = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG);
        while (result != 0 && errno == EINTR);
        if (result == 0 && info.si_pid != 0)
            status_ = {true, info.si_code == CLD_EXITED ? std::int64_t{info.si_status} : -std::int64_t{info.si_status}};
        else
            status_ = exit_status_by_pidfd(pidfd_.get());  // the host reaped it, or ignores SIGCHLD
        ended_ = true;
        return true;
    }

    bool wait(detail::Deadline deadline) {
        wait_for_news(deadline);
        return reap();
    }

    void send_signal(int number) {
        if (!ended_ && ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) != 0 && errno != ESRCH)
            throw_system_error("pidfd_send_signal");
    }

private:
    friend Child adopt_child(pid_t pid);

    pid_t pid_ = 0;
    Handle pidfd_;
    bool ended_ = false;
    ExitStatus status_;
};

inline Child adopt_child(pid_t pid) {
    Child child;
    child.pid_ = pid;
    child.pidfd_ = watch_process(pid);
    ::siginfo_t info{};
    const bool is_taken = child.pidfd_ ? ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd_.get()),
                                                  &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
                                             errno == ECHILD
                                       : errno == ESRCH;
    if (is_taken) {
        // It has ended, and its status, perhaps even its number, is gone: the host ignores SIGCHLD, or was quicker.
        if (child.pidfd_) child.status_ = exit_status_by_pidfd(child.pidfd_.get());
        child.pidfd_ =
            above_standard_streams(::open("/dev/null", O_RDONLY | O_CLOEXEC));  // readable, as its sentinel is
        child.ended_ = true;
        return child;
    }
    if (!child.pidfd_) {
        // Without a pidfd (no descriptor left) nobody could tell its end: it may not go on unwatched.
        const int error = errno;
        ::kill(pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
        throw_system_error("pidfd_open", error);
    }
    return child;
}

template <class Body>
Child fork_child(Body&& body) {
    return adopt_child(fork_process(std::forward<Body>(body)));
}

inline Child spawn_self(std::span<const std::string> arguments, const Handle& channel, const SpawnOptions& options) {
    const NativeHandle inherited[] = {channel.get()};
    return adopt_child(spawn_process(arguments, inherited, options));
}

}  // namespace plait::inline PLAIT_ABI::os
