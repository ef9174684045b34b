// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/own_cancel.hpp>
#include <plait/asyncio/detail/stragglers.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/detail/waiter.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/exception_group.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// The children of one task group, and what they and the body have come to. It lives in the task that runs the body.
class TaskGroupState : private Waiter, private CancelRelay, private ReadyNode {
public:
    TaskGroupState() : loop_{get_running_loop()}, stragglers_{loop_} {}
    ~TaskGroupState();

    /// Throws UsageError where the group takes no more children.
    void check_open() const;
    /// Calls `make_task(loop)`, whose task is a child from then on.
    template <class MakeTask>
    auto add(MakeTask make_task);

    void set_body_error(std::exception_ptr error) noexcept { body_error_ = std::move(error); }
    void set_body_cancellation(std::exception_ptr error) noexcept { body_cancellation_ = std::move(error); }
    void end_body();
    /// Awaited until it is so; that throws nothing.
    [[nodiscard]] bool joined() const noexcept { return first_child_ == nullptr && !abort_queued_; }
    /// All have ended: throws what that came to, if not well.
    void throw_errors();

    AwaiterReference<TaskGroupState> operator co_await() noexcept { return AwaiterReference<TaskGroupState>{*this}; }
    [[nodiscard]] bool await_ready() const noexcept { return joined(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        waiting_ = true;
        task().suspend(handle, this);
    }
    void await_resume() noexcept;

private:
    // A child that has not ended, then one that failed: so there is a place for each error, whatever memory is left.
    struct Child final : DoneLink, FrameAllocated {
        explicit Child(TaskGroupState& parent) noexcept : group{parent} {}
        void on_done() noexcept override { group.on_end(*this); }
        void on_abandoned() noexcept override {
            group.unlink(*this);
            delete this;
        }
        [[nodiscard]] const TaskBase* waiting_task() const noexcept override {
            return group.waiting_ ? &group.task() : nullptr;
        }

        TaskGroupState& group;
        TaskBase* task = nullptr;
        Child* following = nullptr;
        Child* preceding = nullptr;
        std::exception_ptr error;
    };

    [[nodiscard]] TaskBase& task() const noexcept { return request_.task(); }
    void link(Child& child) noexcept;
    void unlink(Child& child) noexcept;
    void on_end(Child& child) noexcept;
    void wake_if_joined() noexcept;
    void abort() noexcept;
    void on_turn() noexcept override;
    void cancel_each() noexcept override;
    bool cancel_wait() noexcept override;
    std::vector<std::exception_ptr> take_errors();

    EventLoop& loop_;
    OwnCancel request_;  // for the body, when a child has failed
    bool body_ended_ = false;
    bool abort_queued_ = false;
    bool aborted_ = false;    // all have been asked to end
    bool waiting_ = false;    // for the children
    bool cancelled_ = false;  // by others, while it waited
    std::exception_ptr body_error_;
    std::exception_ptr body_cancellation_;
    Child* first_child_ = nullptr;
    Child* last_child_ = nullptr;
    Child* first_failed_ = nullptr;
    Child* last_failed_ = nullptr;
    Stragglers stragglers_;
};

inline TaskGroupState::~TaskGroupState() {
    const auto report = [&](const std::exception_ptr& error) {
        LoopAccess::core(loop_).report("a task group was destroyed before it could throw", error, nullptr);
    };
    if (body_error_) report(body_error_);
    while (first_failed_ != nullptr) {
        const std::unique_ptr<Child> child{std::exchange(first_failed_, first_failed_->following)};
        report(child->error);
    }
    while (first_child_ != nullptr) delete std::exchange(first_child_, first_child_->following);
}

inline void TaskGroupState::check_open() const {
    if (running_loop() != &LoopAccess::core(loop_))
        throw UsageError(
            "TaskGroup::create_task: the group belongs to another event loop, or to one that does not run");
    if (aborted_)
        throw UsageError("TaskGroup::create_task: the group failed or was cancelled, and takes no more tasks");
    if (body_ended_ && joined())
        throw UsageError("TaskGroup::create_task: the group has ended; create tasks while its body or a child runs");
}

template <class MakeTask>
auto TaskGroupState::add(MakeTask make_task) {
    // First, for it may throw: there must be no task that is not in the group.
    auto child = std::make_unique<Child>(*this);
    auto made = make_task(loop_);
    child->task = &TaskAccess::state(static_cast<const AnyTask&>(made));
    Child& linked = *child.release();
    link(linked);
    // One that starts at once may have ended by now, and with it the group's good days.
    if (linked.task->done()) {
        on_end(linked);
    } else {
        linked.task->add_done_link(linked);
        if (aborted_) linked.task->cancel({});
    }
    return made;
}

inline void TaskGroupState::link(Child& child) noexcept {
    child.preceding = last_child_;
    (last_child_ != nullptr ? last_child_->following : first_child_) = &child;
    last_child_ = &child;
}

inline void TaskGroupState::unlink(Child& child) noexcept {
    (child.preceding != nullptr ? child.preceding->following : first_child_) = child.following;
    (child.following != nullptr ? child.following->preceding : last_child_) = child.preceding;
    child.following = nullptr;
}

inline void TaskGroupState::on_end(Child& child) noexcept {
    unlink(child);
    if (child.task->status() == TaskBase::Status::error) {
        child.task->mark_retrieved();
        child.error = child.task->exception();
        (first_failed_ != nullptr ? last_failed_->following : first_failed_) = &child;
        last_failed_ = &child;
        // In the next pass, so that others that fail in this one, by themselves, are heard too.
        if (!aborted_ && !(body_ended_ && first_child_ == nullptr) && !std::exchange(abort_queued_, true))
            LoopAccess::core(loop_).ready.push(*this);
    } else {
        delete &child;
    }
    wake_if_joined();
}

inline void TaskGroupState::on_turn() noexcept {
    abort_queued_ = false;
    if (!aborted_) {
        abort();
        if (!body_ended_) request_.make();
    }
    wake_if_joined();
}

inline void TaskGroupState::wake_if_joined() noexcept {
    if (joined() && std::exchange(waiting_, false)) task().wake();
}

inline void TaskGroupState::abort() noexcept {
    if (!std::exchange(aborted_, true)) {
        for (const Child* child = first_child_; child != nullptr; child = child->following)
            stragglers_.add(TaskAccess::any(*child->task));
    }
    relay_cancel(LoopAccess::core(loop_).cancel_course);
}

inline void TaskGroupState::cancel_each() noexcept {
    for (const Child* child = first_child_; child != nullptr; child = child->following) child->task->cancel({});
}

inline bool TaskGroupState::cancel_wait() noexcept {
    // The first request leaves those that a failure cancelled to clean up; a second one is meant.
    const bool again = std::exchange(cancelled_, true);
    if (!aborted_ || again) abort();
    // A child that waits for this very task has sent the request back.
    if (task().cancel_due()) waiting_ = false;
    return waiting_;
}

inline void TaskGroupState::await_resume() noexcept {
    waiting_ = false;
    if (!task().cancel_due()) return;
    // It came when the last child had just ended, or came back from a child: it is thrown at the end.
    task().drop_due_cancel();
    cancelled_ = true;
}

inline void TaskGroupState::end_body() {
    body_ended_ = true;
    request_.take_back();
    // Once: a second request would break off the cleaning up of those that had the first.
    if ((body_error_ || body_cancellation_) && !aborted_) abort();
}

inline std::vector<std::exception_ptr> TaskGroupState::take_errors() {
    std::vector<std::exception_ptr> errors;
    if (body_error_) errors.push_back(body_error_);
    for (const Child* child = first_failed_; child != nullptr; child = child->following)
        // The body may have awaited the child that failed.
        if (child->error != body_error_) errors.push_back(child->error);
    body_error_ = nullptr;
    while (first_failed_ != nullptr) delete std::exchange(first_failed_, first_failed_->following);
    return errors;
}

inline void TaskGroupState::throw_errors() {
    if (body_error_ || first_failed_ != nullptr) {
        const ExceptionGroup errors{"a task group failed", take_errors()};
        // A cancellation that came with them strikes at the next await.
        if ((cancelled_ || body_cancellation_) && request_.others_left()) {
            const std::string message = task().cancel_message();
            task().uncancel();
            task().cancel(message);
        }
        throw errors;
    }
    if (body_cancellation_) std::rethrow_exception(body_cancellation_);
    if (cancelled_) throw CancelledError(task().cancel_message());
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
