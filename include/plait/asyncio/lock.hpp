// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

class ConditionAwaiter;

/// Who holds a lock: a task, known by its number from a later one in the same place; or no task, but a callback.
struct LockHolder {
    const TaskBase* task = nullptr;
    std::uint32_t number = 0;

    static LockHolder of(const TaskBase* task) noexcept {
        return task != nullptr ? LockHolder{task, task->number()} : LockHolder{};
    }
    friend bool operator==(const LockHolder&, const LockHolder&) noexcept = default;
};

}  // namespace detail

/// Lets one task at a time pass, also where it awaits in between: who has acquired it holds it until it is released.
///
///     Lock lock;
///     Coroutine<void> append(Journal& journal, Entry entry) {
///         auto guard = co_await lock.scoped();
///         co_await journal.write(std::move(entry));    // nobody else writes meanwhile
///     }
///
/// Python: asyncio.Lock; as there, any task may release it. A second acquire by the task that holds it throws instead of
/// waiting for ever. Between two awaits no other task runs: what doesn't await needs no lock. To let n tasks pass, use
/// Semaphore; to wait for a condition, Event or Condition.
/// Order: first come, first served. A release hands it to who has waited longest: nobody comes in between.
/// Threads: from its loop's only. Across threads use threading::Lock, and never hold that over an await.
/// Lifetime: it outlives guards, and those who wait; whoever still waits gets UsageError. May be made before there is a
/// loop, and used on another once nobody waits.
class Lock {
public:
    class Guard;

    Lock() noexcept = default;
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

    /// Waits until it is this task's. At once where it is free: then no other task runs in between.
    ///
    /// Cancel: it is not this task's; where it was to be, the next one gets it.
    /// Throws: UsageError where it is this task's already, or tasks of another loop wait for it.
    detail::Wait<detail::TurnAwaiter<Lock>, Lock> acquire() noexcept {
        return detail::Wait<detail::TurnAwaiter<Lock>, Lock>{*this};
    }
    /// The same, and gives a guard that releases it.
    detail::Wait<detail::ScopedAwaiter<Lock>, Lock> scoped() noexcept {
        return detail::Wait<detail::ScopedAwaiter<Lock>, Lock>{*this};
    }
    /// Takes it if it is free.
    [[nodiscard]] bool try_acquire() noexcept;
    /// Throws: UsageError, changing nothing, where nobody holds it, or who was handed it has not had its turn yet.
    void release();

    /// Whether anybody holds it, or is about to.
    bool locked() const noexcept { return locked_; }
    /// Whether the running task holds it.
    [[nodiscard]] bool owned() const noexcept { return held_by(detail::LockHolder::of(detail::running().task)); }
    /// How many tasks wait for it; for tests and diagnosis.
    std::size_t waiting() const noexcept { return waiters_.waiting(); }

private:
    friend class detail::ConditionAwaiter;
    template <class Owner>
    friend class detail::TurnAwaiter;

    [[nodiscard]] bool held_by(const detail::LockHolder& holder) const noexcept {
        return locked_ && holder_ == holder && !waiters_.has_given();
    }

    bool take_at_once() {
        if (try_acquire()) [[likely]]
            return true;
        check_may_wait();
        return false;
    }
    void check_may_wait() const;
    void hand_on() noexcept;
    void hand_out() noexcept {}
    bool take_or_queue(detail::WaitPlace& place, detail::TaskBase& task) noexcept;

    bool locked_ = false;  // also while it is on its way to the one that was handed it
    detail::LockHolder holder_;
    detail::WaitList waiters_;
};

/// Holds a Lock, and releases it in its destructor if it is still held by the task that acquired it: where the task's
/// frame dies within a Condition's wait, it is not.
class [[nodiscard("the lock is released where the guard is dropped")]] Lock::Guard {
public:
    Guard(Guard&& other) noexcept : lock_{std::exchange(other.lock_, nullptr)}, holder_{other.holder_} {}
    Guard& operator=(Guard&& other) noexcept {
        Guard taken{std::move(other)};
        std::swap(lock_, taken.lock_);
        std::swap(holder_, taken.holder_);
        return *this;
    }
    ~Guard() {
        if (holds()) lock_->hand_on();
    }

    /// Releases it early. Throws: UsageError where it was released before.
    void release() {
        if (!holds()) throw UsageError("this guard holds no lock any more: it was released or moved from");
        std::exchange(lock_, nullptr)->hand_on();
    }

private:
    template <class Owner>
    friend class detail::ScopedAwaiter;
    explicit Guard(Lock& lock) noexcept : lock_{&lock}, holder_{detail::LockHolder::of(detail::running().task)} {}
    [[nodiscard]] bool holds() const noexcept { return lock_ != nullptr && lock_->held_by(holder_); }

    Lock* lock_;
    detail::LockHolder holder_;
};

inline bool Lock::try_acquire() noexcept {
    if (locked_) return false;
    locked_ = true;
    holder_ = detail::LockHolder::of(detail::running().task);
    return true;
}

inline void Lock::release() {
    if (!locked_) throw UsageError("release of a lock that nobody holds: acquire it first");
    if (waiters_.has_given())
        throw UsageError("release of a lock that was released already, and is on its way to the task that waited");
    hand_on();
}

inline void Lock::check_may_wait() const {
    if (owned())
        throw UsageError("a second acquire by the task that holds the lock would wait for itself: release it first");
    waiters_.check_loop();
}

inline void Lock::hand_on() noexcept {
    detail::WaitPlace* const next = waiters_.give_first();
    locked_ = next != nullptr;
    if (!locked_) return;
    holder_ = detail::LockHolder::of(&next->task());
    next->task().wake();
}

/// For a task that is about to be woken anyway: true where it holds the lock then, false where it waits first.
inline bool Lock::take_or_queue(detail::WaitPlace& place, detail::TaskBase& task) noexcept {
    waiters_.append(place, task);
    if (locked_) return false;
    locked_ = true;
    holder_ = detail::LockHolder::of(&task);
    waiters_.give(place);
    return true;
}

}  // namespace plait::inline PLAIT_ABI::asyncio
