// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>

#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// create_task, as an object: so that a function of that name in the arguments' namespace is not called instead.
struct CreateTask {
    /// Makes a task of the running loop, which begins when the present one next waits. `create_task(f, args...)` keeps
    /// the function and its arguments in the task: the safe form for a lambda with captures. (For g++ 12 give a lambda
    /// whose captures have destructors a name first, in a line without `co_await`: see the README.)
    ///
    /// Python: asyncio.create_task. Throws: UsageError where no loop runs.
    template <class T>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] Task<T> operator()(
        Coroutine<T>&& coroutine, TaskOptions options = {}) const {
        return get_running_loop().create_task(std::move(coroutine), options);
    }
    template <class T>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] Task<T> operator()(
        Coroutine<T>& coroutine, TaskOptions options = {}) const {
        return (*this)(std::move(coroutine), options);
    }
    template <class F, class... Args>
        requires CoroutineFunction<F, Args...>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto operator()(
        F&& function, Args&&... args) const {
        return get_running_loop().create_task(std::forward<F>(function), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
        requires CoroutineFunction<F, Args...>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto operator()(
        TaskOptions options, F&& function, Args&&... args) const {
        return get_running_loop().create_task(options, std::forward<F>(function), std::forward<Args>(args)...);
    }
    template <class F>
        requires CoroutineFunction<F>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto operator()(
        F&& function, TaskOptions options) const {
        return get_running_loop().create_task(options, std::forward<F>(function));
    }
    template <class A>
        requires PlainAwaitable<A>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto operator()(
        A&& awaitable, TaskOptions options = {}) const {
        return get_running_loop().create_task(std::forward<A>(awaitable), options);
    }
};

struct EnsureFuture {
    /// A task as it is; a coroutine, or anything that can be awaited, as a task of the running loop.
    ///
    /// Python: asyncio.ensure_future. Throws: UsageError where no loop runs.
    template <class A>
        requires Awaitable<A>
    [[nodiscard("the task runs on, but its result and its errors are lost to you")]] auto operator()(
        A&& awaitable) const {
        return task_of(get_running_loop(), std::forward<A>(awaitable));
    }
};

}  // namespace detail

inline constexpr detail::CreateTask create_task{};
inline constexpr detail::EnsureFuture ensure_future{};

}  // namespace plait::inline PLAIT_ABI::asyncio
