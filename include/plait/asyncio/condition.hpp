// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/function.hpp>

#include <coroutine>
#include <cstddef>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

/// A lock with a place to wait at: `wait` gives the lock up, waits until another task notifies, and takes it again.
///
///     Condition changed;
///     std::vector<Job> jobs;
///     Coroutine<void> produce(Job job) {
///         auto guard = co_await changed.scoped();
///         jobs.push_back(std::move(job));
///         changed.notify();
///     }
///     Coroutine<Job> consume() {
///         auto guard = co_await changed.scoped();
///         co_await changed.wait_for([] { return !jobs.empty(); });
///         Job job = std::move(jobs.back());
///         jobs.pop_back();
///         co_return job;
///     }
///
/// Python: asyncio.Condition. Its lock is one of its own, or one that it is given, and that several conditions may
/// share. For a flag use Event; to hand over values, Queue.
/// Order: a notification goes to who has waited longest, and only to who waits; one whose task is cancelled before it
/// goes on goes to the next. What was waited for may be gone by the time the lock is taken: so look again, as
/// `wait_for` does.
/// Throws: UsageError, changing nothing, from every wait and notify where the running task does not hold the lock.
/// Threads: from its loop's only; across threads use threading::Condition.
/// Lifetime: it outlives guards, and those who wait; whoever still waits gets UsageError. A lock that it was given outlives it.
class Condition {
public:
    using Guard = Lock::Guard;

    Condition() noexcept : lock_{own_} {}
    explicit Condition(Lock& lock) noexcept : lock_{lock} {}
    Condition(const Condition&) = delete;
    Condition& operator=(const Condition&) = delete;

    /// As of its lock.
    auto acquire() noexcept { return lock_.acquire(); }
    auto scoped() noexcept { return lock_.scoped(); }
    [[nodiscard]] bool try_acquire() noexcept { return lock_.try_acquire(); }
    void release() { lock_.release(); }
    bool locked() const noexcept { return lock_.locked(); }
    [[nodiscard]] bool owned() const noexcept { return lock_.owned(); }

    /// Waits for a notification, and then for the lock.
    ///
    /// Cancel: first takes the lock again, which takes as long as others hold it, then throws CancelledError.
    /// Throws: UsageError also where tasks of another loop wait.
    detail::Wait<detail::ConditionAwaiter, Condition> wait() noexcept;
    /// Waits until `predicate()`, called while the lock is held, gives something true; gives what it gave last.
    template <plait::detail::WaitPredicate Predicate>
    Coroutine<std::decay_t<std::invoke_result_t<Predicate&>>> wait_for(Predicate predicate);

    /// Wakes the `count` tasks that have waited longest, or as many as wait. They go on once they get the lock. Throws:
    /// std::invalid_argument for less than zero.
    void notify(std::ptrdiff_t count = 1);
    void notify_all();

    /// How many tasks wait for a notification; for tests and diagnosis.
    std::size_t waiting() const noexcept { return waiters_.waiting(); }

private:
    friend class detail::ConditionAwaiter;

    void check_owned() const {
        if (!owned())
            throw UsageError("wait and notify need the condition's lock: acquire it first, by scoped() or so");
    }
    bool notify_first() noexcept;

    Lock own_;
    Lock& lock_;
    detail::WaitList waiters_;  // given, for those who were notified: until they go on, holding the lock
};

namespace detail {

/// Waits in the condition's list for a notification, then in the lock's; in the second from the first on where the task
/// is cancelled.
class ConditionAwaiter : public AwaiterBase, private Waiter, private WaitPlace {
public:
    explicit ConditionAwaiter(Condition& condition) noexcept : condition_{condition}, lock_{condition.lock_} {}
    ConditionAwaiter(const ConditionAwaiter&) = delete;
    ConditionAwaiter& operator=(const ConditionAwaiter&) = delete;
    ~ConditionAwaiter() {
        hand_on_notification();
        if (!for_lock_.given()) return;
        for_lock_.leave();
        lock_.hand_on();
    }

    [[nodiscard]] bool await_ready() const {
        condition_.check_owned();
        condition_.waiters_.check_loop();
        lock_.waiters_.check_loop();
        return false;
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        TaskBase& waiting = *running().task;
        // Listed first: whoever is handed the lock finds it there to notify.
        condition_.waiters_.append(*this, waiting);
        lock_.hand_on();
        waiting.suspend(handle, this);
    }
    void await_resume();

private:
    friend class asyncio::Condition;
    static ConditionAwaiter* of(WaitPlace* place) noexcept { return static_cast<ConditionAwaiter*>(place); }

    /// Notified, and given the lock in its turn. It is not free: whoever notifies holds it, or was to have it.
    void wait_for_lock() noexcept { lock_.waiters_.append(for_lock_, task()); }
    void hand_on_notification() noexcept {
        if (!given()) return;
        leave();
        condition_.notify_first();
    }
    inline bool cancel_wait() noexcept override;

    Condition& condition_;
    Lock& lock_;
    WaitPlace for_lock_;
    bool cancelled_ = false;  // while it waited for the lock, which goes on
};

inline void ConditionAwaiter::await_resume() {
    const bool cancelled = cancelled_ || task().cancel_due();
    if (for_lock_.given()) {
        for_lock_.leave();
        if (cancelled) hand_on_notification();
        leave();
    } else if (!cancelled) {
        throw_cause();
    }
    if (!cancelled) return;
    task().check_cancelled();
    throw CancelledError(task().cancel_message());
}

inline bool ConditionAwaiter::cancel_wait() noexcept {
    if (waiting()) {
        leave();
        if (lock_.take_or_queue(for_lock_, task())) return false;
    }
    cancelled_ = true;
    return true;
}

}  // namespace detail

inline detail::Wait<detail::ConditionAwaiter, Condition> Condition::wait() noexcept {
    return detail::Wait<detail::ConditionAwaiter, Condition>{*this};
}

template <plait::detail::WaitPredicate Predicate>
Coroutine<std::decay_t<std::invoke_result_t<Predicate&>>> Condition::wait_for(Predicate predicate) {
    check_owned();
    for (;;) {
        std::decay_t<std::invoke_result_t<Predicate&>> value = predicate();
        if (static_cast<bool>(value)) co_return std::move(value);
        co_await wait();
    }
}

inline bool Condition::notify_first() noexcept {
    detail::WaitPlace* const first = waiters_.give_first();
    if (first == nullptr) return false;
    detail::ConditionAwaiter::of(first)->wait_for_lock();
    return true;
}

inline void Condition::notify(std::ptrdiff_t count) {
    if (count < 0) throw std::invalid_argument("plait::asyncio::Condition: notify wakes no fewer than none");
    check_owned();
    while (count-- > 0 && notify_first()) {
    }
}

inline void Condition::notify_all() {
    check_owned();
    while (notify_first()) {
    }
}

}  // namespace plait::inline PLAIT_ABI::asyncio
