// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/futex.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

// Sleeping until another process has changed a shared word. A wake is a hint: it may go to a process that is killed
// before it acts on it. So every sleeper looks at its word again a few times a second, and nothing is correct only
// because of a number of wakes, or of sleepers.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

using namespace plait::detail;

/// The longest that somebody sleeps without looking.
inline constexpr std::chrono::milliseconds longest_sleep{100};

/// `deadline`, or the time for the next look where that comes sooner.
[[nodiscard]] inline Deadline next_look(Deadline deadline) {
    return (std::min)(deadline, Deadline{Timeout{longest_sleep}});
}

/// How many processes' threads sleep at one place, for tests and diagnosis: those killed there stay counted.
class Sleepers {
public:
    [[nodiscard]] std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

    /// Sleeps once while `word` is `seen`: until a wake, the deadline or the next look.
    void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline) noexcept {
        count_.fetch_add(1, std::memory_order_relaxed);
        sync_point();
        os::futex_wait(word, seen, next_look(deadline));
        sync_point();
        count_.fetch_sub(1, std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint32_t> count_{0};
};

/// Wakes who sleeps on `word`.
inline void wake(const std::atomic<std::uint32_t>& word, std::size_t count = SIZE_MAX) noexcept {
    sync_point();
    os::futex_wake(word, count);
    sync_point();
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
