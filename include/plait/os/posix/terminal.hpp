// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/handle.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string_view>

namespace plait::inline PLAIT_ABI::os {

inline constexpr NativeHandle standard_error = STDERR_FILENO;

inline bool is_terminal(NativeHandle handle) noexcept { return ::isatty(handle) == 1; }

inline std::size_t terminal_width(NativeHandle handle) noexcept {
    winsize size{};
    return ::ioctl(handle, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/// While it lives, a write of this thread to a pipe that nobody reads gives an error and no signal.
class NoPipeSignal {
public:
    NoPipeSignal() noexcept {
        sigset_t pending;
        ::sigemptyset(&pipe_);
        ::sigaddset(&pipe_, SIGPIPE);
        was_pending_ = ::sigpending(&pending) == 0 && ::sigismember(&pending, SIGPIPE) == 1;
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    ~NoPipeSignal() {
        // It waits in the thread that wrote. (sigtimedwait, which would ask for less, is not everywhere.)
        sigset_t pending;
        int number = 0;
        if (has_failed && !was_pending_ && ::sigpending(&pending) == 0 && ::sigismember(&pending, SIGPIPE) == 1)
            ::sigwait(&pipe_, &number);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    NoPipeSignal(const NoPipeSignal&) = delete;
    NoPipeSignal& operator=(const NoPipeSignal&) = delete;

    bool has_failed = false;  ///< whether such a write was made: any other signal is not for us

private:
    sigset_t pipe_;
    sigset_t before_;
    bool was_pending_;
};

inline void write_message(NativeHandle handle, std::string_view text) noexcept {
    NoPipeSignal none;
    while (!text.empty()) {
        const ssize_t written = ::write(handle, text.data(), text.size());
        if (written > 0) {
            text.remove_prefix(static_cast<std::size_t>(written));
        } else if (written == 0 || errno != EINTR) {
            none.has_failed = written < 0 && errno == EPIPE;
            return;  // also where it would block: a message is not worth a wait
        }
    }
}

}  // namespace plait::inline PLAIT_ABI::os
