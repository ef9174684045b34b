// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <new>

namespace plait::inline PLAIT_ABI::asyncio::detail {

class WaitList;

/// A task's place in a WaitList; lies in the awaiter, and leaves the list in its destructor.
class WaitPlace : private TaskLink {
public:
    WaitPlace() noexcept {}
    WaitPlace(const WaitPlace&) = delete;
    WaitPlace& operator=(const WaitPlace&) = delete;
    ~WaitPlace() { leave(); }

    [[nodiscard]] bool waiting() const noexcept { return state_ == State::waiting; }
    /// Whether it has been given what it waited for, and has not taken it yet.
    [[nodiscard]] bool given() const noexcept { return state_ == State::given; }
    /// Whether it was let go by `wake_first`.
    [[nodiscard]] bool let_go() const noexcept { return state_ == State::let_go; }
    [[nodiscard]] TaskBase& task() const noexcept { return *task_; }

    inline void leave() noexcept;

    /// For who finds itself neither given anything nor let go: cancelled, or its list is no more.
    [[noreturn]] void throw_cause() const {
        task_->check_cancelled();
        throw UsageError("what this task waited for was destroyed: it must outlive those who wait for it");
    }

private:
    friend class WaitList;
    enum class State : std::uint8_t { outside, waiting, given, let_go };

    State state_ = State::outside;
    WaitList* list_ = nullptr;  // meaningful while waiting or given
    TaskBase* task_ = nullptr;
};

/// The tasks that wait for something, first come, first served, and those that were given it and have not had their turn.
///
/// Why nothing is lost: what becomes free while somebody waits is never free for anybody to see, but given to the first
/// in the same step, and counts as taken from then on. So nobody can come between, nobody waits for what is free, and
/// a wake is owed to nobody else. From there it goes one of three ways, and the awaiter sees to each: the task has its
/// turn and takes it; or finds itself cancelled, and hands it on before it throws; or its frame is destroyed, and the
/// awaiter's destructor hands it on. Who is cancelled while still waiting leaves the list and had nothing. The object
/// that owns the list may go first, as where a loop closes and frames die in whatever order: its places forget it, and
/// hand on nothing.
class WaitList {
public:
    WaitList() noexcept = default;
    WaitList(const WaitList&) = delete;
    WaitList& operator=(const WaitList&) = delete;
    ~WaitList();

    [[nodiscard]] std::size_t waiting() const noexcept { return count_; }
    /// Whether a task was given what it waited for, and has not had its turn.
    [[nodiscard]] bool has_given() const noexcept { return given_.following != &given_; }

    /// Throws: UsageError where others wait here on another loop than the running task's.
    void check_loop() const {
        const TaskLink* const link = count_ != 0 ? waiting_.following : given_.following;
        if (link == &given_ || place(link)->task().loop() == running().task->loop()) return;
        throw UsageError("tasks of another event loop wait for this already: use one for each loop");
    }

    void append(WaitPlace& place, TaskBase& task) noexcept {
        place.task_ = &task;
        place.list_ = this;
        place.state_ = WaitPlace::State::waiting;
        place.insert_before(waiting_);
        ++count_;
    }
    /// Gives `place`, which waits here, what it waits for; its task has yet to be woken.
    void give(WaitPlace& place) noexcept {
        place.unlink();
        place.state_ = WaitPlace::State::given;
        place.insert_before(given_);
        --count_;
    }
    /// Gives the first one what it waits for, without waking it; null where nobody waits.
    WaitPlace* give_first() noexcept {
        if (count_ == 0) return nullptr;
        WaitPlace* const first = place(waiting_.following);
        give(*first);
        return first;
    }
    /// Lets the first one go: it has nothing that it could hand on, and this object may be gone at its turn. Null where
    /// nobody waits.
    WaitPlace* wake_first() noexcept {
        if (count_ == 0) return nullptr;
        WaitPlace* const first = place(waiting_.following);
        first->leave();
        first->state_ = WaitPlace::State::let_go;
        first->task_->wake();
        return first;
    }

private:
    friend class WaitPlace;
    static WaitPlace* place(TaskLink* link) noexcept { return static_cast<WaitPlace*>(link); }
    static const WaitPlace* place(const TaskLink* link) noexcept { return static_cast<const WaitPlace*>(link); }
    static WaitPlace* forget_first(TaskLink& ring) noexcept {
        WaitPlace* const first = place(ring.following);
        first->unlink();
        first->state_ = WaitPlace::State::outside;
        return first;
    }

    TaskLink waiting_;
    TaskLink given_;
    std::size_t count_ = 0;  // of those waiting
};

inline void WaitPlace::leave() noexcept {
    if (state_ == State::waiting) --list_->count_;
    if (state_ == State::waiting || state_ == State::given) unlink();
    state_ = State::outside;
}

inline WaitList::~WaitList() {
    // Those who were given something are awake, or wait elsewhere by now.
    while (has_given()) forget_first(given_);
    while (waiting_.following != &waiting_) forget_first(waiting_)->task_->wake();
}

/// A place whose task waits for nothing else: it leaves when the task is cancelled.
class ListedWaiter : public WaitPlace, private Waiter {
public:
    template <class P>
    void wait_in(WaitList& list, std::coroutine_handle<P> handle) noexcept {
        TaskBase& waiting = *running().task;
        list.append(*this, waiting);
        waiting.suspend(handle, this);
    }
    /// At the turn of one that had nothing to be given.
    void check_let_go() const {
        task().check_cancelled();
        if (!let_go()) throw_cause();
    }

protected:
    ListedWaiter() noexcept {}
    ~ListedWaiter() = default;

private:
    bool cancel_wait() noexcept override {
        leave();
        return false;
    }
};

class PlainPlace final : public ListedWaiter {
public:
    PlainPlace() noexcept {}
};

/// Waits for what `Owner` hands over: `take_at_once` where it is free, throwing where it must not be waited for;
/// `hand_out` once one has begun to wait; and `hand_on` for what was given and is not wanted.
template <class Owner>
class TurnAwaiter : public AwaiterBase {
public:
    explicit TurnAwaiter(Owner& owner) noexcept : owner_{owner} {}
    TurnAwaiter(const TurnAwaiter&) = delete;
    TurnAwaiter& operator=(const TurnAwaiter&) = delete;
    ~TurnAwaiter() {
        if (waited_) forget();
    }

    [[nodiscard]] bool await_ready() const { return owner_.take_at_once(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        waited_ = true;
        ::new (static_cast<void*>(&place_)) PlainPlace;
        place_.wait_in(owner_.waiters_, handle);
        owner_.hand_out();
    }
    void await_resume() {
        if (waited_) take();
    }

protected:
    [[nodiscard]] Owner& owner() const noexcept { return owner_; }

private:
    void take() {
        if (place_.given() && !place_.task().cancel_due()) return place_.leave();
        hand_on();
        place_.throw_cause();
    }
    void hand_on() noexcept {
        if (!place_.given()) return;
        place_.leave();
        owner_.hand_on();
    }
    void forget() noexcept {
        hand_on();
        place_.~PlainPlace();
    }

    Owner& owner_;
    bool waited_ = false;
    union {
        PlainPlace place_;  // if it had to wait: so what is free costs little more than a flag
    };
};

/// The same, and gives a guard that hands it back.
template <class Owner>
class ScopedAwaiter : public TurnAwaiter<Owner> {
public:
    explicit ScopedAwaiter(Owner& owner) noexcept : TurnAwaiter<Owner>{owner} {}

    [[nodiscard("the lock is released where the guard is dropped")]] auto await_resume() {
        TurnAwaiter<Owner>::await_resume();
        return typename Owner::Guard{this->owner()};
    }
};

/// What `acquire`, `scoped` or `wait` gives: nothing happens before it is awaited.
template <class Awaiter, class Owner>
class [[nodiscard("it waits only when it is awaited")]] Wait {
public:
    explicit Wait(Owner& owner) noexcept : owner_{&owner} {}
    Awaiter operator co_await() const noexcept { return Awaiter{*owner_}; }

private:
    Owner* owner_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
