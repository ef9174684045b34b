// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

using namespace plait::detail;

/// A number that no other live thread has: the address of something of its own; its lowest three bits are free.
PLAIT_VISIBLE inline std::uintptr_t thread_key() noexcept {
    alignas(8) static constinit thread_local char own = 0;
    return reinterpret_cast<std::uintptr_t>(&own);
}

}  // namespace detail

/// Lets one thread at a time pass: who has acquired it owns it until it releases it.
///
/// Python: threading.Lock, but owned: only the owner releases it, and a second `acquire` by the owner throws instead of
/// deadlocking. For locking it several times use RLock; to wait for a condition, Event.
///
///     Lock lock;
///     int hits = 0;
///     void count() {
///         const std::scoped_lock guard{lock};
///         ++hits;
///     }
///
/// A TimedLockable of the standard, for every standard guard. A guard whose destructor would release a lock that its
/// thread does not hold ends the program with the UsageError's text.
/// Order: what a thread did before `release` is visible to the next owner.
/// Threads: every member from any thread. Waiters come in turn, but a thread that arrives just when the lock is free may
/// go first, once for each waiter.
/// Lifetime: the next owner may destroy it at once, while `release` is still returning. Destroying a lock that is held
/// is the program's error, and not noticed.
class Lock {
public:
    constexpr Lock() noexcept = default;
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

    /// Waits until it is this thread's. Throws: UsageError where it is already.
    void acquire() {
        if (!take_if_free(detail::thread_key())) static_cast<void>(acquire_slowly(detail::Deadline::never()));
    }
    /// Waits for `timeout` at most; returns whether it is this thread's now. Throws: UsageError where it was already.
    [[nodiscard]] bool acquire(Timeout timeout);
    /// Takes it if it is free.
    [[nodiscard]] bool try_acquire() noexcept;
    /// Throws: UsageError, changing nothing, where it is not this thread's.
    void release();

    /// Whether any thread holds it now.
    bool locked() const noexcept { return owner(word_.load(std::memory_order_acquire)) != 0; }
    /// Whether the calling thread holds it.
    [[nodiscard]] bool owned() const noexcept {
        return owner(word_.load(std::memory_order_relaxed)) == detail::thread_key();
    }
    /// How many threads sleep until they get it; for tests and diagnosis.
    std::size_t waiting() const { return detail::parking::waiting(this); }

    // The standard's names.
    void lock() { acquire(); }
    bool try_lock() noexcept { return try_acquire(); }
    template <class Rep, class Period>
    bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
        return acquire(Timeout{timeout});
    }
    template <class Clock, class Duration>
    bool try_lock_until(const std::chrono::time_point<Clock, Duration>& at) {
        return detail::attempt_until(at, [this](Timeout timeout) { return acquire(timeout); });
    }
    void unlock() { release(); }

private:
    // What word_ holds: 0 when free; else its owner's key, or `in_transit` on the way to a sleeper that was picked.
    // Beside it, also while free, `sleepers_bit`: somebody may sleep under this; and `impatient_bit`: somebody slept,
    // was woken, and was overtaken, so the next release hands the lock over. Anybody may set the bits while the lock is
    // held; the owner, releasing, takes them away.
    static constexpr std::uintptr_t sleepers_bit = 1;
    static constexpr std::uintptr_t impatient_bit = 2;
    static constexpr std::uintptr_t in_transit = 4;  // no key: the null page holds no thread's variable
    static constexpr std::uintptr_t owner(std::uintptr_t word) noexcept {
        return word & ~(sleepers_bit | impatient_bit);
    }

    // Acquire here and below pairs with the release in `release`.
    bool take_if_free(std::uintptr_t key) noexcept {
        detail::sync_point();
        std::uintptr_t word = 0;
        return word_.compare_exchange_strong(word, key, std::memory_order_acquire, std::memory_order_relaxed);
    }
    bool acquire_slowly(detail::Deadline deadline);

    std::atomic<std::uintptr_t> word_{0};
};

inline bool Lock::acquire(Timeout timeout) {
    if (take_if_free(detail::thread_key())) return true;
    if (!timeout.is_zero()) return acquire_slowly(detail::Deadline{timeout});
    if (owned()) static_cast<void>(acquire_slowly(detail::Deadline::never()));  // throws
    return try_acquire();
}

inline bool Lock::try_acquire() noexcept {
    std::uintptr_t word = 0;
    do {
        detail::sync_point();
        if (word_.compare_exchange_weak(word, word | detail::thread_key(), std::memory_order_acquire,
                                        std::memory_order_relaxed))
            return true;
    } while (owner(word) == 0);
    return false;
}

inline void Lock::release() {
    const std::uintptr_t key = detail::thread_key();
    std::uintptr_t word = key;
    detail::sync_point();
    // Once the word says that it is free this object may be gone: nothing below touches it after that.
    if (word_.compare_exchange_strong(word, 0, std::memory_order_release, std::memory_order_relaxed)) return;
    if (owner(word) != key)
        throw UsageError("release of a lock that this thread does not hold: only the thread that acquired it may");
    detail::parking::wake_one(this, [this](detail::parking::Sleepers sleepers) {
        using detail::parking::Sleepers;
        const std::uintptr_t bit = sleepers == Sleepers::several ? sleepers_bit : 0;
        const bool hand_over =
            sleepers != Sleepers::none && (word_.load(std::memory_order_relaxed) & impatient_bit) != 0;
        detail::sync_point();
        // A bit that is set in this moment may be lost: who set it looks again before it sleeps.
        word_.store(bit | (hand_over ? in_transit : 0), std::memory_order_release);
        return hand_over ? detail::parking::Result::handed_over : detail::parking::Result::woken;
    });
}

inline bool Lock::acquire_slowly(detail::Deadline deadline) {
    using detail::parking::Place;
    using detail::parking::Result;
    const std::uintptr_t key = detail::thread_key();
    if (owned())
        throw UsageError("a second acquire by the thread that holds the lock would wait for itself: use an RLock");
    if (detail::spin_until([&] { return owner(word_.load(std::memory_order_relaxed)) == 0 && try_acquire(); }))
        return true;

    std::uintptr_t bits = sleepers_bit;
    for (;;) {
        std::uintptr_t word = word_.load(std::memory_order_relaxed);
        if (owner(word) == 0) {
            if (try_acquire()) return true;
            continue;
        }
        detail::sync_point();
        if ((word & bits) != bits &&
            !word_.compare_exchange_weak(word, word | bits, std::memory_order_relaxed, std::memory_order_relaxed))
            continue;
        const auto still_held = [&] {
            const std::uintptr_t now = word_.load(std::memory_order_relaxed);
            return owner(now) != 0 && (now & bits) == bits;
        };
        const bool overtaken = (bits & impatient_bit) != 0;
        switch (detail::parking::sleep(this, deadline, still_held, overtaken ? Place::first : Place::last)) {
            case Result::timed_out:
                return false;
            case Result::handed_over:
                detail::sync_point();
                // Others may set bits meanwhile: only the owner's part is exchanged.
                word_.fetch_add(key - in_transit, std::memory_order_acquire);
                return true;
            case Result::woken:
                bits = sleepers_bit | impatient_bit;
                break;
            default:
                break;
        }
    }
}

}  // namespace plait::inline PLAIT_ABI::threading
