// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/interrupt.hpp>
#include <plait/asyncio/detail/stragglers.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// Cancels what still runs on `loop`, waits until it has ended, and reports its errors.
inline void cancel_all_tasks(EventLoop& loop) {
    LoopCore& core = LoopAccess::core(loop);
    if (core.fork_mark.is_copy()) return;  // they are the parent's
    const RunningScope scope{loop, LoopAccess::running_flag(loop)};
    Stragglers stragglers{loop};
    std::vector<AnyTask> cancelled;
    bool calls_left = true;
    std::uint32_t seen = 0;
    const auto any_task = [&] { return core.tasks.following != &core.tasks; };
    // And a pass after the last task's end: there the callbacks of its end are called, which may start others.
    while (any_task() || (std::exchange(calls_left, false) && !core.ready.empty())) {
        if (any_task()) calls_left = true;
        // Tasks that others start while they clean up are cancelled too, in their turn.
        const std::uint32_t made = core.tasks_made;
        if (seen != made) {
            for (AnyTask& task : loop.all_tasks()) {
                if (TaskAccess::state(task).number() <= seen) continue;
                task.cancel();
                stragglers.add(task);
                cancelled.push_back(std::move(task));
            }
            seen = made;
        }
        core.run_once();
    }
    core.stopping = false;
    for (const AnyTask& task : cancelled) {
        if (!task.cancelled() && task.exception())
            loop.call_exception_handler(
                {"a task failed after it was cancelled at the end of run", task.exception(), task.name()});
    }
}

struct RunFunction {
    /// Runs a coroutine on a loop of its own, to its end, and gives its value or throws its exception. From a function
    /// and its arguments: both are kept until then, so that a lambda's captures live.
    ///
    ///     int main() { return run(serve()); }
    ///
    /// Python: asyncio.run. Tasks that still run are cancelled and awaited, and their errors go to the exception handler.
    /// Ctrl-C, on the main thread and where the program has not decided otherwise (POSIX): the first cancels the coroutine,
    /// and where that ends by it, KeyboardInterrupt is thrown; the second ends the program at once.
    /// Throws: UsageError where a loop runs on this thread already.
    template <class A>
        requires Awaitable<A>
    Awaited<A> operator()(A&& awaitable, EventLoopOptions options = {}) const {
        check_no_loop();
        EventLoop loop{options};
        auto task = task_of(loop, std::forward<A>(awaitable));
        const Interrupt interrupt{loop, task};
        try {
            LoopAccess::run_until_done(loop, task);
        } catch (...) {
            cancel_all_tasks(loop);
            throw;
        }
        cancel_all_tasks(loop);
        interrupt.throw_if_interrupted();
        return std::move(task).result();
    }
    template <class F, class... Args>
        requires CoroutineFunction<F, Args...>
    auto operator()(F&& function, Args&&... args) const {
        return (*this)(EventLoopOptions{}, std::forward<F>(function), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
        requires CoroutineFunction<F, Args...>
    auto operator()(EventLoopOptions options, F&& function, Args&&... args) const {
        check_no_loop();
        return (*this)(stored_call(std::decay_t<F>(std::forward<F>(function)),
                                   std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)),
                       options);
    }
    template <class F>
        requires CoroutineFunction<F>
    auto operator()(F&& function, EventLoopOptions options) const {
        return (*this)(options, std::forward<F>(function));
    }

private:
    static void check_no_loop() {
        if (running_loop() != nullptr)
            throw UsageError("run: an event loop runs on this thread already; co_await the coroutine instead");
    }
};

}  // namespace detail

inline constexpr detail::RunFunction run{};

}  // namespace plait::inline PLAIT_ABI::asyncio
