// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/ready_queue.hpp>
#include <plait/asyncio/detail/waiter.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

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

    bool cancel(const std::string& message) noexcept;
    [[nodiscard]] std::uint32_t cancel_requests() const noexcept { return cancel_requests_; }
    std::uint32_t uncancel() noexcept {
        if (cancel_requests_ != 0 && --cancel_requests_ == 0) must_cancel_ = false;
        return cancel_requests_;
    }
    /// Whether a request waits to be thrown where the task next resumes.
    [[nodiscard]] bool cancel_due() const noexcept { return must_cancel_; }
    void drop_due_cancel() noexcept { must_cancel_ = false; }
    /// Its request, which was passed on, has come to something else: it is to be thrown at the next await.
    void make_cancel_due() noexcept { must_cancel_ = cancel_requests_ != 0; }
    [[nodiscard]] const std::string& cancel_message() const noexcept;

    // For awaiters, from the running task's await_suspend and await_resume.

    /// The task waits from now on, until `wake`. Without a waiter it cannot be cancelled, only woken.
    template <class P>
    void suspend(std::coroutine_handle<P> handle, Waiter* waiter) noexcept {
        resume_ = handle;
        innermost_ = &handle.promise();
        waiter_ = waiter;
        if (loop_->debug) [[unlikely]]
            extra_->waiting_since = loop_->now();
        if (must_cancel_ && waiter != nullptr) deliver_cancel();
    }
    void wake() noexcept {
        waiter_ = nullptr;
        // While the loop closes, or where a fork's copy was left, nothing has a turn any more: a destructor may let go a
        // lock that a dying task waits for.
        if (loop_ != nullptr && !loop_->closed) [[likely]]
            loop_->ready.push(*this);
    }
    /// Throws CancelledError where one is to be delivered.
    void check_cancelled() {
        if (must_cancel_) throw_cancelled();
    }

    void add_done_link(DoneLink& link) noexcept;

    /// The values of its context variables; null for none.
    [[nodiscard]] const Context& context() const noexcept;
    void set_context(Context context) { extra().context = std::move(context); }

    // For who tells of the tasks.

    /// Where it stands: null before its first suspension, and while it runs.
    [[nodiscard]] const PromiseBase* innermost() const noexcept { return resume_ ? innermost_ : nullptr; }
    [[nodiscard]] bool has_begun() const noexcept { return innermost_ != nullptr; }
    [[nodiscard]] bool waits() const noexcept { return waiter_ != nullptr; }
    /// In debug mode: the loop's time when it was last suspended; else negative.
    [[nodiscard]] Nanoseconds waiting_since() const noexcept { return extra_ ? extra_->waiting_since : -1; }
    /// Calls `visit(task)` for each task that waits for this one's end.
    template <class Visit>
    void each_waiting_task(Visit visit) const {
        for (const DoneLink* link = first_link_; link != nullptr; link = link->next_)
            if (const TaskBase* const task = link->waiting_task()) visit(*task);
    }

    // A new task begins by either.

    void begin_in_next_pass() noexcept { loop_->ready.push(*this); }
    /// In the midst of another's turn.
    inline void begin_at_once() noexcept;

    /// The loop closes: destroys the coroutine where it stands, innermost first.
    void abandon() noexcept;
    /// Tells who waits for its end that it will not come.
    void abandon_links() noexcept;
    void forget_loop() noexcept { loop_ = nullptr; }

    inline void on_turn() noexcept final;
    [[nodiscard]] bool is_task() const noexcept final { return true; }

protected:
    TaskBase(LoopCore& loop, std::coroutine_handle<> root, std::string_view name);
    inline virtual ~TaskBase();

    /// Takes over what the coroutine came to, and tells which it was.
    virtual Status take_outcome() noexcept = 0;
    virtual void set_cancelled(std::exception_ptr exception) noexcept = 0;

    void report_unretrieved(const std::exception_ptr& exception) noexcept;
    [[nodiscard]] bool retrieved() const noexcept { return retrieved_; }
    [[nodiscard]] std::coroutine_handle<> root() const noexcept { return root_; }

private:
    friend class DoneLink;
    // What few tasks have.
    struct Extra {
        std::string name;
        std::string cancel_message;
        Context context;
        Nanoseconds waiting_since = -1;  // in debug mode
    };

    Extra& extra() {
        if (!extra_) extra_ = std::make_unique<Extra>();
        return *extra_;
    }
    [[noreturn]] void throw_cancelled();
    static std::exception_ptr cancellation(const char* message) noexcept;
    void request_cancel(const std::string& message) noexcept;
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
    /// Takes the coroutine, unless it throws.
    TaskState(LoopCore& loop, Coroutine<T>& coroutine, std::string_view name)
        : TaskBase{loop, coroutine.checked(), name} {
        coroutine.release();
    }

    [[nodiscard]] std::exception_ptr exception() const noexcept override { return outcome_.exception(); }
    [[nodiscard]] Outcome<T>& outcome() noexcept { return outcome_; }

private:
    using Handle = std::coroutine_handle<CoroutinePromise<T>>;

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

inline TaskBase::TaskBase(LoopCore& loop, std::coroutine_handle<> root, std::string_view name)
    : number_{loop.tasks_made + 1}, loop_{&loop}, root_{root}, resume_{root} {
    if (const Context& inherited = current_context()) extra().context = inherited;
    if (loop.debug || !name.empty()) extra().name = name;
    // From here on nothing throws.
    ++loop.tasks_made;
    insert_before(loop.tasks);
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

inline bool TaskBase::cancel(const std::string& message) noexcept {
    if (done() || loop_ == nullptr) return false;
    // Down a chain of tasks that wait for one another, to the one at its end: by a loop, however long the chain.
    const std::uint64_t turn = loop_->turns;
    TaskBase* end = this;
    for (;;) {
        end->request_cancel(message);
        TaskBase* const inner = end->waiter_ != nullptr ? end->waiter_->awaited_task() : nullptr;
        if (inner == nullptr) break;
        CancelMark& mark = *end->waiter_->cancel_mark();
        if (mark.turn == turn) {
            if (mark.end == nullptr) break;  // round a ring, which is cut here
            end = mark.end;
            end->request_cancel(message);
            break;
        }
        mark = CancelMark{turn, nullptr};
        end = inner;
    }
    for (TaskBase* task = this; task->waiter_ != nullptr; task = task->waiter_->awaited_task()) {
        CancelMark* const mark = task->waiter_->awaited_task() != nullptr ? task->waiter_->cancel_mark() : nullptr;
        if (mark == nullptr || mark->end != nullptr) break;
        mark->end = end;
    }
    end->must_cancel_ = true;
    if (end->waiter_ != nullptr) end->give_up_wait();
    return true;
}

inline void TaskBase::request_cancel(const std::string& message) noexcept {
    ++cancel_requests_;
    try {
        if (!message.empty() || extra_) extra().cancel_message = message;
    } catch (...) {
        // No memory for the message: the request counts without it.
    }
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
    // Not its waiter meanwhile: passing on may come round in a ring of gathers. Who then asks this task again only leaves
    // the mark, and that cuts the ring. None of this runs code of the user's: tasks are between two states here.
    Waiter* const waiter = std::exchange(waiter_, nullptr);
    must_cancel_ = false;
    if (waiter->cancel_wait() && !must_cancel_) {
        waiter_ = waiter;
    } else {
        must_cancel_ = true;
        wake();
    }
}

inline std::exception_ptr TaskBase::cancellation(const char* message) noexcept {
    try {
        return std::make_exception_ptr(CancelledError(message));
    } catch (...) {
        return std::current_exception();  // no memory for one
    }
}

inline void TaskBase::throw_cancelled() {
    must_cancel_ = false;
    throw CancelledError(cancel_message());
}

inline const Context& TaskBase::context() const noexcept {
    static const Context none;
    return extra_ ? extra_->context : none;
}

inline const Context& current_context() noexcept {
    static const Context none;
    const Running& context = running();
    if (context.task != nullptr) return context.task->context();
    return context.outside != nullptr ? *context.outside : none;
}

inline void set_current_context(Context context) {
    Running& now = running();
    if (now.task != nullptr) return now.task->set_context(std::move(context));
    struct Outside {
        Context context;
        ~Outside() { running().outside = nullptr; }
    };
    static thread_local Outside outside;
    outside.context = std::move(context);
    now.outside = &outside.context;
}

inline void TaskBase::begin_at_once() noexcept {
    const Running around = running();
    if (around.eager_depth == Running::deepest_eager) return begin_in_next_pass();
    running().eager_depth = around.eager_depth + 1;
    on_turn();
    running() = around;
}

inline void TaskBase::on_turn() noexcept {
    Running& context = running();
    context.task = this;
    ++loop_->turns;
    if (must_cancel_ && innermost_ == nullptr) {
        // Cancelled before its first step: the body never runs.
        set_cancelled(cancellation(cancel_message().c_str()));
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
    running().task = nullptr;  // what dies with it, or tells of its error, finds no task that is dying
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
    resume_ = nullptr;  // who looks at the task meanwhile finds no frame
    std::exchange(root_, nullptr).destroy();
}

inline void TaskBase::abandon() noexcept {
    loop_->report("a task was destroyed with its loop before it had ended", nullptr, this);
    // The waiter dies with its frame; destructors of frames around it may still cancel this task.
    waiter_ = nullptr;
    destroy_frames();
    set_cancelled(cancellation("the event loop was closed"));
    status_ = Status::cancelled;
    abandon_links();
    TaskLink::unlink();
    forget_loop();
    drop_owner();
}

inline void LoopCore::leave() noexcept {
    if (closed) return;
    closed = true;
    // What it holds stays as the fork found it: threads that are not here had their hands on it.
    mailbox->leave();
    if (sleeper) sleeper->leave();
    static_cast<void>(executor.release());
    for (TaskLink* const list : {&tasks, &finished})
        while (list->following != list) {
            auto& task = static_cast<TaskBase&>(*list->following);
            task.unlink();
            task.forget_loop();
        }
}

inline void TaskBase::abandon_links() noexcept {
    while (first_link_ != nullptr) {
        DoneLink& link = *first_link_;
        link.unlink();
        link.on_abandoned();
    }
}

inline void LoopCore::report(const char* message, const std::exception_ptr& exception, const TaskBase* task) noexcept {
    try {
        report(ErrorContext{message, exception, task != nullptr ? task->name() : std::string{}});
    } catch (...) {
        plait::detail::report_unraisable(message, exception);  // no memory to say whose it was
    }
}

inline void LoopCore::take_timed_turn(ReadyNode& node) {
    TaskBase* const task = node.is_task() ? static_cast<TaskBase*>(&node) : nullptr;
    if (task != nullptr) task->add_owner();  // so that it still has a name afterwards
    const Clock::time_point begin = Clock::now();
    node.on_turn();
    report_if_slow(begin, task);
    if (task != nullptr) task->drop_owner();
}

inline void LoopCore::report_if_slow(Clock::time_point begin, const TaskBase* task) noexcept {
    const Clock::duration length = Clock::now() - begin;
    if (std::chrono::duration_cast<std::chrono::nanoseconds>(length).count() <= slow_callback_duration) return;
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(length).count();
    try {
        report(ErrorContext{(task != nullptr ? "a task held its loop up for " : "a callback held its loop up for ") +
                                std::to_string(milliseconds) + " ms: co_await to_thread for what blocks or computes",
                            nullptr, task != nullptr ? task->name() : std::string{}});
    } catch (...) {
        report("a turn held its loop up", nullptr, nullptr);
    }
}

inline void TaskBase::report_unretrieved(const std::exception_ptr& exception) noexcept {
    const char* const message = "a task failed and nobody asked for its result";
    if (loop_ != nullptr)
        loop_->report(message, exception, this);
    else
        plait::detail::report_unraisable(message, exception);
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
