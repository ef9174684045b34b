// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/mutex.hpp>
#include <plait/os/system_error.hpp>
#include <plait/os/thread.hpp>

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

namespace detail {

PLAIT_VISIBLE inline std::uint64_t& cached_owner_key() noexcept {
    static constinit thread_local std::uint64_t key = 0;
    return key;
}

inline std::uint64_t make_owner_key() noexcept {
    const std::uint64_t key = static_cast<std::uint64_t>(current_process_id()) << 32 | native_thread_id();
    try {
        static const bool asked = (call_in_forked_children([] { cached_owner_key() = 0; }), true);
        if (asked) cached_owner_key() = key;
    } catch (...) {  // no memory for that: then it is made anew each time
    }
    return key;
}

/// A number that no other live thread of any process has: the process's number, and in the lower half the thread's.
/// Costs no system call but for the first time, and the first time after a fork.
inline std::uint64_t owner_key() noexcept {
    const std::uint64_t key = cached_owner_key();
    return key != 0 ? key : make_owner_key();
}

}  // namespace detail

class Mutex {
public:
    Mutex() {
        pthread_mutexattr_t attributes;
        int error = ::pthread_mutexattr_init(&attributes);
        if (error == 0) error = ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        if (error == 0) error = ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        if (error == 0) error = ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
        if (error == 0) error = ::pthread_mutex_init(&native_, &attributes);
        ::pthread_mutexattr_destroy(&attributes);
        if (error != 0) throw_system_error("pthread_mutex_init of a robust mutex", error);
    }
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    MutexResult lock(plait::detail::Deadline deadline) noexcept {
        const MutexResult result = try_lock();
        return result == MutexResult::timed_out ? lock_slowly(deadline) : result;
    }
    MutexResult try_lock() noexcept {
        plait::detail::sync_point();
        return settle(::pthread_mutex_trylock(&native_));
    }
    bool unlock() noexcept {
        if (!owned()) return false;
        plait::detail::sync_point();
        owner_.store(0, std::memory_order_relaxed);
        plait::detail::sync_point();
        ::pthread_mutex_unlock(&native_);
        plait::detail::sync_point();
        return true;
    }

    [[nodiscard]] bool locked() const noexcept { return owner_.load(std::memory_order_relaxed) != 0; }
    [[nodiscard]] bool owned() const noexcept { return owner_.load(std::memory_order_relaxed) == detail::owner_key(); }
    [[nodiscard]] bool owned_by_this_process() const noexcept {
        return owner_.load(std::memory_order_relaxed) >> 32 == detail::owner_key() >> 32;
    }

private:
    MutexResult settle(int error) noexcept {
        plait::detail::sync_point();
        if (error == EBUSY || error == ETIMEDOUT) return MutexResult::timed_out;
        if (error == EDEADLK) return MutexResult::already_mine;
        // At once, for who dies as the owner is told of all the same.
        if (error == EOWNERDEAD) ::pthread_mutex_consistent(&native_);
        owner_.store(detail::owner_key(), std::memory_order_relaxed);
        plait::detail::sync_point();
        return error == EOWNERDEAD ? MutexResult::owner_died : MutexResult::acquired;
    }
    MutexResult lock_slowly(plait::detail::Deadline deadline) noexcept {
        using std::chrono::nanoseconds;
        for (;;) {
            // Not all at once: the wake of an unlock goes to one sleeper, and may be lost with it.
            const auto slice = (std::min)(deadline.left().duration(), nanoseconds{std::chrono::milliseconds{100}});
            timespec until{};
            ::clock_gettime(CLOCK_MONOTONIC, &until);
            const std::int64_t end = until.tv_nsec + slice.count();
            until.tv_sec += static_cast<time_t>(end / 1'000'000'000);
            until.tv_nsec = static_cast<long>(end % 1'000'000'000);
            const MutexResult result = settle(::pthread_mutex_clocklock(&native_, CLOCK_MONOTONIC, &until));
            if (result != MutexResult::timed_out || deadline.has_passed()) return result;
        }
    }

    pthread_mutex_t native_;
    // The key of the owner, who alone writes it: 0 when free. Of one who died it stays until the next overwrites it. Only
    // for those who ask: who may have the mutex is decided by native_.
    std::atomic<std::uint64_t> owner_{0};
};

}  // namespace plait::inline PLAIT_ABI::os
