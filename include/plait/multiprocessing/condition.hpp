// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/condition_state.hpp>
#include <plait/multiprocessing/detail/lock_state.hpp>
#include <plait/multiprocessing/lock.hpp>
#include <plait/multiprocessing/rlock.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// A lock with a place to wait at, for threads of several processes: `wait` gives the lock up, sleeps until another
/// notifies, and takes it again.
///
/// Python: multiprocessing.Condition. For a flag use Event; to hand over values, Queue; within one process,
/// threading::Condition.
///
///     void consume(mp::Condition changed, mp::Value<int> stock) {
///         const std::scoped_lock guard{changed};
///         changed.wait_for([&] { return *stock > 0; });
///         *stock -= 1;
///     }
///     void produce(mp::Condition changed, mp::Value<int> stock) {
///         const std::scoped_lock guard{changed};
///         *stock += 1;
///         changed.notify();
///     }
///
/// Its lock is an RLock of its own, or a Lock or RLock that it is given, and that several conditions may share; the
/// condition itself is a TimedLockable of the standard that locks it. A handle, as Lock is. At most 1000 wait at once.
/// Deaths: of the lock's owner, as of Lock; who waits is told too, within a tenth of a second. A waiter that dies before
/// a notification does not use it up. One that dies just after may take it along: `wait_for` notices all the same, for it
/// asks ten times a second; after a mere `wait` the others sleep on. A mere `wait` may also return without a notification,
/// where the lock's owner died meanwhile and another thread recovered the lock.
/// Throws: UsageError, changing nothing, from every wait and notify where this thread does not hold the lock;
/// OwnerDiedError, holding nothing, where an owner died (a guard around the wait is not taken amiss its release);
/// std::system_error from the constructor.
/// Order: a notification goes to who has waited longest, and only to who waits; it is not lost to one whose time is over.
/// Threads: every member from any thread of any process.
class Condition {
public:
    Condition() : rlock_{RLock{state_.part(&State::own_lock)}} {}
    explicit Condition(const Lock& lock) : lock_{lock} {}
    explicit Condition(const RLock& lock) : rlock_{lock} {}
    // No moves: a handle always names a condition.
    Condition(const Condition&) = default;
    Condition& operator=(const Condition&) = default;

    /// As of its lock.
    void acquire() const { lock_ ? lock_->acquire() : rlock_->acquire(); }
    [[nodiscard]] bool acquire(Timeout timeout) const {
        return lock_ ? lock_->acquire(timeout) : rlock_->acquire(timeout);
    }
    [[nodiscard]] bool try_acquire() const { return lock_ ? lock_->try_acquire() : rlock_->try_acquire(); }
    void release() const { lock_ ? lock_->release() : rlock_->release(); }
    bool recover() const { return lock_ ? lock_->recover() : rlock_->recover(); }
    bool locked() const noexcept { return lock_state().locked(); }
    [[nodiscard]] bool owned() const noexcept { return lock_state().owned(); }

    /// Waits for a notification.
    void wait() const { static_cast<void>(wait_until(detail::Deadline::never())); }
    /// Waits for `timeout` at most, not counting what it takes to get the lock again; zero or less lets others have the
    /// lock for a moment. Returns whether it was notified.
    [[nodiscard]] bool wait(Timeout timeout) const { return wait_until(detail::Deadline{timeout}); }

    /// Waits until `predicate()`, called while the lock is held, gives something true; returns what it gave last.
    template <class Predicate>
    auto wait_for(Predicate predicate) const {
        return wait_for_until(predicate, detail::Deadline::never());
    }
    /// Waits for `timeout` at most, in all; then `predicate()` is asked once more.
    template <class Predicate>
    [[nodiscard]] auto wait_for(Predicate predicate, Timeout timeout) const {
        return wait_for_until(predicate, detail::Deadline{timeout});
    }

    /// Wakes the `count` that have waited longest, or as many as wait. They go on once they get the lock. Throws:
    /// std::invalid_argument for less than zero.
    void notify(std::ptrdiff_t count = 1) const {
        if (count < 0)
            throw std::invalid_argument("plait::multiprocessing::Condition: notify wakes no fewer than none");
        check_owned();
        state_->places.notify(static_cast<std::size_t>(count));
    }
    void notify_all() const {
        check_owned();
        state_->places.notify(SIZE_MAX);
    }

    /// How many wait for a notification. Who begins to wait is counted before the lock is free again. A hint: one that is
    /// killed stays counted until somebody notifies.
    std::size_t waiting() const noexcept { return state_->places.waiting(); }
    /// Whether they are the same condition.
    friend bool operator==(const Condition& a, const Condition& b) noexcept { return a.state_ == b.state_; }

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
    friend struct Codec<Condition>;
    using State = detail::ConditionState;

    Condition(detail::Shared<State> state, std::optional<Lock> lock, std::optional<RLock> rlock) noexcept
        : state_{std::move(state)}, lock_{std::move(lock)}, rlock_{std::move(rlock)} {}

    [[nodiscard]] detail::LockState& lock_state() const noexcept {
        return lock_ ? *lock_->state_ : static_cast<detail::LockState&>(*rlock_->state_);
    }
    void check_owned() const {
        if (!owned())
            throw UsageError("wait and notify need the condition's lock: acquire it first, by std::scoped_lock or so");
    }
    bool wait_until(detail::Deadline deadline) const {
        check_owned();
        return detail::Waiter{*state_, lock_state()}.sleep(deadline);
    }
    template <class Predicate>
    std::decay_t<std::invoke_result_t<Predicate&>> wait_for_until(Predicate& predicate,
                                                                  detail::Deadline deadline) const;

    detail::Shared<State> state_ = detail::Shared<State>::create();
    std::optional<Lock> lock_;  // the one or the other
    std::optional<RLock> rlock_;
};

template <>
struct Codec<Condition> {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const Condition& condition) {
        detail::put_shared(out, condition.state_);
        out.write(condition.lock_, condition.rlock_);
    }
    static Condition decode(Decoder& in) {
        auto state = detail::get_shared<Condition::State>(in);
        auto lock = in.read<std::optional<Lock>>();
        auto rlock = in.read<std::optional<RLock>>();
        if (lock.has_value() == rlock.has_value()) detail::decode_error<Condition>("it has one lock, and only one");
        return {std::move(state), std::move(lock), std::move(rlock)};
    }
};

template <class Predicate>
std::decay_t<std::invoke_result_t<Predicate&>> Condition::wait_for_until(Predicate& predicate,
                                                                         detail::Deadline deadline) const {
    check_owned();
    for (;;) {
        std::decay_t<std::invoke_result_t<Predicate&>> value = predicate();
        if (static_cast<bool>(value)) return value;
        detail::Waiter waiter{*state_, lock_state()};
        // Asks again now and then, for a notification may be lost with one who was killed, and keeps its place meanwhile.
        for (bool told = false; !told;) {
            told = waiter.sleep(detail::next_look(deadline));
            const bool late = deadline.has_passed();
            value = predicate();
            if (static_cast<bool>(value) || late) return value;
        }
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
