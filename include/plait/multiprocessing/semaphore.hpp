// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/shared_handle.hpp>
#include <plait/multiprocessing/detail/shared_wait.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

/// A Semaphore in shared memory. Each step is one exchange of one word, so a process may die between any two of them.
class SemaphoreState {
public:
    static constexpr std::ptrdiff_t max_value = INT32_MAX;

    SemaphoreState(std::ptrdiff_t permits, std::ptrdiff_t bound) : word_{first_word(permits)}, bound_{bound} {}

    bool try_acquire() noexcept { return take(0); }
    bool acquire(Deadline deadline);
    void release(std::ptrdiff_t permits);

    [[nodiscard]] std::ptrdiff_t value() const noexcept { return permits(word_.load(std::memory_order_relaxed)); }
    [[nodiscard]] std::size_t waiting() const noexcept { return sleepers_.count(); }

private:
    // What word_ holds: the free permits, each worth `one_permit`, and below them `sleepers_bit`: somebody may sleep, so a
    // release has to wake. Who is about to sleep sets the bit; a release takes it away, in the exchange that adds the
    // permits, and wakes as many as it adds. Others may sleep on: so who has slept sets it again with the permit that it
    // takes. A wake that is lost, with the process that was to give or to get it, is made up for by the next look.
    static constexpr std::uint32_t sleepers_bit = 1;
    static constexpr std::uint32_t one_permit = 2;

    static constexpr std::ptrdiff_t permits(std::uint32_t word) noexcept {
        return static_cast<std::ptrdiff_t>(word / one_permit);
    }
    static constexpr std::uint32_t first_word(std::ptrdiff_t permits) {
        if (permits < 0 || permits > max_value)
            throw std::invalid_argument("plait::multiprocessing::Semaphore: a number of permits is 0 to max_value");
        return static_cast<std::uint32_t>(permits) * one_permit;
    }
    bool take(std::uint32_t bit) noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        while (word >= one_permit) {
            sync_point();
            // Acquire pairs with the release in `release`.
            if (word_.compare_exchange_weak(word, (word - one_permit) | bit, std::memory_order_acquire,
                                            std::memory_order_relaxed)) {
                sync_point();
                return true;
            }
        }
        return false;
    }

    std::atomic<std::uint32_t> word_;
    Sleepers sleepers_;
    const std::ptrdiff_t bound_;  // the most permits that there can be
};

/// Told from a Semaphore's where it arrives.
class BoundedSemaphoreState : public SemaphoreState {
public:
    using SemaphoreState::SemaphoreState;
};

}  // namespace detail

/// A number of permits, for threads of several processes: `acquire` takes one and waits while there is none, `release`
/// gives some back.
///
/// Python: multiprocessing.Semaphore. To let n at a time use something, prefer BoundedSemaphore, which finds a permit that
/// was given back twice; within one process, threading::Semaphore.
///
///     mp::Semaphore downloads(4);
///     void download(mp::Semaphore downloads, const Url& url) {
///         const std::scoped_lock guard{downloads};
///         fetch(url);
///     }
///
/// A handle, as Lock is: copies name the same semaphore, also in other processes. A Lockable of the standard.
/// Deaths: a permit has no owner. One that a process had when it died is lost: where that must not be, let who sees the
/// death release it. A waiter that dies takes nothing.
/// Throws: std::system_error from the constructor.
/// Order: what a thread did before `release` is visible to who acquires the permit. Waiters do not come in turn.
/// Threads: every member from any thread of any process; any of them may release.
class Semaphore {
public:
    /// The most permits that there can be.
    static constexpr std::ptrdiff_t max_value = detail::SemaphoreState::max_value;

    /// Throws: std::invalid_argument for a number of permits below zero or over `max_value`.
    explicit Semaphore(std::ptrdiff_t permits = 1) : state_{detail::Shared<State>::create(permits, max_value)} {}
    // No moves: a handle always names a semaphore.
    Semaphore(const Semaphore&) = default;
    Semaphore& operator=(const Semaphore&) = default;

    /// Waits until there is a permit, and takes it.
    void acquire() const { static_cast<void>(state_->acquire(detail::Deadline::never())); }
    /// Waits for `timeout` at most; returns whether it took a permit.
    [[nodiscard]] bool acquire(Timeout timeout) const {
        return state_->try_acquire() || (!timeout.is_zero() && state_->acquire(detail::Deadline{timeout}));
    }
    /// Takes a permit if there is one.
    [[nodiscard]] bool try_acquire() const noexcept { return state_->try_acquire(); }
    /// Adds `permits`, and wakes as many who wait.
    ///
    /// Throws, changing nothing: std::invalid_argument for less than one; UsageError where there would be more than
    /// `max_value`.
    void release(std::ptrdiff_t permits = 1) const { state_->release(permits); }

    /// How many permits are free now.
    std::ptrdiff_t value() const noexcept { return state_->value(); }
    /// How many wait until they get one: a hint, for those killed meanwhile stay counted.
    std::size_t waiting() const noexcept { return state_->waiting(); }
    /// Whether they are the same semaphore.
    friend bool operator==(const Semaphore& a, const Semaphore& b) noexcept { return a.state_ == b.state_; }

    // The standard's names.
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) const {
        return acquire(Timeout{timeout});
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& at) const {
        return detail::attempt_until(at, [this](Timeout timeout) { return acquire(timeout); });
    }
    void lock() const { acquire(); }
    bool try_lock() const noexcept { return try_acquire(); }
    void unlock() const { release(); }

private:
    friend struct detail::SharedHandleCodec<Semaphore>;
    using State = detail::SemaphoreState;

    explicit Semaphore(detail::Shared<State> state) noexcept : state_{std::move(state)} {}

    detail::Shared<State> state_;
};

/// A Semaphore that never has more permits than at first: a `release` without an `acquire` is a UsageError, and changes
/// nothing.
///
/// Python: multiprocessing.BoundedSemaphore. All else is as of Semaphore.
class BoundedSemaphore {
public:
    /// Throws: std::invalid_argument for a number of permits below zero or over `Semaphore::max_value`.
    explicit BoundedSemaphore(std::ptrdiff_t permits = 1) : state_{detail::Shared<State>::create(permits, permits)} {}
    BoundedSemaphore(const BoundedSemaphore&) = default;
    BoundedSemaphore& operator=(const BoundedSemaphore&) = default;

    void acquire() const { static_cast<void>(state_->acquire(detail::Deadline::never())); }
    [[nodiscard]] bool acquire(Timeout timeout) const {
        return state_->try_acquire() || (!timeout.is_zero() && state_->acquire(detail::Deadline{timeout}));
    }
    [[nodiscard]] bool try_acquire() const noexcept { return state_->try_acquire(); }
    /// Adds `permits`, and wakes as many who wait.
    ///
    /// Throws, changing nothing: std::invalid_argument for less than one; UsageError where there would be more than at
    /// first.
    void release(std::ptrdiff_t permits = 1) const { state_->release(permits); }

    std::ptrdiff_t value() const noexcept { return state_->value(); }
    std::size_t waiting() const noexcept { return state_->waiting(); }
    friend bool operator==(const BoundedSemaphore& a, const BoundedSemaphore& b) noexcept {
        return a.state_ == b.state_;
    }

    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) const {
        return acquire(Timeout{timeout});
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& at) const {
        return detail::attempt_until(at, [this](Timeout timeout) { return acquire(timeout); });
    }
    void lock() const { acquire(); }
    bool try_lock() const noexcept { return try_acquire(); }
    void unlock() const { release(); }

private:
    friend struct detail::SharedHandleCodec<BoundedSemaphore>;
    using State = detail::BoundedSemaphoreState;

    explicit BoundedSemaphore(detail::Shared<State> state) noexcept : state_{std::move(state)} {}

    detail::Shared<State> state_;
};

template <>
struct Codec<Semaphore> : detail::SharedHandleCodec<Semaphore> {};
template <>
struct Codec<BoundedSemaphore> : detail::SharedHandleCodec<BoundedSemaphore> {};

namespace detail {

inline bool SemaphoreState::acquire(Deadline deadline) {
    if (take(0) || spin_until([this] { return take(0); })) return true;
    // Those who sleep beside this thread have to hear of the permits that it does not take.
    std::uint32_t bit = 0;
    for (;;) {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        if (word >= one_permit) {
            if (take(bit)) return true;
            continue;
        }
        if (deadline.has_passed()) return false;
        sync_point();
        if (word == 0 && !word_.compare_exchange_weak(word, sleepers_bit, std::memory_order_relaxed)) continue;
        sync_point();
        sleepers_.sleep(word_, sleepers_bit, deadline);
        bit = sleepers_bit;
    }
}

inline void SemaphoreState::release(std::ptrdiff_t added) {
    if (added < 1) throw std::invalid_argument("plait::multiprocessing::Semaphore: release gives one permit or more");
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    std::uint32_t next = 0;
    do {
        if (added > bound_ || permits(word) > bound_ - added)
            throw UsageError(
                "release of more permits than the semaphore can have: release what was acquired, and once");
        next = (word & ~sleepers_bit) + static_cast<std::uint32_t>(added) * one_permit;
        sync_point();
        // Release pairs with the acquire in `take`.
    } while (!word_.compare_exchange_weak(word, next, std::memory_order_release, std::memory_order_relaxed));
    if ((word & sleepers_bit) != 0) wake(word_, static_cast<std::size_t>(added));
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing
