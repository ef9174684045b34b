// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI {

template <class T>
class Future;

namespace asyncio {

/// How an EventLoop differs from the ordinary one; for tests.
struct EventLoopOptions {
    /// The loop's time stands while anything can run, and jumps to the next timer when nothing can. So an hour's timeout
    /// takes no time. It starts at the clock's zero. While a thread, a pool or a
    /// program that is waited for works for the loop, it waits for that; not for what a socket may bring.
    bool manual_clock = false;
    /// Other than 0: tasks that are ready in one pass take turns in an order drawn from this number, the same for the
    /// same number.
    std::uint64_t seed = 0;
    /// Looks closely, for a price: a turn that takes longer than `slow_callback_duration` and a coroutine that is never
    /// awaited are told to the exception handler, and `print_task_tree` tells since when each task waits.
    bool debug = false;
    Timeout slow_callback_duration = std::chrono::milliseconds{100};
};

namespace detail {

struct LoopAccess;

}  // namespace detail

/// Runs tasks and callbacks, one at a time, on the thread that calls it. `run` makes one; make one yourself to embed it.
///
///     EventLoop loop;
///     int four = loop.run_until_complete(twice(2));
///     Handle handle = loop.call_later(1s, [&] { loop.stop(); });
///     loop.run_forever();
///
/// Python: asyncio.EventLoop. An exception that leaves a callback or that nobody fetches goes to the exception handler.
/// Threads: from one only, the one that runs it; `call_soon_threadsafe` from any. Another loop may not run there
/// meanwhile.
/// Lifetime: closing destroys tasks that have not ended, and reports each; their destructors run, their code does not.
class EventLoop {
public:
    using Clock = std::chrono::steady_clock;

    explicit EventLoop(EventLoopOptions options = {}) : core_{*this} {
        core_.manual_clock = options.manual_clock;
        if (options.seed != 0) core_.ready.shuffle(options.seed);
        core_.debug = options.debug;
        core_.slow_callback_duration = options.slow_callback_duration.duration().count();
    }
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    ~EventLoop();

    /// Runs until the awaitable has ended, and gives its value or throws its exception. A coroutine becomes a task.
    ///
    /// Throws: UsageError where the loop was stopped before that, and as `run_forever`.
    template <class A>
        requires Awaitable<A>
    detail::Awaited<A> run_until_complete(A&& awaitable);
    /// Runs until `stop`. Throws: UsageError where this loop is closed, or a loop runs on this thread already.
    void run_forever();
    /// Ends `run_forever` or `run_until_complete` after the present pass; before them, after their first.
    void stop() noexcept { core_.stopping = true; }
    /// Joins the threads of `to_thread`, destroys what has not ended, and lets the loop do nothing more; twice is fine.
    ///
    /// Throws: UsageError while it runs.
    void close();
    bool is_running() const noexcept { return running_.load(std::memory_order_relaxed); }
    bool is_closed() const noexcept { return core_.closed; }

    /// Makes a task, which begins in the next pass, unless the options say otherwise.
    ///
    /// From a function and its arguments: both are kept in the task, so that a lambda's captures live as long as it.
    template <class T>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] Task<T> create_task(
        Coroutine<T>&& coroutine, TaskOptions options = {});
    template <class F, class... Args>
        requires detail::CoroutineFunction<F, Args...>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto create_task(F&& function,
                                                                                                      Args&&... args) {
        return create_task(TaskOptions{}, std::forward<F>(function), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
        requires detail::CoroutineFunction<F, Args...>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto create_task(
        TaskOptions options, F&& function, Args&&... args) {
        return create_task(detail::stored_call(std::decay_t<F>(std::forward<F>(function)),
                                               std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)),
                           options);
    }
    template <class F>
        requires detail::CoroutineFunction<F>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto create_task(
        F&& function, TaskOptions options) {
        return create_task(options, std::forward<F>(function));
    }
    /// Of anything else that can be awaited: `create_task(sleep(1s))`.
    template <class A>
        requires detail::PlainAwaitable<A>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto create_task(
        A&& awaitable, TaskOptions options = {}) {
        return create_task(detail::as_coroutine(std::remove_cvref_t<A>(std::forward<A>(awaitable))), options);
    }
    /// The tasks of this loop that have not ended.
    [[nodiscard]] std::vector<AnyTask> all_tasks();

    /// Calls `f(args...)` in the next pass, after what was scheduled before. Function and arguments are kept until then.
    template <class F, class... Args>
    Handle call_soon(F&& f, Args&&... args);
    /// Calls it when `delay` has passed; timers of one time fire in the order in which they were made.
    template <class F, class... Args>
    Handle call_later(Timeout delay, F&& f, Args&&... args);
    /// Calls it at a time of `time()`'s clock, in the next pass if that has passed.
    template <class F, class... Args>
    Handle call_at(Clock::time_point when, F&& f, Args&&... args);
    /// As `call_soon`, from any thread; wakes the loop if it sleeps. Calls of one thread keep their order.
    ///
    /// Throws: UsageError once the loop is closed.
    template <class F, class... Args>
    void call_soon_threadsafe(F&& f, Args&&... args);

    /// The time on the loop's clock: the steady clock, unless it is a manual one.
    Clock::time_point time() const noexcept {
        return Clock::time_point{std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds{core_.now()})};
    }

    /// Calls `pool.apply_async(f, args...)`: for any pool, and for what is written to take any loop.
    template <class Pool, class F, class... Args>
    auto run_in_executor(Pool& pool, F&& f, Args&&... args) {
        return pool.apply_async(std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// On the threads of `to_thread`. Defined in asyncio/executor.hpp.
    template <class F, class... Args>
    auto run_in_executor(std::nullptr_t, F&& f, Args&&... args)
        -> Future<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>...>>;

    /// Calls `f(args...)` in each pass in which `handle`, a file descriptor, can be read (written) without waiting, has
    /// ended or has failed; until `remove_reader` (`remove_writer`), which tells whether there was one. Another one for
    /// the same handle takes the place of the first. Defined in asyncio/readiness.hpp.
    ///
    /// Throws: std::system_error where nothing can be waited for: it is closed, or a regular file. Remove it before it is
    /// closed.
    template <class F, class... Args>
    void add_reader(int handle, F&& f, Args&&... args);
    template <class F, class... Args>
    void add_writer(int handle, F&& f, Args&&... args);
    bool remove_reader(int handle) noexcept;
    bool remove_writer(int handle) noexcept;

    /// Calls `f(args...)` when the signal `number` has come; once, however often it has come by then. It does nothing else in
    /// this process then, until `remove_signal_handler`, which tells whether there was one, or the loop's end: then it does
    /// again what it did before. One that came and was not told by then is sent anew. A second `f` for it takes the first
    /// one's place. A signal of a fork's copy does there what it did before. Defined in asyncio/signals.hpp.
    ///
    ///     loop.add_signal_handler(SIGTERM, [&] { server.close(); });
    ///
    /// Throws: std::invalid_argument for SIGKILL, SIGSTOP, faults (SIGSEGV and its like), and what is no signal; UsageError
    /// where another loop has it; std::system_error.
    template <class F, class... Args>
    void add_signal_handler(int number, F&& f, Args&&... args);
    bool remove_signal_handler(int number) noexcept;

    /// Calls `handler(loop, context)` for every error that has no caller. Null gives back the default, one line on
    /// standard error. What the handler throws is reported there.
    template <class Handler>
    void set_exception_handler(Handler&& handler) {
        core_.exception_handler = std::make_shared<detail::LoopCore::ExceptionHandler>(std::forward<Handler>(handler));
    }
    void call_exception_handler(const ErrorContext& context) noexcept { core_.report(context); }

private:
    friend struct detail::LoopAccess;

    class StopAtEnd final : public detail::DoneLink {
    public:
        StopAtEnd(const AnyTask& task, EventLoop& loop) : loop_{loop} {
            if (!task.done())
                detail::TaskAccess::state(task).add_done_link(*this);
            else
                loop_.stop();
        }
        void on_done() noexcept override { loop_.stop(); }

    private:
        EventLoop& loop_;
    };

    void check_usable() const;
    void run_until_done(const AnyTask& task);

    detail::LoopCore core_;
    const std::shared_ptr<EventLoop> self_{this, [](EventLoop*) {}};  // for who asks whether it still is
    std::atomic<bool> running_{false};  // written by the running thread; others only want to know that it is not they
};

namespace detail {

/// For the rest of the wing.
struct LoopAccess {
    static LoopCore& core(EventLoop& loop) noexcept { return loop.core_; }
    static std::weak_ptr<EventLoop> self(EventLoop& loop) noexcept { return loop.self_; }
    static void run_until_done(EventLoop& loop, const AnyTask& task) { loop.run_until_done(task); }
    static std::atomic<bool>& running_flag(EventLoop& loop) noexcept { return loop.running_; }
};

/// What `set_event_loop` gave this thread.
inline std::weak_ptr<EventLoop>& assigned_loop() noexcept {
    static thread_local std::weak_ptr<EventLoop> loop;
    return loop;
}

}  // namespace detail

/// The loop that runs on this thread. Throws: UsageError where none does.
///
/// Python: asyncio.get_running_loop.
[[nodiscard]] inline EventLoop& get_running_loop() {
    detail::LoopCore* const loop = detail::running_loop();
    if (loop == nullptr)
        throw UsageError("no event loop runs on this thread: call this from a coroutine or a callback");
    return loop->owner();
}

/// The loop that runs on this thread, else the one that `set_event_loop` gave it. Throws: UsageError where neither is.
///
/// Python: asyncio.get_event_loop, which makes none either any more.
[[nodiscard]] inline EventLoop& get_event_loop() {
    if (detail::LoopCore* const loop = detail::running_loop()) return loop->owner();
    const std::shared_ptr<EventLoop> assigned = detail::assigned_loop().lock();
    if (!assigned)
        throw UsageError("this thread has no event loop: make one and give it to set_event_loop, or use run");
    return *assigned;
}
/// Makes `loop` this thread's, until it is destroyed; null for none.
inline void set_event_loop(EventLoop* loop) {
    detail::assigned_loop() = loop != nullptr ? detail::LoopAccess::self(*loop) : std::weak_ptr<EventLoop>{};
}

/// The task that runs now; one that is not `valid` in a plain callback, and where no loop runs.
[[nodiscard]] inline AnyTask current_task() noexcept {
    detail::TaskBase* const task = detail::running().task;
    return task != nullptr ? detail::TaskAccess::any(*task) : AnyTask{};
}
/// The tasks of the running loop that have not ended.
[[nodiscard]] inline std::vector<AnyTask> all_tasks() { return get_running_loop().all_tasks(); }

namespace detail {

/// Says that this thread runs `loop`, for a scope.
class RunningScope {
public:
    RunningScope(EventLoop& loop, std::atomic<bool>& flag) noexcept : flag_{flag}, around_{running()} {
        running() = Running{.loop = &LoopAccess::core(loop), .outside = around_.outside};
        flag_.store(true, std::memory_order_relaxed);
    }
    RunningScope(const RunningScope&) = delete;
    RunningScope& operator=(const RunningScope&) = delete;
    ~RunningScope() {
        const Context* const outside = running().outside;  // what was set meanwhile stays
        running() = around_;
        running().outside = outside;
        flag_.store(false, std::memory_order_relaxed);
    }

private:
    std::atomic<bool>& flag_;
    const Running around_;  // of the loop that a fork copied in the midst of its run, in the copy
};

/// The task of any awaitable: a task is its own, a coroutine becomes one.
template <class A>
auto task_of(EventLoop& loop, A&& awaitable) {
    if constexpr (IsTask<std::remove_cvref_t<A>>::value) {
        static_cast<void>(TaskAccess::state(static_cast<const AnyTask&>(awaitable)));
        return std::remove_cvref_t<A>(std::forward<A>(awaitable));
    } else if constexpr (IsCoroutine<std::remove_cvref_t<A>>::value) {
        return loop.create_task(std::move(awaitable));
    } else {
        return loop.create_task(as_coroutine(std::remove_cvref_t<A>(std::forward<A>(awaitable))));
    }
}

}  // namespace detail

inline EventLoop::~EventLoop() {
    if (is_running() && !core_.fork_mark.is_copy()) {
        plait::detail::print_error_line("plait: an EventLoop was destroyed from within: it must outlive its run");
        std::terminate();
    }
    close();
}

inline void EventLoop::check_usable() const {
    if (core_.fork_mark.is_copy())
        throw UsageError("this event loop was copied by a fork, and runs in the parent alone: make another here");
    if (detail::running().loop != &core_ && is_running())
        throw UsageError("this event loop runs on another thread: use call_soon_threadsafe from here");
    if (core_.closed) throw UsageError("this event loop is closed: make another");
}

inline void EventLoop::run_forever() {
    if (detail::running_loop() != nullptr)
        throw UsageError("an event loop runs on this thread already: await, or create a task, instead of running");
    check_usable();
    const detail::RunningScope scope{*this, running_};
    do core_.run_once();
    while (!core_.stopping);
    core_.stopping = false;
}

template <class A>
    requires Awaitable<A>
detail::Awaited<A> EventLoop::run_until_complete(A&& awaitable) {
    if (detail::running_loop() != nullptr)
        throw UsageError("an event loop runs on this thread already: await, or create a task, instead of running");
    auto task = detail::task_of(*this, std::forward<A>(awaitable));
    run_until_done(task);
    return std::move(task).result();
}

inline void EventLoop::run_until_done(const AnyTask& task) {
    const detail::TaskBase& state = detail::TaskAccess::state(task);
    if (!state.done() && state.loop() != &core_)
        throw UsageError("this Task belongs to another event loop, which alone can run it");
    {
        const StopAtEnd link{task, *this};
        run_forever();
    }
    if (!task.done()) throw UsageError("the event loop was stopped before the task had ended");
}

inline void EventLoop::close() {
    if (core_.fork_mark.is_copy()) return core_.leave();
    if (is_running()) throw UsageError("EventLoop::close: the loop runs; stop it first");
    if (core_.closed) return;
    core_.closed = true;
    // First whoever waits for this loop hears that nothing comes: a thread that is to be joined may be among them.
    static_cast<void>(core_.mailbox->close());
    core_.ready.clear();
    for (detail::TaskLink* link = core_.tasks.following; link != &core_.tasks; link = link->following)
        static_cast<detail::TaskBase*>(link)->abandon_links();
    // Then the threads: they may use what the tasks' frames hold.
    core_.executor = nullptr;
    // The youngest first: frames refer to those that started them.
    while (core_.tasks.preceding != &core_.tasks) static_cast<detail::TaskBase*>(core_.tasks.preceding)->abandon();
    while (core_.finished.following != &core_.finished) {
        auto& task = static_cast<detail::TaskBase&>(*core_.finished.following);
        task.unlink();
        task.forget_loop();
    }
    core_.handle_callbacks = nullptr;
    if (core_.sleeper) core_.sleeper->close();
    // Only now: one that has come does again what it did before, and may end the program.
    core_.signal_handlers = nullptr;
    // What callables do as they die may still queue something.
    core_.ready.clear();
    core_.timers.clear();
    core_.ready.clear();
    core_.sleeper = nullptr;
}

template <class T>
Task<T> EventLoop::create_task(Coroutine<T>&& coroutine, TaskOptions options) {
    check_usable();
    auto& state = *new detail::TaskState<T>{core_, coroutine, options.name};
    Task<T> task = detail::TaskAccess::task(state);
    if (options.eager_start && detail::running().loop == &core_)
        state.begin_at_once();
    else
        state.begin_in_next_pass();
    return task;
}

inline std::vector<AnyTask> EventLoop::all_tasks() {
    std::vector<AnyTask> tasks;
    for (detail::TaskLink* link = core_.tasks.following; link != &core_.tasks; link = link->following)
        tasks.push_back(detail::TaskAccess::any(static_cast<detail::TaskBase&>(*link)));
    return tasks;
}

template <class F, class... Args>
Handle EventLoop::call_soon(F&& f, Args&&... args) {
    check_usable();
    auto callable = detail::bind_call(std::forward<F>(f), std::forward<Args>(args)...);
    auto* const callback = new detail::Callback<decltype(callable)>{core_, std::move(callable)};
    core_.ready.push(*callback);
    return Handle{*callback};
}

template <class F, class... Args>
Handle EventLoop::call_later(Timeout delay, F&& f, Args&&... args) {
    const detail::Nanoseconds now = core_.now();
    const detail::Nanoseconds length = delay.duration().count();
    const detail::Nanoseconds deadline =
        length < detail::TimerWheel::never - now ? now + length : detail::TimerWheel::never;
    return call_at(Clock::time_point{std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds{deadline})},
                   std::forward<F>(f), std::forward<Args>(args)...);
}

template <class F, class... Args>
Handle EventLoop::call_at(Clock::time_point when, F&& f, Args&&... args) {
    check_usable();
    auto callable = detail::bind_call(std::forward<F>(f), std::forward<Args>(args)...);
    auto* const callback = new detail::Callback<decltype(callable)>{core_, std::move(callable)};
    core_.timers.add(*callback, std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch()).count());
    return Handle{*callback};
}

template <class F, class... Args>
void EventLoop::call_soon_threadsafe(F&& f, Args&&... args) {
    if (!core_.mailbox->post(detail::bind_call(std::forward<F>(f), std::forward<Args>(args)...)))
        throw UsageError("this event loop is closed: nothing can be called on it any more");
}

}  // namespace asyncio
}  // namespace plait::inline PLAIT_ABI
