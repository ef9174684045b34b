// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/thread_executor.hpp>
#include <plait/asyncio/future.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/stop_token.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

struct ToThreadOptions {
    /// A cancelled await returns at once, though the function still runs; what comes of it is dropped.
    bool abandon = false;
};

namespace detail {

/// Waits for a function on a thread: awaited until it is `over`. A cancellation asks the function to stop, and the wait
/// goes on: both in the task's own turn, for that calls what the user hangs on a StopToken.
template <class T>
class ThreadCallWait : private OutsideWaiter {
public:
    ThreadCallWait(Future<T> future, StopSource stop, bool abandon) noexcept
        : future_{std::move(future)}, stop_{std::move(stop)}, abandon_{abandon} {}

    [[nodiscard]] bool over() const { return given_up_ || future_.ready(); }
    AwaiterReference<ThreadCallWait> operator co_await() noexcept { return AwaiterReference<ThreadCallWait>{*this}; }
    [[nodiscard]] bool await_ready() const { return over(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) {
        wait_for_end(future_, handle);
    }
    void await_resume() {
        if (task() == nullptr || !task()->cancel_due()) return;
        task()->drop_due_cancel();
        cancelled_ = true;
        static_cast<void>(stop_.request_stop());
        if (future_.cancel() || abandon_) given_up_ = true;
    }
    /// Once it is over.
    T result() {
        if (given_up_ || (cancelled_ && !future_.exception())) throw CancelledError(task()->cancel_message());
        return std::move(future_).get();
    }

private:
    bool cancel_wait() noexcept override {
        give_up();
        return false;
    }

    Future<T> future_;
    StopSource stop_;
    bool abandon_;
    bool cancelled_ = false;
    bool given_up_ = false;
};

struct ToThreadFunction {
    /// Calls `f(args...)` on a thread, and gives its result or throws its exception; the loop goes on meanwhile. Where
    /// `f` takes a StopToken first, it is given one.
    ///
    ///     std::string text = co_await to_thread(read_file, path);
    ///     co_await to_thread({.abandon = true}, resolve, name);
    ///
    /// Python: asyncio.to_thread, whose await, cancelled, leaves the thread to itself: as here with `abandon`. The loop has up to min(32, processors + 4) threads for it; further calls queue.
    /// Cancel: a call that queues is dropped. One that runs is asked to stop by its token, and its end is waited for; an
    /// error that it ends with is thrown, else CancelledError.
    template <class F, class... Args>
        requires(!std::is_same_v<std::decay_t<F>, ToThreadOptions>)
    auto operator()(F&& f, Args&&... args) const {
        return (*this)(ToThreadOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
    auto operator()(ToThreadOptions options, F&& f, Args&&... args) const {
        return call(options, std::decay_t<F>(std::forward<F>(f)),
                    std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...));
    }

private:
    template <class F, class... Args>
    static auto call(ToThreadOptions options, F f, std::tuple<Args...> args)
        -> Coroutine<typename ThreadCallResult<F, Args...>::Type> {
        using Result = typename ThreadCallResult<F, Args...>::Type;
        ThreadExecutor& executor = ThreadExecutor::of(LoopAccess::core(get_running_loop()));
        StopSource stop;
        auto future = executor.submit(stop, std::move(f), std::move(args));
        ThreadCallWait<Result> wait{std::move(future), std::move(stop), options.abandon};
        while (!wait.over()) co_await wait;
        co_return wait.result();
    }
};

}  // namespace detail

inline constexpr detail::ToThreadFunction to_thread{};

template <class F, class... Args>
auto EventLoop::run_in_executor(std::nullptr_t, F&& f, Args&&... args)
    -> Future<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>...>> {
    check_usable();
    return detail::ThreadExecutor::of(core_).submit(StopSource{}, std::forward<F>(f),
                                                    std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...));
}

}  // namespace plait::inline PLAIT_ABI::asyncio
