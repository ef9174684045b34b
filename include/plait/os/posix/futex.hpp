// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/timeout.hpp>
#include <plait/os/futex.hpp>
#include <plait/os/posix/back_off.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

inline FutexResult futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                              plait::detail::Deadline deadline) noexcept {
    // Relaxed: what the word says is for the caller to read, with the order that it needs.
    if (word.load(std::memory_order_relaxed) != expected) return FutexResult::changed;
    detail::BackOff back_off;
    while (!deadline.has_passed()) {
        back_off.pause(deadline);
        if (word.load(std::memory_order_relaxed) != expected) return FutexResult::woken;
    }
    return FutexResult::timed_out;
}

/// Sleepers see for themselves that the word has changed.
inline std::size_t futex_wake(const std::atomic<std::uint32_t>&, std::size_t) noexcept { return 0; }

}  // namespace plait::inline PLAIT_ABI::os
