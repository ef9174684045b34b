// SPDX-License-Identifier: MIT
#include "support/sync_point.hpp"

#include <plait/core/config.hpp>

#include <atomic>
#include <chrono>
#include <thread>

namespace support {
namespace {

std::atomic<std::uint64_t> current_seed{0};     // 0: no delays
std::atomic<std::uint64_t> strange_threads{0};  // those that begin no rounds: a pool's, the timers'

/// A thread's own numbers.
struct Numbers {
    std::uint64_t seed = 0;
    std::uint64_t state = 0;

    /// Source: Vigna's splitmix64.
    std::uint64_t next() noexcept {
        state += 0x9E3779B97F4A7C15;
        std::uint64_t x = state;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
};

thread_local constinit Numbers numbers;

void spin(std::uint64_t times) noexcept {
    for (std::uint64_t i = 0; i < times; ++i) plait::detail::relax_processor();
}

void delay() noexcept {
    const std::uint64_t seed = current_seed.load(std::memory_order_relaxed);
    if (seed == 0) return;
    if (numbers.seed != seed) {
        numbers.seed = seed;
        numbers.state = seed + (strange_threads.fetch_add(1, std::memory_order_relaxed) + 1000) * 7919;
    }
    const std::uint64_t kind = numbers.next() % 2048;
    if (kind < 1)
        std::this_thread::sleep_for(std::chrono::microseconds{numbers.next() % 50});
    else if (kind < 128)
        std::this_thread::yield();
    else if (kind < 768)
        spin(numbers.next() % 64);
    else if (kind < 832)
        spin(numbers.next() % 1024);
}

}  // namespace

void begin_delays(std::uint64_t seed) noexcept { current_seed.store(seed, std::memory_order_relaxed); }
void end_delays() noexcept { current_seed.store(0, std::memory_order_relaxed); }

void begin_round(std::uint64_t round, std::uint64_t number) noexcept {
    const std::uint64_t seed = current_seed.load(std::memory_order_relaxed);
    numbers = {seed, seed ^ (round * 64 + number) * 0xD1342543DE82EF95};
}

std::uint64_t random_below(std::uint64_t limit) noexcept { return numbers.next() % limit; }

}  // namespace support

// Defined where the library declares it: in its namespace of this kind of build.
namespace plait::inline PLAIT_ABI::detail {

void sync_point() noexcept { support::delay(); }

}  // namespace plait::inline PLAIT_ABI::detail
