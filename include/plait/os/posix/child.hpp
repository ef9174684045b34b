// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/child_process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

namespace plait::inline PLAIT_ABI::os {

/// How many handles from 3 on a spawned child finds: its channel, and the pipe whose end of file tells of its death.
inline constexpr int inherited_handles = 2;

/// A child known by its number alone. Its end is seen by end-of-file on a pipe that only it holds open, and, for its own
/// children may hold that too, by asking at least every 50 ms.
class Child {
public:
    Child() noexcept = default;

    [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
    [[nodiscard]] NativeHandle sentinel() const noexcept { return lifeline_.get(); }
    [[nodiscard]] ExitStatus status() const noexcept { return status_; }

    void wait_for_news(detail::Deadline deadline) const {
        // Its end closes the pipe, unless children of its own hold that too; after that only its reaping is waited for.
        PollItem item{lifeline_.get(), readable};
        const bool closed = poll({&item, 1}, detail::Deadline::at({}));
        if (closed) item.fd = Handle::none;
        const auto soon = detail::Deadline{std::chrono::milliseconds{closed ? 1 : 50}};
        static_cast<void>(poll({&item, 1}, soon < deadline ? soon : deadline));
    }

    bool reap() {
        if (ended_) return true;
        int status = 0;
        const pid_t reaped = ::waitpid(pid_, &status, WNOHANG);
        if (reaped == pid_)
            status_ = exit_status_of(status);
        else if (reaped == 0 || errno != ECHILD)  // else the host reaped it, or ignores SIGCHLD
            return false;
        ended_ = true;
        return true;
    }

    bool wait(detail::Deadline deadline) {
        while (!reap()) {
            if (deadline.has_passed()) return false;
            wait_for_news(deadline);
        }
        return true;
    }

    void send_signal(int number) {
        // A child that we have not reaped keeps its number, so this reaches nobody else.
        if (!reap() && ::kill(pid_, number) != 0 && errno != ESRCH) throw_system_error("kill");
    }

private:
    friend Child adopt_child(pid_t pid, Handle lifeline);

    pid_t pid_ = 0;
    Handle lifeline_;
    bool ended_ = false;
    ExitStatus status_;
};

inline Child adopt_child(pid_t pid, Handle lifeline) {
    Child child;
    child.pid_ = pid;
    child.lifeline_ = std::move(lifeline);
    return child;
}

struct Lifeline {
    Handle read;
    Handle write;
};

inline Lifeline make_lifeline() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw_system_error("pipe2");
    Lifeline lifeline{above_standard_streams(ends[0]), above_standard_streams(ends[1])};
    if (!lifeline.read || !lifeline.write) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
    return lifeline;
}

template <class Body>
Child fork_child(Body&& body) {
    Lifeline lifeline = make_lifeline();
    const pid_t pid = fork_process([&] {
        lifeline.read.reset();
        return body();
    });
    return adopt_child(pid, std::move(lifeline.read));
}

inline Child spawn_self(std::span<const std::string> arguments, const Handle& channel, const SpawnOptions& options) {
    Lifeline lifeline = make_lifeline();
    const NativeHandle inherited[] = {channel.get(), lifeline.write.get()};
    const pid_t pid = spawn_process(arguments, inherited, options);
    return adopt_child(pid, std::move(lifeline.read));
}

}  // namespace plait::inline PLAIT_ABI::os
