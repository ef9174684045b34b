// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

/// A number of permits: `acquire` takes one and waits while there is none, `release` gives some back.
///
///     Semaphore downloads(4);
///     Coroutine<Page> download(Url url) {
///         auto permit = co_await downloads.scoped();
///         co_return co_await fetch(url);
///     }
///
/// Python: asyncio.Semaphore. To let n tasks at a time use something, prefer BoundedSemaphore, which finds a permit that
/// was given back twice; for one at a time, Lock; to count down to a meeting, Barrier. Any task may release.
/// Order: first come, first served. A permit that is released goes to who has waited longest, and nobody passes while
/// those who were given one have not had their turn.
/// Threads: from its loop's only; across threads use threading::Semaphore.
/// Lifetime: it outlives guards, and those who wait; whoever still waits gets UsageError. May be made before there is a
/// loop, and used on another once nobody waits.
class Semaphore {
public:
    class Guard;
    /// The most permits that there can be.
    static constexpr std::ptrdiff_t max_value = PTRDIFF_MAX / 2;

    /// Throws: std::invalid_argument for a number of permits below zero or over `max_value`.
    explicit Semaphore(std::ptrdiff_t permits = 1) : Semaphore{permits, max_value} {}
    Semaphore(const Semaphore&) = delete;
    Semaphore& operator=(const Semaphore&) = delete;

    /// Waits until there is a permit, and takes it. At once where there is one: then no other task runs in between.
    ///
    /// Cancel: takes none; one that was to be this task's goes to the next one.
    /// Throws: UsageError where tasks of another loop wait for it.
    detail::Wait<detail::TurnAwaiter<Semaphore>, Semaphore> acquire() noexcept {
        return detail::Wait<detail::TurnAwaiter<Semaphore>, Semaphore>{*this};
    }
    /// The same, and gives a guard that gives the permit back.
    detail::Wait<detail::ScopedAwaiter<Semaphore>, Semaphore> scoped() noexcept {
        return detail::Wait<detail::ScopedAwaiter<Semaphore>, Semaphore>{*this};
    }
    /// Takes a permit if `acquire` would not wait.
    [[nodiscard]] bool try_acquire() noexcept {
        if (locked()) return false;
        --value_;
        return true;
    }
    /// Adds `permits`, and gives them to those who have waited longest.
    ///
    /// Throws, changing nothing: std::invalid_argument for less than one; UsageError where there would be more than
    /// `max_value`, or for a BoundedSemaphore more than at first.
    void release(std::ptrdiff_t permits = 1);

    /// Whether `acquire` would wait: there is no permit, or those who were given one have not had their turn.
    bool locked() const noexcept { return value_ == 0 || waiters_.has_given(); }
    /// How many permits are free now.
    std::ptrdiff_t value() const noexcept { return value_; }
    /// How many tasks wait for one; for tests and diagnosis.
    std::size_t waiting() const noexcept { return waiters_.waiting(); }

private:
    friend class BoundedSemaphore;
    template <class Owner>
    friend class detail::TurnAwaiter;

    Semaphore(std::ptrdiff_t permits, std::ptrdiff_t bound) : value_{permits}, bound_{bound} {
        if (permits < 0 || permits > max_value)
            throw std::invalid_argument("plait::asyncio::Semaphore: a number of permits is 0 to max_value");
    }

    bool take_at_once() {
        if (try_acquire()) return true;
        waiters_.check_loop();
        return false;
    }
    void hand_on() noexcept {
        ++value_;
        hand_out();
    }
    /// Holds that no permit is free while anybody waits.
    void hand_out() noexcept {
        while (value_ != 0) {
            detail::WaitPlace* const next = waiters_.give_first();
            if (next == nullptr) return;
            --value_;
            next->task().wake();
        }
    }

    std::ptrdiff_t value_;
    std::ptrdiff_t bound_;
    detail::WaitList waiters_;
};

/// A Semaphore that never has more permits than at first: a `release` without an `acquire` is found.
///
/// Python: asyncio.BoundedSemaphore.
class BoundedSemaphore : public Semaphore {
public:
    /// Throws: std::invalid_argument for a number of permits below zero or over `max_value`.
    explicit BoundedSemaphore(std::ptrdiff_t permits = 1) : Semaphore{permits, permits} {}
};

/// Holds a permit, and gives it back in its destructor; where that is one too many, the program ends with the
/// UsageError's text.
class [[nodiscard("the permit is given back where the guard is dropped")]] Semaphore::Guard {
public:
    Guard(Guard&& other) noexcept : semaphore_{std::exchange(other.semaphore_, nullptr)} {}
    Guard& operator=(Guard&& other) noexcept {
        Guard taken{std::move(other)};
        std::swap(semaphore_, taken.semaphore_);
        return *this;
    }
    ~Guard() {
        if (semaphore_ != nullptr) semaphore_->release();
    }

    /// Gives it back early. Throws: UsageError where it was given back before.
    void release() {
        if (semaphore_ == nullptr)
            throw UsageError("this guard holds no permit any more: it was released or moved from");
        std::exchange(semaphore_, nullptr)->release();
    }

private:
    template <class Owner>
    friend class detail::ScopedAwaiter;
    explicit Guard(Semaphore& semaphore) noexcept : semaphore_{&semaphore} {}

    Semaphore* semaphore_;
};

inline void Semaphore::release(std::ptrdiff_t permits) {
    if (permits < 1) throw std::invalid_argument("plait::asyncio::Semaphore: release gives one permit or more");
    if (permits > bound_ - value_)
        throw UsageError("release of more permits than the semaphore can have: release what was acquired, and once");
    value_ += permits;
    hand_out();
}

}  // namespace plait::inline PLAIT_ABI::asyncio
