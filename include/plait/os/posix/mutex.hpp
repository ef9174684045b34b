// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/mutex.hpp>
#include <plait/os/posix/back_off.hpp>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace plait::inline PLAIT_ABI::os {

// No robust mutex is assumed: a word holds the owner, and who waits for it looks, between two pauses, whether the owner's
// process lives. What that cannot tell: a process that ended and that its parent has not reaped yet counts as alive, and
// so does one whose number another process has got since.
class Mutex {
public:
    Mutex() noexcept = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    MutexResult lock(plait::detail::Deadline deadline) noexcept {
        MutexResult result = try_lock();
        for (detail::BackOff back_off; result == MutexResult::timed_out && !deadline.has_passed(); result = try_lock())
            back_off.pause(deadline);
        return result;
    }
    MutexResult try_lock() noexcept;
    bool unlock() noexcept;

    [[nodiscard]] bool locked() const noexcept { return owner_.load(std::memory_order_relaxed) != 0; }
    [[nodiscard]] bool owned() const noexcept { return owner_.load(std::memory_order_relaxed) == Self::key(); }
    [[nodiscard]] bool owned_by_this_process() const noexcept {
        return process_of(owner_.load(std::memory_order_relaxed)) == ::getpid();
    }

private:
    /// The calling thread: its key, and the mutexes that it owns, for the case that it ends with them.
    struct Self {
        ~Self() {
            if (process != ::getpid()) return;
            for (Mutex* mutex = first_owned; mutex != nullptr; mutex = mutex->next_owned_)
                mutex->owner_.store(ended, std::memory_order_release);
        }

        static Self& instance() noexcept {
            thread_local Self self;
            const pid_t now = ::getpid();
            if (self.process != now) {  // a forked child owns none of what its parent owned
                self.process = now;
                self.first_owned = nullptr;
            }
            return self;
        }
        /// A number that no other live thread of any process has, whichever module asks: the process's, and below it
        /// pthread_self, which is an address.
        static std::uint64_t key() noexcept {
            const pthread_t thread = ::pthread_self();
            static_assert(sizeof thread <= sizeof(std::uint64_t));
            std::uint64_t number = 0;
            std::memcpy(&number, &thread, sizeof thread);
            return static_cast<std::uint64_t>(::getpid()) << process_shift |
                   ((number >> 4) & ((std::uint64_t{1} << process_shift) - 1));
        }

        pid_t process = 0;
        Mutex* first_owned = nullptr;
    };

    static constexpr unsigned process_shift =
        42;  // for numbers of processes up to 22 bits, which is Linux's most, and 46-bit addresses
    static constexpr pid_t process_of(std::uint64_t word) noexcept { return static_cast<pid_t>(word >> process_shift); }
    static bool is_dead(std::uint64_t word) noexcept {
        if (word == ended) return true;
        const int error = errno;
        const bool gone = ::kill(process_of(word), 0) != 0 && errno == ESRCH;
        errno = error;
        return gone;
    }

    static constexpr std::uint64_t ended = 1;

    // 0 when free, else the owner's key, or `ended`: the owner was a thread that ended. Who finds it free, ended, or of a
    // dead process, writes its own key; the owner writes 0, or, in its end, `ended`.
    std::atomic<std::uint64_t> owner_{0};
    // The owner's next one: means something to the owner alone.
    Mutex* next_owned_ = nullptr;
};

inline MutexResult Mutex::try_lock() noexcept {
    const std::uint64_t key = Self::key();
    plait::detail::sync_point();
    std::uint64_t word = owner_.load(std::memory_order_relaxed);
    for (;;) {
        if (word == key) return MutexResult::already_mine;
        const bool died = word != 0 && is_dead(word);
        if (word != 0 && !died) return MutexResult::timed_out;
        plait::detail::sync_point();
        // Acquire pairs with the release in `unlock` and at a thread's end.
        if (!owner_.compare_exchange_weak(word, key, std::memory_order_acquire, std::memory_order_relaxed)) continue;
        plait::detail::sync_point();
        Self& self = Self::instance();
        next_owned_ = self.first_owned;
        self.first_owned = this;
        return died ? MutexResult::owner_died : MutexResult::acquired;
    }
}

inline bool Mutex::unlock() noexcept {
    if (!owned()) return false;
    plait::detail::sync_point();
    Mutex** place = &Self::instance().first_owned;
    while (*place != nullptr && *place != this) place = &(*place)->next_owned_;
    if (*place != nullptr) *place = next_owned_;
    plait::detail::sync_point();
    owner_.store(0, std::memory_order_release);
    plait::detail::sync_point();
    return true;
}

}  // namespace plait::inline PLAIT_ABI::os
