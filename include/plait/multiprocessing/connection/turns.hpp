// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/timeout.hpp>

#include <atomic>
#include <cstdint>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Who uses an end of a connection now: one thread in each direction, any number that only look, and from some moment on
/// nobody who comes new. The last one out is told, so that the end is closed when nobody stands in it.
class Turns {
public:
    enum class Use : std::uint32_t {
        receive = 1,
        send = 2,
        look = 16,
    };
    enum class Entry { entered, timed_out, closed };

    /// Waits until nobody else uses it so, or until `deadline`.
    [[nodiscard]] Entry enter(Use use, plait::detail::Deadline deadline) {
        using plait::detail::sync_point;
        for (;;) {
            sync_point();
            std::uint32_t word = word_.load(std::memory_order_relaxed);
            if ((word & closed_bit) != 0) return Entry::closed;
            if (use == Use::look || (word & bits(use)) == 0) {
                // Acquire pairs with the release in `leave`: what the one before did is seen.
                if (word_.compare_exchange_weak(word, word + bits(use), std::memory_order_acquire,
                                                std::memory_order_relaxed))
                    return Entry::entered;
                continue;
            }
            if (deadline.has_passed()) return Entry::timed_out;
            const auto may_sleep = [&] {
                std::uint32_t now = word_.load(std::memory_order_relaxed);
                while ((now & bits(use)) != 0 && (now & closed_bit) == 0)
                    if (word_.compare_exchange_weak(now, now | sleepers_bit, std::memory_order_relaxed)) return true;
                return false;
            };
            static_cast<void>(plait::detail::parking::sleep(this, deadline, may_sleep));
        }
    }
    /// Whether the one who leaves is the last of a closed end.
    [[nodiscard]] bool leave(Use use) {
        plait::detail::sync_point();
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        std::uint32_t after = 0;
        do {
            after = word - bits(use);
            if (use != Use::look) after &= ~sleepers_bit;
        } while (!word_.compare_exchange_weak(word, after, std::memory_order_acq_rel, std::memory_order_relaxed));
        if (use != Use::look && (word & sleepers_bit) != 0) plait::detail::parking::wake_all(this, [] {});
        return (after & ~sleepers_bit) == closed_bit;
    }

    /// Nobody enters from now on; who waited for a turn goes away. The caller looks, and leaves after it has told those
    /// who use it. False where it was closed already.
    [[nodiscard]] bool close() {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        do {
            if ((word & closed_bit) != 0) return false;
            // Sequentially consistent: pairs with the look at `closed` of who is about to block.
        } while (!word_.compare_exchange_weak(word, (word + bits(Use::look)) | closed_bit, std::memory_order_seq_cst,
                                              std::memory_order_relaxed));
        if ((word & sleepers_bit) != 0) plait::detail::parking::wake_all(this, [] {});
        return true;
    }
    [[nodiscard]] bool closed() const noexcept { return (word_.load(std::memory_order_seq_cst) & closed_bit) != 0; }
    /// How many threads wait for a turn; for tests.
    [[nodiscard]] std::size_t waiting() const { return plait::detail::parking::waiting(this); }

private:
    static constexpr std::uint32_t bits(Use use) noexcept { return static_cast<std::uint32_t>(use); }
    static constexpr std::uint32_t closed_bit = 4;
    static constexpr std::uint32_t sleepers_bit = 8;

    // The bits of who uses it (receive, send, and how many look from the fifth bit on), closed_bit for ever once it is
    // set, and sleepers_bit while some thread may sleep until a turn is free. Any thread may write it.
    std::atomic<std::uint32_t> word_{0};
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
