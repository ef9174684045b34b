// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/report.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::CancelledError;

template <class T = void>
class Task;

/// How a task differs from the ordinary one.
///
///     Task<int> task = create_task(twice(2), {.name = "twice"});
struct TaskOptions {
    /// Other than "Task-1".
    std::string_view name = {};
    /// The first step is taken where the task is made, if its loop runs here, and not in the next pass. (Of many that make
    /// one another, each 65th begins in the next pass.)
    ///
    /// Python: asyncio.eager_task_factory.
    bool eager_start = false;
};

namespace detail {

struct TaskAccess;

}  // namespace detail

/// A task of whatever result: what `current_task` and `all_tasks` give, and what every Task<T> is.
///
/// Copies name the same task. A default-constructed one names none; its members, but `valid` and comparing, throw
/// UsageError.
/// Threads: from its loop's only.
class AnyTask {
public:
    AnyTask() noexcept = default;
    AnyTask(const AnyTask& other) noexcept : state_{other.state_} {
        if (state_ != nullptr) state_->add_owner();
    }
    AnyTask(AnyTask&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    AnyTask& operator=(AnyTask other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~AnyTask() {
        if (state_ != nullptr) state_->drop_owner();
    }

    bool valid() const noexcept { return state_ != nullptr; }
    friend bool operator==(const AnyTask& a, const AnyTask& b) noexcept { return a.state_ == b.state_; }

    /// Asks the task to end: CancelledError is thrown at the `await` where it is, or at its next; one that has not begun
    /// never will. Returns false where it has ended. The task may clean up, and await for it, or carry on.
    ///
    /// Python: Task.cancel(msg). A task that awaits another passes the request on to that.
    bool cancel(const std::string& message = {}) { return state().cancel(message); }
    /// Whether it ended by a CancelledError.
    bool cancelled() const { return state().status() == Status::cancelled; }
    bool done() const { return state().done(); }
    /// The exception that ended it, or null; a CancelledError too. Throws: UsageError before the end.
    std::exception_ptr exception() const;

    /// How many requests to cancel it there were, less those that `uncancel` took back.
    std::uint32_t cancelling() const { return state().cancel_requests(); }
    /// Takes a request back, for code that has dealt with it: with the last, one not yet delivered is dropped. Returns
    /// how many are left.
    std::uint32_t uncancel() { return state().uncancel(); }

    /// "Task-1", unless it was given another.
    std::string name() const { return state().name(); }
    void set_name(std::string name) { state().set_name(std::move(name)); }

protected:
    using Status = detail::TaskBase::Status;
    explicit AnyTask(detail::TaskBase& state) noexcept : state_{&state} { state.add_owner(); }
    detail::TaskBase& state() const {
        if (state_ == nullptr) throw UsageError("this Task names no task: it was default-constructed or moved from");
        return *state_;
    }

private:
    friend class EventLoop;
    friend struct detail::TaskAccess;

    detail::TaskBase* state_ = nullptr;
};

namespace detail {

template <class T, bool moves>
class TaskAwaiter;

/// For the rest of the wing: the state behind a handle, and the handle of a state.
struct TaskAccess {
    static TaskBase& state(const AnyTask& task) { return task.state(); }
    template <class T>
    static TaskState<T>& state(const Task<T>& task) {
        return task.typed_state();
    }
    static AnyTask any(TaskBase& state) noexcept { return AnyTask{state}; }
    template <class T>
    static Task<T> task(TaskState<T>& state) noexcept {
        return Task<T>{state};
    }
};

}  // namespace detail

/// A coroutine that runs on an event loop, side by side with others.
///
///     Task<int> task = create_task(twice(2));     // begins when this coroutine next awaits
///     int four = co_await task;
///     if (task.cancel()) { … }
///
/// Python: asyncio.Task. It can be awaited any number of times, by any number of tasks. The loop keeps it until its end:
/// losing the handle loses no task. An error that nobody looked at is reported when the last handle goes.
/// Threads: from its loop's only.
template <class T>
class Task : public AnyTask {
    using Stored = plait::detail::Stored<T>;

public:
    using value_type = T;

    Task() noexcept = default;

    /// The value, or what the task threw. From a name it is a const reference, valid while a handle of the task lives;
    /// from a temporary that is the only handle it is moved out.
    ///
    /// Throws: UsageError before the end; CancelledError where the task was cancelled.
    typename Stored::Reference result() const&;
    T result() &&;

    /// Calls `f(task)` in the pass after the task's end, or in the next one where it has ended.
    ///
    /// Python: Task.add_done_callback. Callbacks run in the order in which they were added; an exception that leaves one
    /// goes to the loop's exception handler.
    template <class F>
        requires std::is_invocable_v<F&, Task<T>>
    void add_done_callback(F&& f);

    /// Waits for the task's end and gives its result, as `result` does. Returns at once where it has ended.
    ///
    /// Cancel: is passed on to the task, and comes back when that has ended.
    /// Throws: UsageError where it belongs to another loop, or awaits itself.
    detail::TaskAwaiter<T, false> operator co_await() const& { return detail::TaskAwaiter<T, false>{*this}; }
    detail::TaskAwaiter<T, true> operator co_await() && { return detail::TaskAwaiter<T, true>{std::move(*this)}; }

private:
    friend struct detail::TaskAccess;
    explicit Task(detail::TaskState<T>& state) noexcept : AnyTask{state} {}
    detail::TaskState<T>& typed_state() const { return static_cast<detail::TaskState<T>&>(state()); }
};

inline std::exception_ptr AnyTask::exception() const {
    if (!done()) throw UsageError("Task::exception: the task has not ended; await it, or ask done() first");
    state().mark_retrieved();
    return state().exception();
}

namespace detail {

/// The value of a task that has ended: moved out by its only handle, else copied.
template <class T>
T take_result(TaskState<T>& state) {
    state.throw_if_failed();
    if constexpr (std::is_void_v<T> || std::is_reference_v<T>) {
        return state.outcome().value();
    } else {
        if (state.only_owner()) return std::move(state.outcome()).value();
        if constexpr (std::is_copy_constructible_v<T>)
            return state.outcome().value();
        else
            throw UsageError(
                "this Task's value can only be moved, and other handles of the task share it: keep one handle, or "
                "await a named task, which gives a reference");
    }
}

template <class T, bool moves>
class TaskAwaiter : public AwaiterBase, private DoneLink, private Waiter {
public:
    explicit TaskAwaiter(Task<T> task) : task_{std::move(task)} {}

    bool await_ready() const {
        TaskBase& inner = TaskAccess::state(task_);
        if (inner.done()) return true;
        if (&inner == running().task) throw UsageError("a task cannot await itself");
        if (inner.loop() != running().task->loop())
            throw UsageError("this Task belongs to another event loop: use run_coroutine_threadsafe across loops");
        return false;
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        waiting_ = running().task;
        TaskAccess::state(task_).add_done_link(*this);
        waiting_->suspend(handle, this);
    }
    decltype(auto) await_resume() {
        if (waiting_ != nullptr) waiting_->check_cancelled();
        if constexpr (moves)
            return take_result(TaskAccess::state(task_));
        else
            return static_cast<const Task<T>&>(task_).result();
    }

private:
    void on_done() noexcept override { waiting_->wake(); }
    [[nodiscard]] const TaskBase* waiting_task() const noexcept override { return waiting_; }
    bool cancel_wait() noexcept override {
        unlink();
        return false;
    }
    [[nodiscard]] TaskBase* awaited_task() const noexcept override { return &TaskAccess::state(task_); }
    [[nodiscard]] CancelMark* cancel_mark() noexcept override { return &cancel_mark_; }

    Task<T> task_;
    TaskBase* waiting_ = nullptr;
    CancelMark cancel_mark_;
};

/// A callback at a task's end; owns itself.
template <class T, class F>
class DoneCallback final : public ReadyNode, public DoneLink, public FrameAllocated {
public:
    template <class Callable>
    DoneCallback(TaskState<T>& task, Callable&& f) : task_{task}, f_(std::forward<Callable>(f)) {}
    ~DoneCallback() = default;

    void on_done() noexcept override {
        task_.add_owner();
        task_.loop()->ready.push(*this);
    }
    void on_turn() noexcept override {
        LoopCore& loop = *task_.loop();
        // The callback's handle may be the only one, and take the value out.
        Task<T> handle = TaskAccess::task(task_);
        task_.drop_owner();
        try {
            f_(std::move(handle));
        } catch (...) {
            loop.report("an exception left a task's callback");
        }
        delete this;
    }
    void on_drop() noexcept override {
        TaskBase& task = task_;
        delete this;
        task.drop_owner();
    }
    void on_abandoned() noexcept override { delete this; }

private:
    TaskState<T>& task_;
    F f_;
};

}  // namespace detail

template <class T>
typename Task<T>::Stored::Reference Task<T>::result() const& {
    if (!done()) throw UsageError("Task::result: the task has not ended; await it, or ask done() first");
    state().throw_if_failed();
    return typed_state().outcome().value();
}

template <class T>
T Task<T>::result() && {
    if (!done()) throw UsageError("Task::result: the task has not ended; await it, or ask done() first");
    return detail::take_result(typed_state());
}

template <class T>
template <class F>
    requires std::is_invocable_v<F&, Task<T>>
void Task<T>::add_done_callback(F&& f) {
    detail::TaskState<T>& task = typed_state();
    detail::LoopCore* const loop = task.loop();
    if (loop == nullptr) throw UsageError("Task::add_done_callback: the task's event loop is closed");
    auto* const callback = new detail::DoneCallback<T, std::decay_t<F>>(task, std::forward<F>(f));
    if (task.done())
        callback->on_done();
    else
        task.add_done_link(*callback);
}

}  // namespace plait::inline PLAIT_ABI::asyncio
