// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/lock_state.hpp>
#include <plait/multiprocessing/detail/shared_handle.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <chrono>
#include <cstddef>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// Lets one thread of one process at a time pass: who has acquired it owns it until it releases it.
///
/// Python: multiprocessing.Lock, but owned, as threading::Lock is. Within one process use that; for locking it several
/// times, RLock; for a counter with its lock, Value.
///
///     void deposit(mp::Lock lock, mp::Value<long> balance) {
///         const std::scoped_lock guard{lock};
///         *balance += 1;
///     }
///     mp::Process(deposit, lock, balance).start();
///
/// A handle: copies name the same lock, and so does what arrives in another process, as an argument of `start` or through
/// a Connection. A TimedLockable of the standard.
/// Deaths: when the owner dies, ends its thread, or drops its process's last handle while it holds the lock, each acquire
/// from then on throws OwnerDiedError, until one calls `recover`. A process that is stopped is not dead. Without the
/// system's help (macOS, PLAIT_PORTABLE_POSIX) an owner that died counts as alive until its parent has reaped it.
/// Throws: std::system_error from the constructor.
/// Order: what a thread did before `release` is visible to the next owner.
/// Threads: every member from any thread of any process. A forked child does not own what its parent owns.
class Lock {
public:
    Lock() : state_{detail::Shared<State>::create()} {}
    // No moves: a handle always names a lock.
    Lock(const Lock&) = default;
    Lock& operator=(const Lock&) = default;

    /// Waits until it is this thread's. Throws: OwnerDiedError; UsageError where it is already.
    void acquire() const { static_cast<void>(state_->acquire(detail::Deadline::never())); }
    /// Waits for `timeout` at most; returns whether it is this thread's now. Throws as `acquire`.
    [[nodiscard]] bool acquire(Timeout timeout) const {
        return timeout.is_zero() ? state_->try_acquire() : state_->acquire(detail::Deadline{timeout});
    }
    /// Takes it if it is free. Throws as `acquire`.
    [[nodiscard]] bool try_acquire() const { return state_->try_acquire(); }
    /// Throws: UsageError, changing nothing, where it is not this thread's.
    void release() const { state_->release(); }
    /// Acquires it also where an owner died, for repairing what it guards, and makes it usable again. Returns whether one
    /// had died: not where another has repaired it meanwhile. Throws: UsageError where it is this thread's already.
    bool recover() const { return state_->recover(); }

    /// Whether any thread holds it now, or died with it and nobody has noticed yet.
    bool locked() const noexcept { return state_->locked(); }
    /// Whether the calling thread holds it.
    [[nodiscard]] bool owned() const noexcept { return state_->owned(); }
    /// How many wait until they get it: a hint, for those killed meanwhile stay counted.
    std::size_t waiting() const noexcept { return state_->waiting(); }
    /// Whether they are the same lock.
    friend bool operator==(const Lock& a, const Lock& b) noexcept { return a.state_ == b.state_; }

    // The standard's names.
    void lock() const { acquire(); }
    bool try_lock() const { return try_acquire(); }
    template <class Rep, class Period>
    bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
        return acquire(Timeout{timeout});
    }
    template <class Clock, class Duration>
    bool try_lock_until(const std::chrono::time_point<Clock, Duration>& at) const {
        return detail::attempt_until(at, [this](Timeout timeout) { return acquire(timeout); });
    }
    void unlock() const { release(); }

private:
    friend class Condition;
    friend struct detail::SharedHandleCodec<Lock>;
    using State = detail::LockState;

    explicit Lock(detail::Shared<State> state) noexcept : state_{std::move(state)} {}

    detail::Shared<State> state_;
};

template <>
struct Codec<Lock> : detail::SharedHandleCodec<Lock> {};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
