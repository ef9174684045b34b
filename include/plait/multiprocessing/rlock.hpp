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

namespace detail {
/// Told from a Lock's where it arrives.
class RLockState : public LockState {};
}  // namespace detail

/// A Lock that its owner may acquire again: it is free once it has been released as often as it was acquired.
///
/// Python: multiprocessing.RLock. For functions that lock and call each other; where no such call is meant, a Lock finds
/// the mistake.
///
///     void deposit(mp::RLock lock, Account& account, int amount) {
///         const std::scoped_lock guard{lock};
///         account.add(amount);
///     }
///     void transfer(mp::RLock lock, Account& from, Account& to, int amount) {
///         const std::scoped_lock guard{lock};
///         deposit(lock, from, -amount);
///         deposit(lock, to, amount);
///     }
///
/// Handles, deaths, order and threads: as of Lock.
class RLock {
public:
    RLock() : state_{detail::Shared<State>::create()} {}
    // No moves: a handle always names a lock.
    RLock(const RLock&) = default;
    RLock& operator=(const RLock&) = default;

    /// Throws: OwnerDiedError.
    void acquire() const {
        if (!state_->acquire_again()) static_cast<void>(state_->acquire(detail::Deadline::never()));
    }
    /// Waits for `timeout` at most; returns whether this thread holds it once more. Throws: OwnerDiedError.
    [[nodiscard]] bool acquire(Timeout timeout) const {
        return state_->acquire_again() ||
               (timeout.is_zero() ? state_->try_acquire() : state_->acquire(detail::Deadline{timeout}));
    }
    [[nodiscard]] bool try_acquire() const { return state_->acquire_again() || state_->try_acquire(); }
    /// Throws: UsageError, changing nothing, where it is not this thread's.
    void release() const { state_->release_once(); }
    /// As of Lock; where it is this thread's already, once more.
    bool recover() const { return !state_->acquire_again() && state_->recover(); }

    /// Whether any thread holds it now, or died with it and nobody has noticed yet.
    bool locked() const noexcept { return state_->locked(); }
    /// Whether the calling thread holds it.
    [[nodiscard]] bool owned() const noexcept { return state_->owned(); }
    /// How many wait until they get it: a hint, for those killed meanwhile stay counted.
    std::size_t waiting() const noexcept { return state_->waiting(); }
    /// Whether they are the same lock.
    friend bool operator==(const RLock& a, const RLock& b) noexcept { return a.state_ == b.state_; }

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
    template <class>
    friend class Value;
    template <class>
    friend class Array;
    friend struct detail::SharedHandleCodec<RLock>;
    using State = detail::RLockState;

    explicit RLock(detail::Shared<State> state) noexcept : state_{std::move(state)} {}

    detail::Shared<State> state_;
};

template <>
struct Codec<RLock> : detail::SharedHandleCodec<RLock> {};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
