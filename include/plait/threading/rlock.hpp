// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/lock.hpp>

#include <atomic>
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
        if (!acquire_again()) lock_.acquire();
    }
    /// Waits for `timeout` at most; returns whether this thread holds it once more.
    [[nodiscard]] bool acquire(Timeout timeout) { return acquire_again() || lock_.acquire(timeout); }
    [[nodiscard]] bool try_acquire() noexcept { return acquire_again() || lock_.try_acquire(); }
    /// Throws: UsageError, changing nothing, where it is not this thread's.
    void release() {
        const std::size_t again = again_.load(std::memory_order_relaxed);
        if (again == 0 || !lock_.owned())
            lock_.release();  // throws where it is not this thread's
        else
            again_.store(again - 1, std::memory_order_relaxed);
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

    /// For the owner: makes it free. What it returns is for `restore`.
    std::size_t release_all() {
        const std::size_t again = again_.load(std::memory_order_relaxed);
        again_.store(0, std::memory_order_relaxed);
        lock_.release();
        return again;
    }
    /// Acquires it as often as it was held.
    void restore(std::size_t again) {
        lock_.acquire();
        again_.store(again, std::memory_order_relaxed);
    }
    bool acquire_again() noexcept {
        if (!lock_.owned()) return false;
        again_.store(again_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return true;
    }

    Lock lock_;
    // How often the owner has acquired it beyond the first time: 0 when it is free. Only the owner writes it; a thread that
    // releases a lock of others may read it, and learns from lock_ that it was wrong.
    std::atomic<std::size_t> again_{0};
};

}  // namespace plait::inline PLAIT_ABI::threading
