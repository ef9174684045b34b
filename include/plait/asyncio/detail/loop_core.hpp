// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/context_values.hpp>
#include <plait/asyncio/detail/mailbox.hpp>
#include <plait/asyncio/detail/ready_queue.hpp>
#include <plait/asyncio/detail/waiter.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>
#include <plait/os/fork_mark.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

class EventLoop;

/// What a loop's exception handler is told: what happened, the exception if there is one, and the task's name if it
/// was a task's.
struct ErrorContext {
    std::string message;
    std::exception_ptr exception = nullptr;
    std::string task = {};
};

namespace detail {

using plait::detail::Nanoseconds;
using plait::detail::TimerNode;
using plait::detail::TimerWheel;

class TaskBase;
class LoopCore;

/// What this thread's loop is doing. `next` is the trampoline: whoever awaits a coroutine or ends one leaves here what
/// is to be resumed, and returns to the loop, so that no chain of coroutines ever grows the stack. (An awaited coroutine is
/// resumed from the await itself, up to some depth: one that ends without a wait costs a call then.)
struct Running {
    static constexpr unsigned deepest = 16;
    static constexpr unsigned deepest_eager = 64;

    std::coroutine_handle<> next = nullptr;
    TaskBase* task = nullptr;
    LoopCore* loop = nullptr;
    const Context* outside = nullptr;  // the context of what is no task, once one was set
    unsigned depth = 0;                // how many coroutines run within the await of another: `deepest` at most
    unsigned eager_depth = 0;          // how many eager tasks begin within the turn of another
};

PLAIT_VISIBLE inline Running& running() noexcept {
    static constinit thread_local Running context{};
    return context;
}

/// The loop that runs on this thread, or null. A fork's copy of one runs nowhere.
[[nodiscard]] inline LoopCore* running_loop() noexcept;

/// A place in one of a loop's lists of tasks; the list itself is a ring through its head.
struct TaskLink {
    TaskLink() noexcept = default;
    TaskLink(const TaskLink&) = delete;
    TaskLink& operator=(const TaskLink&) = delete;

    void insert_before(TaskLink& place) noexcept {
        following = &place;
        preceding = place.preceding;
        preceding->following = this;
        place.preceding = this;
    }
    void unlink() noexcept {
        preceding->following = following;
        following->preceding = preceding;
        preceding = following = this;
    }

    TaskLink* following = this;
    TaskLink* preceding = this;
};

/// What a loop owns besides tasks and must end before them, such as the threads of `to_thread`.
class LoopService {
public:
    LoopService() = default;
    LoopService(const LoopService&) = delete;
    LoopService& operator=(const LoopService&) = delete;
    virtual ~LoopService() = default;
};

/// What a loop does about signals. Their handlers come at any time, in any thread, and only leave word.
class LoopSignals : public LoopService {
public:
    /// Queues what is to be done about those that have come.
    virtual void on_ring() noexcept = 0;
    /// From now on one that comes ends a sleep in the loop's Sleeper.
    virtual void prepare_sleep() noexcept = 0;

    std::atomic<bool> rung{false};  // one has come; set by handlers, taken back by on_ring
};

/// The working parts of an EventLoop, which tasks and awaiters use; it waits for mail and time, and in its Sleeper for handles.
class LoopCore {
public:
    using Clock = std::chrono::steady_clock;
    using ExceptionHandler = plait::detail::MoveOnlyFunction<void(EventLoop&, const ErrorContext&)>;

    explicit LoopCore(EventLoop& owner) : mailbox{std::make_shared<Mailbox>()}, owner_{owner} {}

    [[nodiscard]] Nanoseconds now() const noexcept {
        if (manual_clock) return manual_time_;
        return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
    }
    /// Starts `node`, to fire after `delay`; one that is never is not started at all.
    void start_timer(TimerNode& node, Timeout delay) noexcept {
        if (delay.is_never()) return;
        const Nanoseconds time = now();
        const Nanoseconds length = delay.duration().count();
        if (length < TimerWheel::never - time) timers.add(node, time + length);
    }
    void stop_timer(TimerNode& node) noexcept {
        if (node.is_timed()) timers.remove(node);
    }

    /// Sleeps if there is nothing to do, then does once all that there is to do.
    void run_once();

    [[nodiscard]] EventLoop& owner() const noexcept { return owner_; }
    /// Closes a fork's copy of a loop, of which nothing may be touched.
    inline void leave() noexcept;
    /// Tells the handler, or by default standard error.
    void report(const ErrorContext& context) noexcept;
    inline void report(const char* message, const std::exception_ptr& exception, const TaskBase* task) noexcept;
    void report(const char* message) noexcept { report(message, std::current_exception(), nullptr); }

    ReadyQueue ready;
    TimerWheel timers;
    const std::shared_ptr<Mailbox> mailbox;
    TaskLink tasks;     // those that have not ended
    TaskLink finished;  // those that have, while somebody outside has them
    std::uint32_t tasks_made = 0;
    std::size_t awaited_outside = 0;  // what other threads are to complete: while there is any, a manual clock stands
    std::unique_ptr<LoopService> executor;
    std::unique_ptr<LoopService> handle_callbacks;
    std::unique_ptr<LoopSignals> signal_handlers;
    std::unique_ptr<Sleeper> sleeper;  // once handles are waited for, too: the Reactor
    std::shared_ptr<ExceptionHandler> exception_handler;
    CancelRelay::Course cancel_course;
    std::uint64_t turns = 0;  // how many tasks ever took
    const os::ForkMark fork_mark;
    Nanoseconds slow_callback_duration = 0;  // in debug mode
    bool debug = false;
    bool manual_clock = false;
    bool stopping = false;
    bool closed = false;

private:
    void sleep();
    void sleep_until(plait::detail::Deadline deadline);
    void look_at_handles_now_and_then();
    /// A task may fork, and the copy go on as if it were this: it would take what is the parent's.
    void check_no_copy() const {
        if (fork_mark.is_copy())
            throw UsageError("this event loop was copied by a fork, and runs in the parent alone: make another here");
    }
    // For debug mode: a turn by the clock, which reports one that held up the loop.
    inline void take_timed_turn(ReadyNode& node);
    void report_if_slow(Clock::time_point begin, const TaskBase* task) noexcept;
    void deliver(Mail& mail) noexcept;

    EventLoop& owner_;
    Nanoseconds manual_time_ = 0;
    MailList mail_;                // taken and not yet delivered
    std::uint64_t looked_at_ = 0;  // the turn when handles were last looked at
    unsigned passes_ = 0;          // since then
};

inline void LoopCore::run_once() {
    if (ready.empty() && !stopping && mail_.empty() && !mailbox->has_mail())
        sleep();
    else if (sleeper != nullptr && sleeper->listeners != 0)
        look_at_handles_now_and_then();
    if (signal_handlers != nullptr && signal_handlers->rung.load(std::memory_order_relaxed)) signal_handlers->on_ring();
    if (!timers.empty()) timers.expire(now());
    // The mail's turn comes after what was ready before it: so calls keep the order in which the loop's own thread made
    // them, by whichever door.
    if (mail_.empty() && mailbox->has_mail()) mail_ = mailbox->take();
    if (!debug)
        ready.run_pass([](ReadyNode& node) { node.on_turn(); });
    else
        ready.run_pass([this](ReadyNode& node) { take_timed_turn(node); });
    while (!mail_.empty()) deliver(mail_.pop());
}

inline void LoopCore::deliver(Mail& mail) noexcept {
    const Clock::time_point begin = debug ? Clock::now() : Clock::time_point{};
    try {
        mail.deliver();
    } catch (...) {
        report("an exception left a callback");
    }
    if (debug) report_if_slow(begin, nullptr);
}

inline LoopCore* running_loop() noexcept {
    LoopCore* const loop = running().loop;
    return loop != nullptr && !loop->fork_mark.is_copy() ? loop : nullptr;
}

inline void LoopCore::sleep_until(plait::detail::Deadline deadline) {
    if (signal_handlers != nullptr) {
        signal_handlers->prepare_sleep();
        // Sequentially consistent: a signal that has not seen whom to wake is seen here.
        if (signal_handlers->rung.load(std::memory_order_seq_cst)) return;
    }
    if (sleeper == nullptr) return mailbox->wait(deadline);
    mailbox->wait_in(*sleeper, deadline);
    looked_at_ = turns;
    passes_ = 0;
}

/// While there is always something to do: a look is a system call, much more than a task's turn.
inline void LoopCore::look_at_handles_now_and_then() {
    constexpr std::uint64_t most_turns = 64;
    constexpr unsigned most_passes = 16;
    if (turns - looked_at_ < most_turns && ++passes_ < most_passes) return;
    check_no_copy();
    static_cast<void>(sleeper->sleep(plait::detail::Deadline::at({})));
    looked_at_ = turns;
    passes_ = 0;
}

inline void LoopCore::sleep() {
    using plait::detail::Deadline;
    check_no_copy();
    const Nanoseconds next = timers.next_deadline();
    if (timers.empty() || next == TimerWheel::never) return sleep_until(Deadline::never());
    if (!manual_clock) {
        const auto since_epoch = std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds{next});
        return sleep_until(Deadline::at(Clock::time_point{since_epoch}));
    }
    if (next <= manual_time_) return;
    if (awaited_outside != 0) return sleep_until(Deadline::never());
    if (sleeper != nullptr) {
        // What has come by a handle comes before what time brings.
        if (sleeper->sleep(Deadline::at({}))) return;
    }
    manual_time_ = (std::max)(manual_time_, next);
}

inline void LoopCore::report(const ErrorContext& context) noexcept {
    const char* failure = "the exception handler of an event loop threw";
    try {
        // Kept for the call, in which it may set another.
        const std::shared_ptr<ExceptionHandler> handler = exception_handler;
        if (handler && *handler) return (*handler)(owner_, context);
        failure = "an event loop could not report an error";
        const std::string where = context.task.empty() ? context.message : context.message + " (" + context.task + ")";
        plait::detail::report_unraisable(where, context.exception);
    } catch (...) {
        plait::detail::report_unraisable(failure, std::current_exception());
    }
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::asyncio
