// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/posix/child_process.hpp>
#include <plait/os/process.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::os {

/// How many handles from 3 on a spawned child finds: its channel, and, where processes cannot be watched, the pipe whose
/// end of file tells of its death. Parent and child come to the same answer.
inline int inherited_handles() noexcept { return can_watch_processes() ? 1 : 2; }

/// What the parent of a child that is served says to whom it serves, once it has reaped it.
struct ServedEnd {
    static constexpr std::uint64_t magic_word = 0x706C'6169'7420'656E;  // "plait en"
    std::uint64_t magic = magic_word;
    std::int64_t code = 0;
};

/// A child, of this process or of a server that makes them for it.
///
/// Where the system has a watch for processes, it is held by one: its end is an event, and a signal can meet no other
/// process that got its number. Else its end is seen by end-of-file on a channel that only it holds open (it and its
/// server), and, for its own children may hold that too, by asking at least every 50 ms.
class Child {
public:
    Child() noexcept = default;

    [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
    [[nodiscard]] NativeHandle sentinel() const noexcept { return watch_ ? watch_.get() : news_.get(); }

    /// Known at most once it has ended, and not where somebody else took it. May wait a moment for the server's word.
    ExitStatus status() {
        if (ended_ && served_ && !status_.known) {
            static_cast<void>(read_news(detail::Deadline{std::chrono::seconds{5}}));
            if (!status_.known && watch_) status_ = exit_status_of_watched(watch_.get());
        }
        return status_;
    }

    /// Returns at its end, at the deadline, or now and then.
    void wait_for_news(detail::Deadline deadline) const {
        if (watch_) {
            const bool gone = wait_readable(watch_.get(), detail::Deadline::at({}));
            if (!gone || !is_held(watch_.get())) return static_cast<void>(wait_readable(watch_.get(), deadline));
            // Gone but for a debugger: nothing tells when that lets go.
            const auto soon = detail::Deadline{std::chrono::milliseconds{1}};
            return static_cast<void>(poll({}, soon < deadline ? soon : deadline));
        }
        // Its end closes the channel, unless children of its own hold that too; after that only its reaping is waited for.
        PollItem item{news_.get(), readable};
        const bool closed = poll({&item, 1}, detail::Deadline::at({}));
        if (closed) item.fd = Handle::none;
        const auto soon = detail::Deadline{std::chrono::milliseconds{closed ? 1 : 50}};
        static_cast<void>(poll({&item, 1}, soon < deadline ? soon : deadline));
    }

    bool reap();

    bool wait(detail::Deadline deadline) {
        while (!reap()) {
            if (deadline.has_passed()) return false;
            wait_for_news(deadline);
        }
        return true;
    }

    void send_signal(int number) {
        if (watch_) {
            if (!ended_) static_cast<void>(signal_watched(watch_.get(), number));
            return;
        }
        // A child that nobody has reaped keeps its number, so this reaches nobody else. (Of a served one there is an
        // instant, between its reaping and the server's word of it.)
        if (!reap() && ::kill(pid_, number) != 0 && errno != ESRCH) throw_system_error("kill");
    }

private:
    friend Child adopt_child(pid_t pid);
    friend Child adopt_child(pid_t pid, Handle lifeline);
    friend Child adopt_served_child(std::int64_t pid, Handle watch, Handle news);

    /// Whether the server's word was there by `deadline`, or the end of its channel.
    bool read_news(detail::Deadline deadline) {
        if (!news_) return true;
        if (!wait_readable(news_.get(), deadline)) return false;
        ServedEnd end;
        // It stays there, for the sentinel is to stay readable. It was written in one piece, and is seen so.
        const auto size = ::recv(news_.get(), &end, sizeof end, MSG_PEEK | MSG_DONTWAIT);
        if (size == static_cast<ssize_t>(sizeof end) && end.magic == ServedEnd::magic_word) status_ = {true, end.code};
        return true;
    }

    pid_t pid_ = 0;
    Handle watch_;
    Handle news_;
    bool served_ = false;
    bool ended_ = false;
    ExitStatus status_;
};

/// Whether it has ended.
inline bool Child::reap() {
    if (ended_) return true;
    if (watch_) {
        if (!wait_readable(watch_.get(), detail::Deadline::at({}))) return false;
        // A server's child too: this process may have adopted it (process 1, a subreaper). Others it cannot reap.
        const auto status = reap_watched(watch_.get());
        if (!status) return false;
        status_ = *status;
    } else if (served_) {
        // Its server may be gone, and its own children hold the channel. Never reaped here: without a watch its number may
        // be another child's.
        const bool gone = !process_exists(pid_);
        if (!read_news(detail::Deadline::at({})) && !gone) return false;
    } else {
        int status = 0;
        const pid_t reaped = ::waitpid(pid_, &status, WNOHANG);
        if (reaped == pid_)
            status_ = exit_status_of(status);
        else if (reaped == 0 || errno != ECHILD)  // else the host reaped it, or ignores SIGCHLD
            return false;
    }
    ended_ = true;
    return true;
}

/// A child of this process, which is to be held by a watch.
inline Child adopt_child(pid_t pid) {
    Child child;
    child.pid_ = pid;
    child.watch_ = watch_process(pid);
    const int error = errno;
    ::siginfo_t info{};
    const bool is_taken =
        ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
    if (is_taken) {
        // It has ended, and its status, perhaps even its number, is gone: the host ignores SIGCHLD, or was quicker.
        if (child.watch_) child.status_ = exit_status_of_watched(child.watch_.get());
        child.watch_ =
            above_standard_streams(::open("/dev/null", O_RDONLY | O_CLOEXEC));  // readable, as its sentinel is
        child.ended_ = true;
        return child;
    }
    if (!child.watch_) {
        // Without a watch (no descriptor left) nobody could tell its end: it may not go on unseen.
        ::kill(pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
        throw_system_error("pidfd_open", error);
    }
    return child;
}

/// The same, with the reading end of a pipe that only the child holds open.
inline Child adopt_child(pid_t pid, Handle lifeline) {
    Child child;
    child.pid_ = pid;
    child.news_ = std::move(lifeline);
    return child;
}

/// A child of a server, which has a watch for it where the system has any, and tells its end by a ServedEnd in `news`.
/// Without a watch the child holds the other end of `news` too.
inline Child adopt_served_child(std::int64_t pid, Handle watch, Handle news) {
    Child child;
    child.pid_ = static_cast<pid_t>(pid);
    child.watch_ = std::move(watch);
    child.news_ = std::move(news);
    child.served_ = true;
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
Child fork_flushed_child(Body&& body) {
    if (can_watch_processes()) return adopt_child(fork_flushed_process(std::forward<Body>(body)));
    Lifeline lifeline = make_lifeline();
    const pid_t pid = fork_flushed_process([&] {
        lifeline.read.reset();
        return body();
    });
    return adopt_child(pid, std::move(lifeline.read));
}

template <class Body>
Child fork_child(Body&& body) {
    flush_standard_streams();
    return fork_flushed_child(std::forward<Body>(body));
}

inline Child spawn_self(std::span<const std::string> arguments, const Handle& channel, const SpawnOptions& options) {
    if (can_watch_processes()) {
        const NativeHandle inherited[] = {channel.get()};
        return adopt_child(spawn_process(arguments, inherited, options));
    }
    Lifeline lifeline = make_lifeline();
    const NativeHandle inherited[] = {channel.get(), lifeline.write.get()};
    const pid_t pid = spawn_process(arguments, inherited, options);
    return adopt_child(pid, std::move(lifeline.read));
}

}  // namespace plait::inline PLAIT_ABI::os
