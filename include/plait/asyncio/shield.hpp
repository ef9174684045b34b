// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>

#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// Waits for a task, but cancelled it leaves that alone.
template <class T, bool moves>
class ShieldAwaiter final : public TaskAwaiter<T, moves> {
public:
    explicit ShieldAwaiter(Task<T> task) : TaskAwaiter<T, moves>{std::move(task)} {}

private:
    [[nodiscard]] TaskBase* awaited_task() const noexcept override { return nullptr; }
};

/// What `shield` gives.
template <class T>
class [[nodiscard("the task runs on, but nobody waits for it")]] Shield {
public:
    using value_type = T;

    explicit Shield(Task<T> task) noexcept : task_{std::move(task)} {}

    ShieldAwaiter<T, false> operator co_await() const& { return ShieldAwaiter<T, false>{task_}; }
    ShieldAwaiter<T, true> operator co_await() && { return ShieldAwaiter<T, true>{std::move(task_)}; }

private:
    Task<T> task_;
};

struct ShieldFunction {
    /// Waits for a task without passing a cancellation on to it: for what is to be finished once it has begun. A
    /// coroutine becomes a task at once, which the loop keeps to its end.
    ///
    ///     co_await shield(commit(order));
    ///
    /// Python: asyncio.shield. If the task itself is cancelled, that is thrown here. `run` does not wait for what it
    /// shields: it cancels all that is left at its end.
    /// Cancel: ends the wait at once; the task goes on, and an error of it that nobody fetches is reported.
    template <class A>
        requires Awaitable<A>
    auto operator()(A&& awaitable) const {
        return Shield<Awaited<A>>{task_of(get_running_loop(), std::forward<A>(awaitable))};
    }
};

}  // namespace detail

inline constexpr detail::ShieldFunction shield{};

}  // namespace plait::inline PLAIT_ABI::asyncio
