// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace support {

// The hook that a program compiled with PLAIT_SYNC_POINTS defines: every place of the library where threads may overtake
// each other calls it, and here it delays whom it likes. It does nothing until it is told to.

/// From now on threads are delayed at random, each by numbers of its own that follow from `seed`.
void begin_delays(std::uint64_t seed) noexcept;
void end_delays() noexcept;

/// For a thread: its numbers begin anew, as those of thread `number`. A round that begins so can be repeated.
void begin_round(std::uint64_t round, std::uint64_t number) noexcept;

/// The calling thread's next random number below `limit`.
[[nodiscard]] std::uint64_t random_below(std::uint64_t limit) noexcept;

}  // namespace support
