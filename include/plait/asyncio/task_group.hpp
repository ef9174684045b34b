// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/task_group_state.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/exception_group.hpp>
#include <plait/core/outcome.hpp>

#include <exception>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::ExceptionGroup;

namespace detail {

struct TaskGroupFunction;

}  // namespace detail

/// Tasks that end before the block that started them: what `task_group` hands to its body.
///
///     co_await task_group([&](TaskGroup& group) -> Coroutine<void> {
///         for (const Url& url : urls) group.create_task(download(url, results));
///         co_return;
///     });     // here all have ended
///
/// Python: asyncio.TaskGroup. Children may start others.
/// Threads: from its loop's only.
/// Lifetime: until its last child has ended. Children refer to what lives around the group, not to locals of its body,
/// which may end before them.
class TaskGroup {
public:
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;

    /// Makes a task of the group, as the loop's `create_task` does. Its value is there for whoever keeps the handle; its
    /// error is the group's.
    ///
    /// Throws: UsageError once the group has failed or was cancelled, and once its body and all children have ended; the
    /// coroutine is then destroyed.
    template <class T>
    Task<T> create_task(Coroutine<T>&& coroutine, TaskOptions options = {}) {
        Coroutine<T> taken{std::move(coroutine)};
        try {
            state_.check_open();
        } catch (...) {
            taken.close();
            throw;
        }
        return state_.add([&](EventLoop& loop) { return loop.create_task(std::move(taken), options); });
    }
    template <class F, class... Args>
        requires detail::CoroutineFunction<F, Args...>
    auto create_task(F&& function, Args&&... args) {
        return create_task(TaskOptions{}, std::forward<F>(function), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
        requires detail::CoroutineFunction<F, Args...>
    auto create_task(TaskOptions options, F&& function, Args&&... args) {
        state_.check_open();
        return state_.add([&](EventLoop& loop) {
            return loop.create_task(options, std::forward<F>(function), std::forward<Args>(args)...);
        });
    }
    template <class F>
        requires detail::CoroutineFunction<F>
    auto create_task(F&& function, TaskOptions options) {
        return create_task(options, std::forward<F>(function));
    }
    template <class T>
    Task<T> create_task(Coroutine<T>& coroutine, TaskOptions options = {}) {
        return create_task(std::move(coroutine), options);
    }
    template <class A>
        requires detail::PlainAwaitable<A>
    auto create_task(A&& awaitable, TaskOptions options = {}) {
        state_.check_open();
        return state_.add([&](EventLoop& loop) { return loop.create_task(std::forward<A>(awaitable), options); });
    }

private:
    friend detail::TaskGroupFunction;
    TaskGroup() = default;
    ~TaskGroup() = default;

    detail::TaskGroupState state_;
};

namespace detail {

struct TaskGroupFunction {
    /// Runs `body(group)`, then waits for all the tasks of the group, and gives the body's value. The body is kept until
    /// then, so that its captures live. (For g++ 12 give a body whose captures have destructors a name first: see the
    /// README.)
    ///
    ///     int n = co_await task_group([&](TaskGroup& group) -> Coroutine<int> {
    ///         Task<int> task = group.create_task(late(5));
    ///         group.create_task(work, &results);
    ///         co_return co_await task;
    ///     });
    ///
    /// Python: `async with asyncio.TaskGroup()`. The first failure, of a child or of the body, cancels all the others.
    /// When all have ended an ExceptionGroup is thrown, with the body's error first; cancellations are not among them.
    /// Cancel: cancels the body and all children, waits for their end, then throws. Where one fails meanwhile that is
    /// thrown, and the cancellation at the next await.
    template <class Body>
        requires std::is_invocable_v<std::decay_t<Body>&, TaskGroup&>
    auto operator()(Body&& body) const {
        using Result = std::invoke_result_t<std::decay_t<Body>&, TaskGroup&>;
        static_assert(
            IsCoroutine<Result>::value,
            "plait: the body of a task_group returns a Coroutine; write -> Coroutine<void> after its parameters");
        return grouped<typename Result::value_type>(std::decay_t<Body>(std::forward<Body>(body)));
    }

private:
    template <class T, class Body>
    static Coroutine<T> grouped(Body body) {
        TaskGroup group;
        Outcome<T> outcome;
        try {
            if constexpr (std::is_void_v<T>) {
                co_await body(group);
                outcome.set_value();
            } else {
                outcome.set_value(co_await body(group));
            }
        } catch (const CancelledError&) {
            group.state_.set_body_cancellation(std::current_exception());
        } catch (...) {
            group.state_.set_body_error(std::current_exception());
        }
        group.state_.end_body();
        while (!group.state_.joined()) co_await group.state_;
        group.state_.throw_errors();
        co_return std::move(outcome).value();
    }
};

}  // namespace detail

inline constexpr detail::TaskGroupFunction task_group{};

}  // namespace plait::inline PLAIT_ABI::asyncio
