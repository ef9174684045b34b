// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/lock.hpp>

#include <chrono>
#include <cstddef>

namespace plait::inline PLAIT_ABI::threading {

/// A Lock that its owner may acquire again: it is free once it has been released as often as it was acquired.
///
/// Python: threading.RLock. For functions that lock and call each other; where no such call is meant, a Lock finds the
/// mistake.
///
///     RLock lock;
///     void deposit(int amount) { const std::scoped_lock guard{lock}; balance += amount; }
///     void transfer(int amount) { const std::scoped_lock guard{lock}; deposit(amount); }
///
/// Order, threads, lifetime, and what a guard does: as of Lock.
class RLock {
public:
    constexpr RLock() noexcept = default;
    RLock(const RLock&) = delete;
    RLock& operator=(const RLock&) = delete;

    void acquire() {
        if (!lock_.owned()) lock_.acquire();
        ++depth_;
    }
    /// Waits for `timeout` at most; returns whether this thread holds it once more.
    [[nodiscard]] bool acquire(Timeout timeout) { return count(lock_.owned() || lock_.acquire(timeout)); }
    [[nodiscard]] bool try_acquire() noexcept { return count(lock_.owned() || lock_.try_acquire()); }
    /// Throws: UsageError, changing nothing, where it is not this thread's.
    void release() {
        if (!lock_.owned())
            throw UsageError(
                "release of an RLock that this thread does not hold: only the thread that acquired it may");
        if (--depth_ == 0) lock_.release();
    }

    /// Whether any thread holds it now.
    bool locked() const noexcept { return lock_.locked(); }
    /// Whether the calling thread holds it.
    [[nodiscard]] bool owned() const noexcept { return lock_.owned(); }
    /// How many threads sleep until they get it; for tests and diagnosis.
    std::size_t waiting() const { return lock_.waiting(); }

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
    friend class Condition;  // which gives it up for a wait, however often it is held

    /// For the owner: makes it free; returns how often it was held.
    std::size_t release_all() {
        const std::size_t depth = depth_;
        depth_ = 0;
        lock_.release();
        return depth;
    }
    void acquire_again(std::size_t depth) {
        lock_.acquire();
        depth_ = depth;
    }
    bool count(bool acquired) noexcept {
        if (acquired) ++depth_;
        return acquired;
    }

    Lock lock_;
    std::size_t depth_ = 0;  // how often the owner holds it; only the owner reads or writes it
};

}  // namespace plait::inline PLAIT_ABI::threading
