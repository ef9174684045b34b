// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/process.hpp>
#include <plait/os/thread.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Who uses an end of a connection now: one thread in each direction, any number that only look, and from some moment on
/// nobody who comes new. The last one out is told, so that the end is closed when nobody stands in it.
///
/// Fork: those who use the original do not use the copy; but what a turn guards may have been copied half-changed, so
/// nobody gets there a turn that somebody had here.
class Turns {
public:
    Turns() : word_{this_process()} {}

    enum class Use : std::uint32_t {
        receive = 1,
        send = 2,
        look = 16,
    };
    enum class Entry {
        entered,
        timed_out,
        closed,
        copied,  ///< this process was forked while a thread had that turn
    };

    /// Waits until nobody else uses it so, or until `deadline`.
    [[nodiscard]] Entry enter(Use use, plait::detail::Deadline deadline) {
        using plait::detail::sync_point;
        const std::uint64_t self = this_process();
        for (;;) {
            sync_point();
            std::uint64_t word = word_.load(std::memory_order_relaxed);
            const std::uint64_t here = as_seen_by(self, word);
            if ((here & closed_bit) != 0) return Entry::closed;
            if (use != Use::look && (here & copied_bit(use)) != 0) return Entry::copied;
            if (use == Use::look || (here & bits(use)) == 0) {
                // Acquire pairs with the release in `leave`: what the one before did is seen.
                if (word_.compare_exchange_weak(word, here + bits(use), std::memory_order_acquire,
                                                std::memory_order_relaxed))
                    return Entry::entered;
                continue;
            }
            if (deadline.has_passed()) return Entry::timed_out;
            const auto may_sleep = [&] {
                std::uint64_t now = word_.load(std::memory_order_relaxed);
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
        const std::uint64_t self = this_process();
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        std::uint64_t after = 0;
        do {
            if ((word & process_bits) != self) return false;  // the turn was the original's
            after = word - bits(use);
            if (use != Use::look) after &= ~sleepers_bit;
        } while (!word_.compare_exchange_weak(word, after, std::memory_order_acq_rel, std::memory_order_relaxed));
        if (use != Use::look && (word & sleepers_bit) != 0) plait::detail::parking::wake_all(this, [] {});
        return (after & (closed_bit | use_bits)) == closed_bit;
    }

    /// Nobody enters from now on; who waited for a turn goes away. The caller looks, and leaves after it has told those
    /// who use it. False where it was closed already, in this process: who should close a copied end may not be there.
    [[nodiscard]] bool close() {
        const std::uint64_t self = this_process();
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        std::uint64_t here = 0;
        do {
            if ((word & closed_bit) != 0 && (word & process_bits) == self) return false;
            here = as_seen_by(self, word);
            // Sequentially consistent: pairs with the look at `closed` of who is about to block.
        } while (!word_.compare_exchange_weak(word, (here + bits(Use::look)) | closed_bit, std::memory_order_seq_cst,
                                              std::memory_order_relaxed));
        if ((here & sleepers_bit) != 0) plait::detail::parking::wake_all(this, [] {});
        return true;
    }
    [[nodiscard]] bool closed() const noexcept { return (word_.load(std::memory_order_seq_cst) & closed_bit) != 0; }
    /// How many threads wait for a turn; for tests.
    [[nodiscard]] std::size_t waiting() const { return plait::detail::parking::waiting(this); }

private:
    static constexpr std::uint64_t bits(Use use) noexcept { return static_cast<std::uint64_t>(use); }
    static constexpr std::uint64_t copied_bit(Use use) noexcept { return bits(use) << 30; }
    static constexpr std::uint64_t closed_bit = 4;
    static constexpr std::uint64_t sleepers_bit = 8;
    static constexpr std::uint64_t turn_bits = 3;  // of those who receive and send
    static constexpr std::uint64_t copied_bits = turn_bits << 30;
    static constexpr std::uint64_t use_bits = 0xFFFF'FFFF & ~(copied_bits | closed_bit | sleepers_bit);
    static constexpr std::uint64_t process_bits = ~std::uint64_t{0xFFFF'FFFF};

    /// Asked of the system once in each process: it is a large part of a short message's time.
    static std::uint64_t this_process() {
        static constinit std::atomic<std::int64_t> known{0};
        static const bool forgotten_by_copies =
            (os::call_in_forked_children([] { known.store(0, std::memory_order_relaxed); }), true);
        static_cast<void>(forgotten_by_copies);
        std::int64_t number = known.load(std::memory_order_relaxed);
        if (number == 0) known.store(number = os::process_id(), std::memory_order_relaxed);
        return static_cast<std::uint64_t>(number) << 32;
    }
    /// What `word` is in process `self`, where it may have come by a fork: without those who used it then.
    static constexpr std::uint64_t as_seen_by(std::uint64_t self, std::uint64_t word) noexcept {
        if ((word & process_bits) == self) return word;
        return self | (word & (closed_bit | copied_bits)) | (word & turn_bits) << 30;
    }

    // The bits of who uses it (receive, send, and how many look from the fifth bit on); closed_bit for ever once it is
    // set; sleepers_bit while some thread may sleep until a turn is free; a copied_bit for ever in a process that was
    // forked while somebody had that turn; and in the upper half the number of the process that all this is of. Any thread
    // may write it.
    std::atomic<std::uint64_t> word_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
