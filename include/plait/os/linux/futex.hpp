// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/futex.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);

inline FutexResult futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                              plait::detail::Deadline deadline) noexcept {
    // What SYS_futex reads on 32-bit systems too, whatever their C library takes a timespec to be.
    struct {
        long seconds;
        long nanoseconds;
    } left{};
    if (!deadline.is_never()) {
        // An hour is as good as longer: who wakes looks again.
        const auto time = (std::min)(deadline.left().duration(), std::chrono::nanoseconds{std::chrono::hours{1}});
        if (time.count() == 0) return FutexResult::timed_out;
        left = {static_cast<long>(time.count() / 1'000'000'000), static_cast<long>(time.count() % 1'000'000'000)};
    }
    // Not FUTEX_PRIVATE: other processes have the word elsewhere. The time is measured by the monotonic clock.
    const long result =
        ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, deadline.is_never() ? nullptr : &left, nullptr, 0);
    if (result == 0 || errno == EINTR) return FutexResult::woken;
    return errno == ETIMEDOUT ? FutexResult::timed_out : FutexResult::changed;
}

inline std::size_t futex_wake(const std::atomic<std::uint32_t>& word, std::size_t count) noexcept {
    const int most = static_cast<int>((std::min)(count, std::size_t{INT_MAX}));
    const long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, most, nullptr, nullptr, 0);
    return woken < 0 ? 0 : static_cast<std::size_t>(woken);
}

}  // namespace plait::inline PLAIT_ABI::os
