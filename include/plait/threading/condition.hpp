// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/lock.hpp>
#include <plait/threading/rlock.hpp>

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <type_traits>

namespace plait::inline PLAIT_ABI::threading {

/// A lock with a place to wait at: `wait` gives the lock up, sleeps until another thread notifies, and takes it again.
///
/// Python: threading.Condition. For a flag use Event; to hand over values, Queue.
///
///     Condition changed;
///     std::vector<Job> jobs;
///     void produce(Job job) {
///         const std::scoped_lock guard{changed};
///         jobs.push_back(std::move(job));
///         changed.notify();
///     }
///     Job consume() {
///         const std::scoped_lock guard{changed};
///         changed.wait_for([&] { return !jobs.empty(); });
///         Job job = std::move(jobs.back());
///         jobs.pop_back();
///         return job;
///     }
///
/// Its lock is an RLock of its own, or a Lock or RLock that it is given, and that several conditions may share; the
/// condition itself is a TimedLockable of the standard that locks it. A wait gives up an RLock however often it is
/// held, and takes it as often again.
/// Throws: UsageError, changing nothing, from every wait and notify where this thread does not hold the lock.
/// Order: a notification goes to who has waited longest, and only to who waits; it is never lost to one whose time is
/// over or who is stopped. A wait ends only by one of the three, but what it waited for may be gone by the time the
/// lock is taken: so look again, as `wait_for` does.
/// Threads: every member from any thread.
/// Lifetime: the last thread that uses it may destroy it at once, while the notifier's `release` is still returning. A
/// lock that it was given outlives it.
class Condition {
public:
    constexpr Condition() noexcept : rlock_{&own_} {}
    constexpr explicit Condition(Lock& lock) noexcept : lock_{&lock} {}
    constexpr explicit Condition(RLock& lock) noexcept : rlock_{&lock} {}
    Condition(const Condition&) = delete;
    Condition& operator=(const Condition&) = delete;

    /// As of its lock.
    void acquire() { lock_ != nullptr ? lock_->acquire() : rlock_->acquire(); }
    [[nodiscard]] bool acquire(Timeout timeout) {
        return lock_ != nullptr ? lock_->acquire(timeout) : rlock_->acquire(timeout);
    }
    [[nodiscard]] bool try_acquire() noexcept {
        return lock_ != nullptr ? lock_->try_acquire() : rlock_->try_acquire();
    }
    void release() { lock_ != nullptr ? lock_->release() : rlock_->release(); }
    bool locked() const noexcept { return lock_ != nullptr ? lock_->locked() : rlock_->locked(); }
    [[nodiscard]] bool owned() const noexcept { return lock_ != nullptr ? lock_->owned() : rlock_->owned(); }

    /// Waits for a notification.
    void wait() { static_cast<void>(wait_until(detail::Deadline::never(), nullptr)); }
    /// Waits for `timeout` at most, not counting what it takes to get the lock again; zero or less lets others have the
    /// lock for a moment. Returns whether it was notified.
    [[nodiscard]] bool wait(Timeout timeout) { return wait_until(detail::Deadline{timeout}, nullptr); }
    /// Waits for a notification or until a stop is requested. Returns whether it was notified.
    [[nodiscard]] bool wait(const StopToken& stop) { return wait_until(detail::Deadline::never(), &stop); }
    [[nodiscard]] bool wait(Timeout timeout, const StopToken& stop) {
        return wait_until(detail::Deadline{timeout}, &stop);
    }

    /// Waits until `predicate()`, called while the lock is held, gives something true; returns what it gave last.
    template <plait::detail::WaitPredicate Predicate>
    auto wait_for(Predicate predicate) {
        return wait_for_until(predicate, detail::Deadline::never(), nullptr);
    }
    /// Waits for `timeout` at most, in all; then `predicate()` is asked once more.
    template <plait::detail::WaitPredicate Predicate>
    [[nodiscard]] auto wait_for(Predicate predicate, Timeout timeout) {
        return wait_for_until(predicate, detail::Deadline{timeout}, nullptr);
    }
    template <plait::detail::WaitPredicate Predicate>
    [[nodiscard]] auto wait_for(Predicate predicate, const StopToken& stop) {
        return wait_for_until(predicate, detail::Deadline::never(), &stop);
    }
    template <plait::detail::WaitPredicate Predicate>
    [[nodiscard]] auto wait_for(Predicate predicate, Timeout timeout, const StopToken& stop) {
        return wait_for_until(predicate, detail::Deadline{timeout}, &stop);
    }

    /// Wakes the `count` threads that have waited longest, or as many as wait. They go on once they get the lock. Throws:
    /// std::invalid_argument for less than zero.
    void notify(std::ptrdiff_t count = 1);
    void notify_all();

    /// How many threads wait for a notification. Who begins to wait is counted before the lock is free again.
    std::size_t waiting() const { return detail::parking::waiting(place()); }

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
    /// Where its waiters sleep: not the address of `own_`, under which those sleep who want that lock.
    const void* place() const noexcept { return &rlock_; }
    void check_owned() const {
        if (!owned())
            throw UsageError("wait and notify need the condition's lock: acquire it first, by std::scoped_lock or so");
    }
    bool wait_until(detail::Deadline deadline, const StopToken* stop);
    template <class Predicate>
    std::decay_t<std::invoke_result_t<Predicate&>> wait_for_until(Predicate& predicate, detail::Deadline deadline,
                                                                  const StopToken* stop);

    RLock own_;
    RLock* rlock_ = nullptr;  // the one or the other
    Lock* lock_ = nullptr;
};

inline bool Condition::wait_until(detail::Deadline deadline, const StopToken* stop) {
    using detail::parking::Result;
    check_owned();
    // Why no notification is lost: this thread is listed as a sleeper before it gives the lock up, and who notifies has
    // the lock, so finds it there. Whether a sleeper is picked, interrupted or too late is decided under the mutex of its
    // list, and only once: a notification is spent on nobody but one who returns true.
    std::size_t depth = 0;
    const auto give_up_lock = [&] {
        detail::sync_point();
        if (lock_ != nullptr)
            lock_->release();
        else
            depth = rlock_->release_all();
        detail::sync_point();
    };
    const Result result = stop != nullptr ? detail::parking::sleep_after(place(), deadline, *stop, give_up_lock)
                                          : detail::parking::sleep_after(place(), deadline, give_up_lock);
    detail::sync_point();
    if (lock_ != nullptr)
        lock_->acquire();
    else
        rlock_->restore(depth);
    return result == Result::woken;
}

template <class Predicate>
std::decay_t<std::invoke_result_t<Predicate&>> Condition::wait_for_until(Predicate& predicate,
                                                                         detail::Deadline deadline,
                                                                         const StopToken* stop) {
    check_owned();
    for (;;) {
        std::decay_t<std::invoke_result_t<Predicate&>> value = predicate();
        if (static_cast<bool>(value)) return value;
        if (!wait_until(deadline, stop)) return predicate();
    }
}

inline void Condition::notify(std::ptrdiff_t count) {
    if (count < 0) throw std::invalid_argument("plait::threading::Condition: notify wakes no fewer than none");
    check_owned();
    detail::parking::wake(place(), static_cast<std::size_t>(count));
}

inline void Condition::notify_all() {
    check_owned();
    detail::parking::wake_all(place());
}

}  // namespace plait::inline PLAIT_ABI::threading
