// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>

// A world that disturbs a process, for a scope or in a process of its own.

namespace support {

/// For its scope a signal, whose handler does nothing, comes every half a millisecond and interrupts system calls.
class SignalStorm {
public:
    SignalStorm() {
        count_ = 0;
        struct sigaction action{};
        action.sa_handler = [](int) { ++count_; };
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGUSR1, &action, &before_);
        sigevent event{};
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = SIGUSR1;
        if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) throw std::runtime_error("timer_create");
        itimerspec often{};
        often.it_value.tv_nsec = often.it_interval.tv_nsec = 500'000;
        ::timer_settime(timer_, 0, &often, nullptr);
    }
    SignalStorm(const SignalStorm&) = delete;
    SignalStorm& operator=(const SignalStorm&) = delete;
    ~SignalStorm() {
        ::timer_delete(timer_);
        ::sigaction(SIGUSR1, &before_, nullptr);
    }

    /// How many signals came.
    [[nodiscard]] int count() const noexcept { return count_; }

private:
    static inline std::atomic<int> count_{0};  // several threads may take the signal
    struct sigaction before_{};
    timer_t timer_{};
};

/// What `body()` returns in a copy of this process; negative for a signal that ended that, 125 for an exception.
template <class Body>
[[nodiscard]] int in_a_child(Body body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        int code = 125;
        try {
            code = body();
        } catch (...) {
            code = 125;
        }
        ::_exit(code);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/// Frees the numbers 0 to 2, as a program does that was started without standard streams.
inline void close_standard_streams() {
    for (int descriptor = 0; descriptor <= 2; ++descriptor) ::close(descriptor);
}

[[nodiscard]] inline bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }
[[nodiscard]] inline bool is_closed_on_exec(int descriptor) {
    const int flags = ::fcntl(descriptor, F_GETFD);
    return flags >= 0 && (flags & FD_CLOEXEC) != 0;
}

}  // namespace support
