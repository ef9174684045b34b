// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>
#include <plait/os/system_error.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace plait::inline PLAIT_ABI::os {

/// A child that has ended and been reaped.
struct Reaped {
    pid_t pid = 0;
    ExitStatus status;
    std::size_t most_memory = 0;  ///< bytes, the largest it ever had in memory
};

/// Watches handles and its own children at once. One a process, and only while that has a single thread: it takes
/// SIGCHLD, and reaps every child there is.
class ChildReaper {
public:
    ChildReaper() {
        sigset_t child;
        ::sigemptyset(&child);
        ::sigaddset(&child, SIGCHLD);
        // Blocked but inside ppoll, so that a death between reap() and wait() is not slept over.
        ::sigprocmask(SIG_BLOCK, &child, &before_.native);
        struct ::sigaction action{};
        action.sa_handler = [](int) {};
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGCHLD, &action, &action_before_);
        // A handler and not SIG_IGN, which what this process executes would inherit; one that is there already it shall.
        ::sigaction(SIGHUP, nullptr, &hang_up_before_);
        action.sa_flags = SA_RESTART;
        if (hang_up_before_.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);
    }

    /// Returns when an item is ready, when a child may have died, or at the deadline.
    void wait(std::span<PollItem> items, detail::Deadline deadline) {
        sigset_t unblocked = before_.native;
        ::sigdelset(&unblocked, SIGCHLD);
        const auto left = deadline.left().duration();
        const timespec time{static_cast<time_t>(left.count() / 1'000'000'000),
                            static_cast<long>(left.count() % 1'000'000'000)};
        if (::ppoll(items.data(), static_cast<nfds_t>(items.size()), deadline.is_never() ? nullptr : &time,
                    &unblocked) < 0) {
            for (PollItem& item : items) item.revents = 0;
            if (errno != EINTR) throw_system_error("ppoll");
        }
    }

    /// A child that has ended, if there is one; `before(pid)` is called while its number is still its own.
    template <class Function>
    std::optional<Reaped> reap(Function before) {
        ::siginfo_t info{};
        if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return std::nullopt;
        before(std::int64_t{info.si_pid});
        int status = 0;
        struct ::rusage usage{};
        if (::wait4(info.si_pid, &status, 0, &usage) != info.si_pid) return std::nullopt;
        return Reaped{info.si_pid, exit_status_of(status), static_cast<std::size_t>(usage.ru_maxrss) * 1024};
    }

    /// For a child of the reaper, right after the fork: SIGCHLD and the mask as they were.
    void undo() const noexcept {
        ::sigaction(SIGCHLD, &action_before_, nullptr);
        ::sigaction(SIGHUP, &hang_up_before_, nullptr);
        ::sigprocmask(SIG_SETMASK, &before_.native, nullptr);
    }

    /// The signal mask before it.
    [[nodiscard]] const SignalMask& before() const noexcept { return before_; }

private:
    SignalMask before_;
    struct ::sigaction action_before_{};
    struct ::sigaction hang_up_before_{};
};

/// Signals an unreaped child and the process group that it leads, stopped members too; none of them need be there.
inline void signal_process_group(std::int64_t leader, int number) noexcept {
    const auto pid = static_cast<pid_t>(leader);
    ::kill(-pid, number);
    ::kill(pid, number);  // it may not lead its group yet
    if (number == SIGKILL) return;
    ::kill(-pid, SIGCONT);
    ::kill(pid, SIGCONT);
}

}  // namespace plait::inline PLAIT_ABI::os
