// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/parking.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

struct ExitStatus {
    bool known = false;
    std::int64_t code = 0;
};

inline ExitStatus exit_status_of(int wait_status) noexcept {
    if (WIFSIGNALED(wait_status)) return {true, -std::int64_t{WTERMSIG(wait_status)}};
    return {true, WEXITSTATUS(wait_status)};
}

/// Forks; the child runs `body` and never comes back. Returns the child's pid.
///
/// The child is a copy of this thread alone: what other threads held locked stays locked there, but for the C library's
/// own locks and plait's, which are made anew.
template <class Body>
pid_t fork_process(Body&& body) {
    flush_standard_streams();
    const pid_t pid = ::fork();
    if (pid < 0) throw_system_error("fork");
    if (pid > 0) return pid;
    int code = 1;
    try {
        detail::parking::reset_after_fork();
        code = body();
    } catch (...) {
        code = 1;
    }
    exit_immediately(code);
}

/// What a fresh child gets besides its command line.
struct SpawnOptions {
    std::vector<std::string> environment;     ///< NAME=value, each over the parent's own
    const SignalMask* signal_mask = nullptr;  ///< instead of the calling thread's
};

inline constexpr NativeHandle first_inherited = 3;

/// Starts this program's executable anew, with `arguments` behind its name, and `inherited` as handles 3, 4 and so on.
inline pid_t spawn_process(std::span<const std::string> arguments, std::span<const NativeHandle> inherited,
                           const SpawnOptions& options) {
    std::vector<std::string> environment = options.environment;
    const auto overridden = [&](const std::string& entry) {
        const auto name = entry.substr(0, entry.find('=') + 1);
        for (const std::string& own : options.environment)
            if (own.compare(0, name.size(), name) == 0) return true;
        return false;
    };
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry)
        if (!overridden(*entry)) environment.emplace_back(*entry);
    std::vector<std::string> strings{program_name()};
    strings.insert(strings.end(), arguments.begin(), arguments.end());
    const auto pointers = [](std::vector<std::string>& texts) {
        std::vector<char*> result;
        for (std::string& text : texts) result.push_back(text.data());
        result.push_back(nullptr);
        return result;
    };

    // Moved up first: no number may be overwritten before it is copied, and a copy onto itself would keep close-on-exec.
    std::vector<Handle> moved;
    const auto end = static_cast<int>(first_inherited + inherited.size());
    for (const NativeHandle native : inherited) {
        moved.emplace_back(::fcntl(native, F_DUPFD_CLOEXEC, end));
        if (!moved.back()) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
    }

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    for (std::size_t i = 0; i < moved.size(); ++i)
        ::posix_spawn_file_actions_adddup2(&actions, moved[i].get(), first_inherited + static_cast<int>(i));
    if (options.signal_mask != nullptr) {
        ::posix_spawnattr_setsigmask(&attributes, &options.signal_mask->native);
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    }
    flush_standard_streams();
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, executable_path(), &actions, &attributes, pointers(strings).data(),
                                    pointers(environment).data());
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw_system_error("posix_spawn of this executable", error);
    return pid;
}

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
        ::sigaction(SIGCHLD, &action, nullptr);
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
    void undo() const {
        ::signal(SIGCHLD, SIG_DFL);
        ::sigprocmask(SIG_SETMASK, &before_.native, nullptr);
    }

    /// The signal mask before it.
    [[nodiscard]] const SignalMask& before() const noexcept { return before_; }

private:
    SignalMask before_;
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
