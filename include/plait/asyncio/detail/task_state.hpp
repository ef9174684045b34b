// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/ready_queue.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// What a suspended task waits for.
class Waiter {
public:
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

    /// The task is asked to end. True where the request was passed on, and will come back by the way of the result;
    /// false where the wait has been given up: the task is to be woken, and throws CancelledError.
    virtual bool cancel_wait() noexcept = 0;
    /// Where the wait is for another task, the one to cancel in its stead.
    [[nodiscard]] virtual TaskBase* awaited_task() const noexcept { return nullptr; }

protected:
    Waiter() = default;
    ~Waiter() = default;
};

/// Who is told of a task's end: once, on its loop, in the order in which they came. Unlinks itself in its destructor.
class DoneLink {
public:
    DoneLink(const DoneLink&) = delete;
    DoneLink& operator=(const DoneLink&) = delete;

    /// The task has ended, and this is no longer linked. May queue work, but runs none of the user's.
    virtual void on_done() noexcept = 0;
    /// Its loop closed before that; it is no longer linked.
    virtual void on_abandoned() noexcept {}

protected:
    DoneLink() = default;
    ~DoneLink() { unlink(); }
    void unlink() noexcept;

private:
    friend class TaskBase;
    TaskBase* task_ = nullptr;  // where it is linked
    DoneLink* next_ = nullptr;
    DoneLink* previous_ = nullptr;
};

/// All of a task but its result: the coroutine that it runs, what that waits for, who waits for it, its owners.
///
/// A task is unstarted, then by turns ready (queued), running, and waiting (`waiter_` is set), and ends by a value, an
/// error or a cancellation. Its owners are handles and, until its end, its loop.
class TaskBase : public ReadyNode, public TaskLink, public FrameAllocated {
public:
    enum class Status : std::uint8_t { pending, value, error, cancelled };

    void add_owner() noexcept { ++owners_; }
    void drop_owner() noexcept {
        if (--owners_ == 0) delete this;
    }
    [[nodiscard]] bool only_owner() const noexcept { return owners_ == 1; }

    [[nodiscard]] Status status() const noexcept { return status_; }
    [[nodiscard]] bool done() const noexcept { return status_ != Status::pending; }
    /// The loop that it belongs to; null once that is destroyed.
    [[nodiscard]] LoopCore* loop() const noexcept { return loop_; }
    [[nodiscard]] virtual std::exception_ptr exception() const noexcept = 0;
    void mark_retrieved() noexcept { retrieved_ = true; }
    /// For the value of a task that has ended: throws where there is none.
    void throw_if_failed();

    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
    [[nodiscard]] std::string name() const;
    void set_name(std::string name) { extra().name = std::move(name); }

    bool cancel(const std::string& message);
    [[nodiscard]] std::uint32_t cancel_requests() const noexcept { return cancel_requests_; }
    void count_cancel_request() noexcept { ++cancel_requests_; }
    std::uint32_t uncancel() noexcept {
        if (cancel_requests_ != 0 && --cancel_requests_ == 0) must_cancel_ = false;
        return cancel_requests_;
    }
    /// Whether a request waits to be thrown where the task next resumes.
    [[nodiscard]] bool cancel_due() const noexcept { return must_cancel_; }
    void drop_due_cancel() noexcept { must_cancel_ = false; }
    [[nodiscard]] const std::string& cancel_message() const noexcept;

    // For awaiters, from the running task's await_suspend and await_resume.

    /// The task waits from now on, until `wake`. Without a waiter it cannot be cancelled, only woken.
    template <class P>
    void suspend(std::coroutine_handle<P> handle, Waiter* waiter) noexcept {
        resume_ = handle;
        innermost_ = &handle.promise();
        waiter_ = waiter;
        if (must_cancel_ && waiter != nullptr) deliver_cancel();
    }
    void wake() noexcept {
        waiter_ = nullptr;
        // While the loop closes nothing has a turn any more: a destructor may let go a lock that a dying task waits for.
        if (!loop_->closed) loop_->ready.push(*this);
    }
    /// Throws CancelledError where one is to be delivered.
    void check_cancelled() {
        if (must_cancel_) throw_cancelled();
    }

    void add_done_link(DoneLink& link) noexcept;

    /// The loop closes: destroys the coroutine where it stands, innermost first.
    void abandon() noexcept;
    /// Tells who waits for its end that it will not come.
    void abandon_links() noexcept;
    void forget_loop() noexcept { loop_ = nullptr; }

    inline void on_turn() noexcept final;
    [[nodiscard]] bool is_task() const noexcept final { return true; }

protected:
    TaskBase(LoopCore& loop, std::coroutine_handle<> root);
    inline virtual ~TaskBase();

    /// Takes over what the coroutine came to, and tells which it was.
    virtual Status take_outcome() noexcept = 0;
    virtual void set_cancelled(std::exception_ptr exception) noexcept = 0;

    void report_unretrieved(const std::exception_ptr& exception) noexcept;
    [[nodiscard]] bool retrieved() const noexcept { return retrieved_; }
    [[nodiscard]] std::coroutine_handle<> root() const noexcept { return root_; }

private:
    friend class DoneLink;
    struct Extra {
        std::string name;
        std::string cancel_message;
    };

    Extra& extra() {
        if (!extra_) extra_ = std::make_unique<Extra>();
        return *extra_;
    }
    [[noreturn]] void throw_cancelled();
    void request_cancel(const std::string& message);
    // For one that waits: asks what it waits for, or makes it give up waiting.
    void deliver_cancel() noexcept;
    void give_up_wait() noexcept;
    void end(Status status) noexcept;
    void destroy_frames() noexcept;

    std::uint32_t owners_ = 1;  // the loop
    std::uint32_t cancel_requests_ = 0;
    Status status_ = Status::pending;
    bool must_cancel_ = false;  // see cancel_due
    bool retrieved_ = false;    // somebody has seen the error
    std::uint32_t number_;      // for its name
    LoopCore* loop_;
    std::coroutine_handle<> root_;      // the outermost coroutine; null after its end
    std::coroutine_handle<> resume_;    // where to go on; null while it runs
    PromiseBase* innermost_ = nullptr;  // of resume_; null before the first suspension
    Waiter* waiter_ = nullptr;
    DoneLink* first_link_ = nullptr;
    DoneLink* last_link_ = nullptr;
    std::unique_ptr<Extra> extra_;
};

template <class T>
class TaskState final : public TaskBase {
public:
    TaskState(LoopCore& loop, Coroutine<T>& coroutine) : TaskState{loop, coroutine.release()} {}

    [[nodiscard]] std::exception_ptr exception() const noexcept override { return outcome_.exception(); }
    [[nodiscard]] Outcome<T>& outcome() noexcept { return outcome_; }

private:
    using Handle = std::coroutine_handle<CoroutinePromise<T>>;

    TaskState(LoopCore& loop, Handle handle) : TaskBase{loop, handle} {}
    ~TaskState() override {
        if (outcome_.has_exception() && !retrieved() && status() == Status::error)
            report_unretrieved(outcome_.exception());
    }
    Status take_outcome() noexcept override {
        try {
            outcome_ = std::move(Handle::from_address(root().address()).promise().outcome);
            if (!outcome_.has_exception()) return Status::value;
            std::rethrow_exception(outcome_.exception());
        } catch (const CancelledError&) {
            return Status::cancelled;
        } catch (...) {
            // Also where moving the value threw.
            if (!outcome_.has_exception()) outcome_.set_exception(std::current_exception());
            return Status::error;
        }
    }
    void set_cancelled(std::exception_ptr exception) noexcept override { outcome_.set_exception(std::move(exception)); }

    Outcome<T> outcome_;
};

inline void DoneLink::unlink() noexcept {
    if (task_ == nullptr) return;
    (previous_ != nullptr ? previous_->next_ : task_->first_link_) = next_;
    (next_ != nullptr ? next_->previous_ : task_->last_link_) = previous_;
    task_ = nullptr;
}

inline TaskBase::TaskBase(LoopCore& loop, std::coroutine_handle<> root)
    : number_{++loop.tasks_made}, loop_{&loop}, root_{root}, resume_{root} {
    insert_before(loop.tasks);
    loop.ready.push(*this);
}

inline TaskBase::~TaskBase() { TaskLink::unlink(); }

inline std::string TaskBase::name() const {
    return extra_ && !extra_->name.empty() ? extra_->name : "Task-" + std::to_string(number_);
}

inline const std::string& TaskBase::cancel_message() const noexcept {
    static const std::string none;
    return extra_ ? extra_->cancel_message : none;
}

inline void TaskBase::throw_if_failed() {
    if (status_ == Status::value) return;
    mark_retrieved();
    std::rethrow_exception(exception());
}

inline void TaskBase::add_done_link(DoneLink& link) noexcept {
    link.task_ = this;
    link.next_ = nullptr;
    link.previous_ = last_link_;
    (last_link_ != nullptr ? last_link_->next_ : first_link_) = &link;
    last_link_ = &link;
}

inline bool TaskBase::cancel(const std::string& message) {
    if (done()) return false;
    // Down a chain of tasks that wait for one another, to the one at its end: by a loop, however long the chain. A ring
    // has no end; it is cut where the walk comes by its mark again.
    TaskBase* task = this;
    TaskBase* mark = this;
    for (std::uint64_t steps = 1, next_mark = 2;; ++steps) {
        task->request_cancel(message);
        TaskBase* const inner = task->waiter_ != nullptr ? task->waiter_->awaited_task() : nullptr;
        if (inner == nullptr || inner == mark) break;
        task = inner;
        if (steps == next_mark) {
            mark = task;
            next_mark *= 2;
        }
    }
    task->must_cancel_ = true;
    if (task->waiter_ != nullptr) task->give_up_wait();
    return true;
}

inline void TaskBase::request_cancel(const std::string& message) {
    ++cancel_requests_;
    if (!message.empty() || extra_) extra().cancel_message = message;
}

inline void TaskBase::deliver_cancel() noexcept {
    if (TaskBase* const inner = waiter_->awaited_task()) {
        must_cancel_ = false;
        inner->cancel(cancel_message());
    } else {
        give_up_wait();
    }
}

inline void TaskBase::give_up_wait() noexcept {
    // Not its waiter meanwhile: giving up may run callbacks of the user's, and passing on may come round in a ring of
    // gathers. Who then asks this task again only leaves the mark; where the request was passed on, that cuts the ring.
    Waiter* const waiter = std::exchange(waiter_, nullptr);
    must_cancel_ = false;
    if (waiter->cancel_wait() && !must_cancel_) {
        waiter_ = waiter;
    } else {
        must_cancel_ = true;
        wake();
    }
}

inline void TaskBase::throw_cancelled() {
    must_cancel_ = false;
    throw CancelledError(cancel_message());
}

inline void TaskBase::on_turn() noexcept {
    Running& context = running();
    context.task = this;
    if (must_cancel_ && innermost_ == nullptr) {
        // Cancelled before its first step: the body never runs.
        set_cancelled(std::make_exception_ptr(CancelledError(cancel_message())));
        end(Status::cancelled);
    } else {
        std::coroutine_handle<> next = std::exchange(resume_, nullptr);
        do {
            next.resume();
            next = std::exchange(context.next, nullptr);
        } while (next);
        if (!resume_) end(take_outcome());
    }
    context.task = nullptr;
}

inline void TaskBase::end(Status status) noexcept {
    std::exchange(root_, nullptr).destroy();
    status_ = status;
    must_cancel_ = false;
    while (first_link_ != nullptr) {
        DoneLink& link = *first_link_;
        link.unlink();
        link.on_done();
    }
    TaskLink::unlink();
    if (owners_ > 1) insert_before(loop_->finished);
    drop_owner();
}

inline void TaskBase::destroy_frames() noexcept {
    // From the innermost outwards, and one after the other: a frame may refer to those around it, and a chain of them
    // may be far too long for destructors that call one another.
    while (innermost_ != nullptr) {
        AwaitLink* const link = innermost_->link;
        if (link == nullptr) break;
        PromiseBase* const parent = link->parent;
        std::exchange(link->child, nullptr).destroy();
        innermost_ = parent;
    }
    std::exchange(root_, nullptr).destroy();
}

inline void TaskBase::abandon() noexcept {
    loop_->report(ErrorContext{"a task was destroyed with its loop before it had ended", nullptr, name()});
    // The waiter dies with its frame; destructors of frames around it may still cancel this task.
    waiter_ = nullptr;
    destroy_frames();
    set_cancelled(std::make_exception_ptr(CancelledError("the event loop was closed")));
    status_ = Status::cancelled;
    abandon_links();
    TaskLink::unlink();
    forget_loop();
    drop_owner();
}

inline void TaskBase::abandon_links() noexcept {
    while (first_link_ != nullptr) {
        DoneLink& link = *first_link_;
        link.unlink();
        link.on_abandoned();
    }
}

inline void TaskBase::report_unretrieved(const std::exception_ptr& exception) noexcept {
    const char* const message = "a task failed and nobody asked for its result";
    if (loop_ != nullptr)
        loop_->report(ErrorContext{message, exception, name()});
    else
        plait::detail::report_unraisable(message, exception);
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
