// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

template <class T>
class CoroutinePromise;
template <class T>
class CoroutineAwaiter;
template <class T>
class TaskState;

}  // namespace detail

/// What a coroutine function returns: a call that has not begun, to be awaited once or made a task.
///
///     Coroutine<int> twice(int x) {
///         co_await sleep(1s);
///         co_return 2 * x;
///     }
///     int four = co_await twice(2);    // runs in the task that awaits it
///     Task<int> task = create_task(twice(3));
///
/// Python: what calling an `async def` gives. Awaiting or starting it a second time throws UsageError.
/// Lifetime: arguments that were taken by reference live until the call's end. A lambda's captures die with the lambda:
/// `create_task(lambda, args...)` and `run(lambda)` keep it.
/// Threads: may be made on one thread and run on another, not used by two at once.
template <class T = void>
class [[nodiscard("a coroutine that is neither awaited nor made a task never runs")]] Coroutine {
public:
    using value_type = T;
    using promise_type = detail::CoroutinePromise<T>;

    Coroutine(Coroutine&& other) noexcept : handle_{std::exchange(other.handle_, nullptr)} {}
    Coroutine& operator=(Coroutine&& other) noexcept {
        Coroutine taken{std::move(other)};
        std::swap(handle_, taken.handle_);
        return *this;
    }
    ~Coroutine();

    /// Whether it is still to be awaited or started.
    bool valid() const noexcept { return static_cast<bool>(handle_); }

    /// Runs it in the task that awaits it, and gives its result or throws its exception.
    ///
    /// Cancel: reaches the innermost await, and comes back as its CancelledError if nobody stops it there.
    detail::CoroutineAwaiter<T> operator co_await() && { return detail::CoroutineAwaiter<T>{release()}; }
    detail::CoroutineAwaiter<T> operator co_await() & { return std::move(*this).operator co_await(); }

private:
    friend promise_type;
    template <class U>
    friend class detail::TaskState;

    using Handle = std::coroutine_handle<promise_type>;
    explicit Coroutine(Handle handle) noexcept : handle_{handle} {}
    Handle release() {
        if (!handle_) [[unlikely]]
            throw UsageError("this Coroutine was awaited or started before: call the coroutine function again");
        return std::exchange(handle_, nullptr);
    }

    Handle handle_;
};

namespace detail {

class PromiseBase;

/// One coroutine waiting for another: lies in the frame of the one that waits.
struct AwaitLink {
    std::coroutine_handle<> child;
    PromiseBase* parent = nullptr;

    explicit AwaitLink(std::coroutine_handle<> awaited) noexcept : child{awaited} {}
    AwaitLink(const AwaitLink&) = delete;
    AwaitLink& operator=(const AwaitLink&) = delete;
    ~AwaitLink() {
        if (child) child.destroy();
    }
};

/// The end of a coroutine: whoever waits for it is next.
struct FinalAwaiter {
    FinalAwaiter() noexcept {}
    static bool await_ready() noexcept { return false; }
    template <class P>
    static void await_suspend(std::coroutine_handle<P> ended) noexcept {
        running().next = ended.promise().continuation;
    }
    static void await_resume() noexcept {}
};

class PromiseBase : public FrameAllocated {
public:
    PromiseBase() noexcept = default;
    PromiseBase(const PromiseBase&) = delete;
    PromiseBase& operator=(const PromiseBase&) = delete;

    std::suspend_always initial_suspend() const noexcept { return {}; }
    FinalAwaiter final_suspend() const noexcept { return FinalAwaiter{}; }

    template <class A>
        requires Awaitable<A>
    A&& await_transform(A&& awaitable) noexcept {
        return static_cast<A&&>(awaitable);
    }
    template <class A>
        requires(!Awaitable<A>)
    std::suspend_never await_transform(A&&) noexcept {
        static_assert(Awaitable<A>,
                      "plait: a Coroutine can await coroutines, tasks, futures and what this library offers; wrap "
                      "anything else in a plait::Promise and await its future");
        return {};
    }

    /// Who waits for this coroutine, and where; null for the outermost of a task, and before it starts.
    std::coroutine_handle<> continuation;
    AwaitLink* link = nullptr;
};

template <class T>
class CoroutinePromise final : public PromiseBase {
public:
    Coroutine<T> get_return_object() noexcept {
        return Coroutine<T>{std::coroutine_handle<CoroutinePromise>::from_promise(*this)};
    }
    template <class U = T>
        requires(std::is_convertible_v<U &&, T> || std::is_constructible_v<T, U &&>)
    void return_value(U&& value) {
        outcome.set_value(std::forward<U>(value));
    }
    void unhandled_exception() noexcept { outcome.set_exception(std::current_exception()); }

    Outcome<T> outcome;
};

template <>
class CoroutinePromise<void> final : public PromiseBase {
public:
    Coroutine<void> get_return_object() noexcept {
        return Coroutine<void>{std::coroutine_handle<CoroutinePromise>::from_promise(*this)};
    }
    void return_void() { outcome.set_value(); }
    void unhandled_exception() noexcept { outcome.set_exception(std::current_exception()); }

    Outcome<void> outcome;
};

template <class T>
class CoroutineAwaiter : public AwaiterBase, private AwaitLink {
public:
    explicit CoroutineAwaiter(std::coroutine_handle<CoroutinePromise<T>> awaited) noexcept : AwaitLink{awaited} {}

    static bool await_ready() noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> waiting) noexcept {
        parent = &waiting.promise();
        promise().continuation = waiting;
        promise().link = this;
        running().next = child;
    }
    T await_resume() { return std::move(promise().outcome).value(); }

private:
    CoroutinePromise<T>& promise() const noexcept {
        return std::coroutine_handle<CoroutinePromise<T>>::from_address(child.address()).promise();
    }
};

/// Destroys coroutines that never began, also where each is an argument of the next, a hundred thousand deep: those
/// below a certain depth wait until the stack is flatter.
class Unstarted {
public:
    static void destroy(std::coroutine_handle<> handle) noexcept {
        Unstarted& self = state();
        if (self.depth_ == deepest && self.defer(handle)) return;
        ++self.depth_;
        handle.destroy();
        while (self.depth_ == deepest && self.first_ != nullptr) {
            Deferred* const deferred = std::exchange(self.first_, self.first_->next);
            const std::coroutine_handle<> next = deferred->handle;
            delete deferred;
            next.destroy();
        }
        --self.depth_;
    }

private:
    struct Deferred : FrameAllocated {
        Deferred(std::coroutine_handle<> frame, Deferred* following) noexcept : handle{frame}, next{following} {}
        std::coroutine_handle<> handle;
        Deferred* next;
    };
    static constexpr int deepest = 64;

    static Unstarted& state() noexcept {
        static constinit thread_local Unstarted unstarted{};
        return unstarted;
    }
    bool defer(std::coroutine_handle<> handle) noexcept {
        try {
            first_ = new Deferred{handle, first_};
            return true;
        } catch (...) {
            return false;  // no memory: the stack will have to do
        }
    }

    int depth_ = 0;
    Deferred* first_ = nullptr;
};

}  // namespace detail

template <class T>
Coroutine<T>::~Coroutine() {
    if (handle_) [[unlikely]]
        detail::Unstarted::destroy(handle_);
}

}  // namespace plait::inline PLAIT_ABI::asyncio

namespace plait::inline PLAIT_ABI {

namespace aio = asyncio;

}  // namespace plait::inline PLAIT_ABI
