// SPDX-License-Identifier: MIT
#pragma once

#include "support/deadline.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

namespace support {

/// A copy of this process that runs `body` and exits with what that returns, or with 125 for an exception.
///
///     ForkedChild child{[&] { lock.acquire(); reached->store(true); return wait_for_ever(); }};
///     REQUIRE(within(30s, [&] { return reached->load(); }));
///     child.kill();
///
/// One that is still there when the object goes is killed.
class ForkedChild {
public:
    template <class Body>
    explicit ForkedChild(Body body) : pid_{::fork()} {
        if (pid_ < 0) throw std::runtime_error("fork");
        if (pid_ != 0) return;
        int code = 125;
        try {
            code = body();
        } catch (...) {
            code = 125;
        }
        ::_exit(code);
    }
    ForkedChild(ForkedChild&& other) noexcept : pid_{std::exchange(other.pid_, 0)}, status_{other.status_} {}
    ForkedChild& operator=(ForkedChild&& other) noexcept {
        std::swap(pid_, other.pid_);
        std::swap(status_, other.status_);
        return *this;
    }
    ~ForkedChild() {
        if (pid_ != 0 && !status_) kill();
    }

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    void signal(int number) const noexcept { ::kill(pid_, number); }
    /// Kills it, and returns when it is gone.
    void kill() {
        signal(SIGKILL);
        join();
    }
    /// Its exit code; negative for a signal that ended it.
    int join() {
        while (!status_) look(0);
        return code();
    }
    /// The same, or nothing where it still runs after `limit`.
    std::optional<int> join(std::chrono::milliseconds limit) {
        if (!within(limit, [&] { return status_ || look(WNOHANG); })) return std::nullopt;
        return code();
    }

private:
    bool look(int options) {
        int status = 0;
        const pid_t ended = ::waitpid(pid_, &status, options);
        if (ended == pid_) status_ = status;
        if (ended < 0 && errno != EINTR) throw std::runtime_error("waitpid");
        return ended == pid_;
    }
    [[nodiscard]] int code() const noexcept {
        return WIFSIGNALED(*status_) ? -WTERMSIG(*status_) : WEXITSTATUS(*status_);
    }

    pid_t pid_;
    std::optional<int> status_;
};

/// For a child that is to be killed.
[[noreturn]] inline int wait_for_ever() {
    for (;;) ::pause();
}

/// A `T` that this process and its children share.
template <class T>
class SharedVariable {
public:
    template <class... Args>
    explicit SharedVariable(Args&&... args) {
        void* const memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::runtime_error("mmap");
        value_ = ::new (memory) T(std::forward<Args>(args)...);
    }
    SharedVariable(const SharedVariable&) = delete;
    SharedVariable& operator=(const SharedVariable&) = delete;
    ~SharedVariable() { ::munmap(static_cast<void*>(value_), sizeof(T)); }

    T* operator->() const noexcept { return value_; }
    T& operator*() const noexcept { return *value_; }

private:
    T* value_;
};

}  // namespace support
