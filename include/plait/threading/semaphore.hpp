// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {
using namespace plait::detail;
}

/// A number of permits: `acquire` takes one and waits while there is none, `release` gives some back.
///
/// Python: threading.Semaphore. To let n threads at a time use something, prefer BoundedSemaphore, which finds a permit
/// that was given back twice; for one at a time, Lock; to count down to a meeting, Barrier.
///
///     Semaphore downloads(4);
///     void download(const Url& url) {
///         const std::scoped_lock guard{downloads};
///         fetch(url);
///     }
///
/// A Lockable of the standard: a guard takes a permit and gives it back. Any thread may release.
/// Order: what a thread did before `release` is visible to who acquires the permit.
/// Threads: every member from any thread. Waiters come in turn, but a thread that arrives just when a permit is free may
/// go first, once for each waiter.
/// Lifetime: a thread that got a permit may destroy it at once, while `release` is still returning.
class Semaphore {
public:
    /// The most permits that there can be.
    static constexpr std::ptrdiff_t max_value = PTRDIFF_MAX / 2;

    /// Throws: std::invalid_argument for a number of permits below zero or over `max_value`.
    constexpr explicit Semaphore(std::ptrdiff_t permits = 1) : word_{first_word(permits)} {}
    Semaphore(const Semaphore&) = delete;
    Semaphore& operator=(const Semaphore&) = delete;

    /// Waits until there is a permit, and takes it.
    void acquire() {
        if (!try_acquire()) static_cast<void>(acquire_slowly(detail::Deadline::never(), nullptr));
    }
    /// Waits for `timeout` at most; returns whether it took a permit.
    [[nodiscard]] bool acquire(Timeout timeout) {
        return try_acquire() || (!timeout.is_zero() && acquire_slowly(detail::Deadline{timeout}, nullptr));
    }
    /// Waits until there is a permit or a stop requested; returns whether it took a permit.
    [[nodiscard]] bool acquire(const StopToken& stop) { return acquire(Timeout::never(), stop); }
    [[nodiscard]] bool acquire(Timeout timeout, const StopToken& stop) {
        return try_acquire() || (!timeout.is_zero() && acquire_slowly(detail::Deadline{timeout}, &stop));
    }
    /// Takes a permit if there is one.
    [[nodiscard]] bool try_acquire() noexcept;
    /// Adds `permits`, and wakes as many who wait.
    ///
    /// Throws, changing nothing: std::invalid_argument for less than one; UsageError where there would be more than
    /// `max_value`.
    void release(std::ptrdiff_t permits = 1) { release_within(max_value, permits); }

    /// How many permits are free now.
    std::ptrdiff_t value() const noexcept { return free_permits(word_.load(std::memory_order_relaxed)); }
    /// How many threads sleep until they get one; for tests and diagnosis.
    std::size_t waiting() const { return detail::parking::waiting(this); }

    // The standard's names.
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) {
        return acquire(Timeout{timeout});
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& at) {
        return detail::attempt_until(at, [this](Timeout timeout) { return acquire(timeout); });
    }
    void lock() { acquire(); }
    bool try_lock() noexcept { return try_acquire(); }
    void unlock() { release(); }

private:
    friend class BoundedSemaphore;

    // What word_ holds: the free permits, each worth `one_permit`. Below them `sleepers_bit`: somebody may sleep under
    // this, so a release has to look; and `impatient_bit`: somebody slept, was woken, and found no permit any more, so
    // the next release hands its permits over. Who finds no permit sets the bits, a release that looked takes them away.
    static constexpr std::size_t sleepers_bit = 1;
    static constexpr std::size_t impatient_bit = 2;
    static constexpr std::size_t one_permit = 4;
    static constexpr std::ptrdiff_t free_permits(std::size_t word) noexcept {
        return static_cast<std::ptrdiff_t>(word / one_permit);
    }
    static constexpr std::size_t first_word(std::ptrdiff_t permits) {
        if (permits < 0 || permits > max_value)
            throw std::invalid_argument("plait::threading::Semaphore: a number of permits is 0 to max_value");
        return static_cast<std::size_t>(permits) * one_permit;
    }

    bool acquire_slowly(detail::Deadline deadline, const StopToken* stop);
    /// Throws: UsageError, changing nothing, where more than `bound` permits would be free.
    void release_within(std::ptrdiff_t bound, std::ptrdiff_t permits);
    void release_slowly(std::ptrdiff_t bound, std::ptrdiff_t permits);

    std::atomic<std::size_t> word_;
};

/// A Semaphore that never has more permits than at first: a `release` without an `acquire` is found.
///
/// Python: threading.BoundedSemaphore. All else is as of Semaphore.
class BoundedSemaphore {
public:
    /// Throws: std::invalid_argument for a number of permits below zero or over `Semaphore::max_value`.
    constexpr explicit BoundedSemaphore(std::ptrdiff_t permits = 1) : semaphore_{permits}, bound_{permits} {}

    void acquire() { semaphore_.acquire(); }
    [[nodiscard]] bool acquire(Timeout timeout) { return semaphore_.acquire(timeout); }
    [[nodiscard]] bool acquire(const StopToken& stop) { return semaphore_.acquire(stop); }
    [[nodiscard]] bool acquire(Timeout timeout, const StopToken& stop) { return semaphore_.acquire(timeout, stop); }
    [[nodiscard]] bool try_acquire() noexcept { return semaphore_.try_acquire(); }
    /// Adds `permits`, and wakes as many who wait.
    ///
    /// Throws, changing nothing: std::invalid_argument for less than one; UsageError where there would be more than at
    /// first.
    void release(std::ptrdiff_t permits = 1) { semaphore_.release_within(bound_, permits); }

    std::ptrdiff_t value() const noexcept { return semaphore_.value(); }
    std::size_t waiting() const { return semaphore_.waiting(); }

    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) {
        return semaphore_.try_acquire_for(timeout);
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& at) {
        return semaphore_.try_acquire_until(at);
    }
    void lock() { acquire(); }
    bool try_lock() noexcept { return try_acquire(); }
    void unlock() { release(); }

private:
    Semaphore semaphore_;
    const std::ptrdiff_t bound_;
};

inline bool Semaphore::try_acquire() noexcept {
    std::size_t word = word_.load(std::memory_order_relaxed);
    while (word >= one_permit) {
        detail::sync_point();
        // Acquire pairs with the release in release_within and release_slowly.
        if (word_.compare_exchange_weak(word, word - one_permit, std::memory_order_acquire, std::memory_order_relaxed))
            return true;
    }
    return false;
}

inline void Semaphore::release_within(std::ptrdiff_t bound, std::ptrdiff_t permits) {
    std::size_t word = word_.load(std::memory_order_relaxed);
    // Once the word says that there is a permit this object may be gone: nothing here or below touches it after that.
    while (permits >= 1 && free_permits(word) <= bound - permits && (word & sleepers_bit) == 0) {
        detail::sync_point();
        if (word_.compare_exchange_weak(word, word + static_cast<std::size_t>(permits) * one_permit,
                                        std::memory_order_release, std::memory_order_relaxed))
            return;
    }
    release_slowly(bound, permits);
}

inline void Semaphore::release_slowly(std::ptrdiff_t bound, std::ptrdiff_t permits) {
    using detail::parking::Result;
    if (permits < 1) throw std::invalid_argument("plait::threading::Semaphore: release gives one permit or more");
    const auto added = static_cast<std::size_t>(permits);
    bool refused = false;
    detail::parking::wake(this, added, [&](std::size_t sleepers) {
        std::size_t word = word_.load(std::memory_order_relaxed);
        for (;;) {
            refused = free_permits(word) > bound - permits;
            if (refused) return Result::unwanted;
            const bool hand_over = (word & impatient_bit) != 0;
            const std::size_t handed = hand_over ? (std::min)(sleepers, added) : 0;
            const std::size_t bit = sleepers > added ? sleepers_bit : 0;
            const std::size_t next = (word & ~(sleepers_bit | impatient_bit)) + (added - handed) * one_permit + bit;
            detail::sync_point();
            // A bit that is set in this moment may be lost: who set it looks again before it sleeps.
            if (word_.compare_exchange_weak(word, next, std::memory_order_release, std::memory_order_relaxed))
                return hand_over ? Result::handed_over : Result::woken;
        }
    });
    if (refused)
        throw UsageError("release of more permits than the semaphore can have: release what was acquired, and once");
}

inline bool Semaphore::acquire_slowly(detail::Deadline deadline, const StopToken* stop) {
    using detail::parking::Place;
    using detail::parking::Result;
    if (detail::spin_until([this] { return try_acquire(); })) return true;

    // No permit is free while others sleep but for those whom its release has woken to take it: sleeping begins only
    // where none is free, and each permit that is released later wakes a sleeper, who sleeps again only if none is left.
    std::size_t bits = sleepers_bit;
    for (;;) {
        detail::sync_point();
        std::size_t word = word_.load(std::memory_order_relaxed);
        if (free_permits(word) != 0) {
            if (try_acquire()) return true;
            continue;
        }
        if ((word & bits) != bits &&
            !word_.compare_exchange_weak(word, word | bits, std::memory_order_relaxed, std::memory_order_relaxed))
            continue;
        const auto none_free = [&] {
            const std::size_t now = word_.load(std::memory_order_relaxed);
            return free_permits(now) == 0 && (now & bits) == bits;
        };
        const Place place = (bits & impatient_bit) != 0 ? Place::first : Place::last;
        detail::sync_point();
        switch (stop != nullptr ? detail::parking::sleep(this, deadline, *stop, none_free, place)
                                : detail::parking::sleep(this, deadline, none_free, place)) {
            case Result::timed_out:
            case Result::interrupted:
                return false;
            case Result::handed_over:
                return true;
            case Result::woken:
                bits = sleepers_bit | impatient_bit;
                break;
            case Result::unwanted:
                if (stop != nullptr && stop->stop_requested()) return try_acquire();
                break;
        }
    }
}

}  // namespace plait::inline PLAIT_ABI::threading
