// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace plait::inline PLAIT_ABI::threading::detail {

using namespace plait::detail;

/// A counter that one thread at a time holds and advances, and that others sleep for.
///
/// Lock and counter are one word, so that to pass costs one read-modify-write to hold it and one store, which counts and
/// lets go at once. A thread that is about to sleep takes the hold too, to look a last time and to leave a note that it
/// will. Of that thread and of one that advances the counter one is first: either the sleeper sees the new count, or the
/// other one sees the note, and goes where sleepers are. If it finds none there yet, it takes the note away, and the
/// sleeper, which looks for that, does not sleep.
///
/// All who sleep here wait for the same: to wake any one of them is as good.
class Turnstile {
public:
    /// The counter, and whether it was closed, at one moment.
    struct Reading {
        std::uint64_t count;
        bool closed;
    };

    constexpr Turnstile() noexcept = default;
    Turnstile(const Turnstile&) = delete;
    Turnstile& operator=(const Turnstile&) = delete;

    /// Waits until no other thread holds it, which is short.
    Reading acquire() noexcept {
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        sync_point();
        if ((word & held_bit) != 0 || !try_to_hold(word)) word = acquire_slowly();
        sync_point();
        return reading(word);
    }
    void release() noexcept { let_go(own_word()); }
    /// Adds `steps`, releases it, and wakes the `limit` threads that have slept longest. The object is not touched after
    /// others can see the new count: they may destroy it.
    void advance(std::uint64_t steps = 1, std::size_t limit = 1) noexcept {
        let_go_and_wake(own_word() + steps * one, limit);
    }
    /// Releases it, closed for ever, and wakes all who sleep.
    void close() noexcept { let_go_and_wake(own_word() | closed_bit, SIZE_MAX); }
    /// Wakes the `limit` threads that have slept longest. For a thread that does not hold it.
    void nudge(std::size_t limit) noexcept {
        acquire();
        let_go_and_wake(own_word(), limit);
    }

    /// Acquire pairs with the release of who advanced it: what he did before is seen.
    [[nodiscard]] Reading read() const noexcept { return reading(word_.load(std::memory_order_acquire)); }

    /// Sleeps while `pending(Reading)` until an `advance`, `close` or `nudge` picks this thread, or for no time at all;
    /// false where `deadline` or a stop ended it.
    template <class Predicate>
    [[nodiscard]] bool sleep(Deadline deadline, const StopToken* stop, Predicate pending);

    /// How many threads sleep until it advances.
    [[nodiscard]] std::size_t waiting() const { return parking::waiting(this); }

private:
    // What word_ holds: held_bit while a thread holds it; closed_bit; and above them the count. Only the holder writes
    // it, but for held_bit, which is set where it is not.
    static constexpr std::uint64_t held_bit = 1;
    static constexpr std::uint64_t closed_bit = 2;
    static constexpr std::uint64_t one = 4;

    static constexpr Reading reading(std::uint64_t word) noexcept { return {word / one, (word & closed_bit) != 0}; }

    bool try_to_hold(std::uint64_t word) noexcept {
        // Acquire pairs with the release of let_go.
        return word_.compare_exchange_strong(word, word | held_bit, std::memory_order_acquire,
                                             std::memory_order_relaxed);
    }
    /// For the holder: the word without the hold.
    [[nodiscard]] std::uint64_t own_word() const noexcept { return word_.load(std::memory_order_relaxed) - held_bit; }
    void let_go(std::uint64_t word) noexcept {
        sync_point();
        // A store will do: nobody else writes the word while it is held.
        word_.store(word, std::memory_order_release);
    }
    void let_go_and_wake(std::uint64_t word, std::size_t limit) noexcept {
        if (limit == 0 || !awaited_.load(std::memory_order_relaxed)) return let_go(word);
        wake_and_let_go(word, limit);
    }
    std::uint64_t acquire_slowly() noexcept;
    void wake_and_let_go(std::uint64_t word, std::size_t limit) noexcept;

    std::atomic<std::uint64_t> word_{0};
    // The note: somebody may sleep under this. Written by the holder; taken away only in the parking place, while nobody
    // can begin or end a sleep there.
    std::atomic<bool> awaited_{false};
};

template <class Predicate>
bool Turnstile::sleep(Deadline deadline, const StopToken* stop, Predicate pending) {
    if (!pending(acquire())) {
        release();
        return true;
    }
    awaited_.store(true, std::memory_order_relaxed);
    release();
    const auto may_sleep = [&] {
        sync_point();
        // Where the note is gone, somebody came meanwhile, and found nobody to wake. Where it stands, who came woke another
        // one, and there may be nothing left to do all the same.
        return awaited_.load(std::memory_order_relaxed) && pending(read());
    };
    const auto result =
        stop != nullptr ? parking::sleep(this, deadline, *stop, may_sleep) : parking::sleep(this, deadline, may_sleep);
    sync_point();
    if (result == parking::Result::woken) return true;
    return result == parking::Result::unwanted && (stop == nullptr || !stop->stop_requested());
}

inline void Turnstile::wake_and_let_go(std::uint64_t word, std::size_t limit) noexcept {
    const auto write = [&](bool still_awaited) {
        awaited_.store(still_awaited, std::memory_order_relaxed);
        let_go(word);
    };
    if (limit != 1) {
        parking::wake_all(this, [&] { write(false); });
        return;
    }
    parking::wake_one(this, [&](parking::Sleepers sleepers) {
        write(sleepers == parking::Sleepers::several);
        return parking::Result::woken;
    });
}

inline std::uint64_t Turnstile::acquire_slowly() noexcept {
    constexpr std::chrono::microseconds longest_nap{400};
    const int looks = spinning_helps() ? 64 : 1;
    for (std::chrono::microseconds nap{50};; nap = (std::min)(2 * nap, longest_nap)) {
        for (int i = 0; i < looks; ++i) {
            const std::uint64_t word = word_.load(std::memory_order_relaxed);
            if ((word & held_bit) == 0 && try_to_hold(word)) return word;
            relax_processor();
        }
        // The holder has lost its processor, or an item takes its time to be moved. It does not know of us: that would
        // cost each who lets go a read-modify-write. So look again.
        std::this_thread::sleep_for(nap);
    }
}

}  // namespace plait::inline PLAIT_ABI::threading::detail
