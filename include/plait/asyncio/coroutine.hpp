// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/unstarted.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <source_location>
#include <string>
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
    ~Coroutine() {
        if (handle_) [[unlikely]]
            omit();
    }

    /// Whether it is still to be awaited or started.
    bool valid() const noexcept { return static_cast<bool>(handle_); }
    /// Gives it up, with its arguments: for one that is not to run after all.
    ///
    /// Python: coroutine.close(). The destructor does the same, but in debug mode it reports the omission.
    void close() noexcept;

    /// Runs it in the task that awaits it, and gives its result or throws its exception.
    ///
    /// Cancel: reaches the innermost await, and comes back as its CancelledError if nobody stops it there.
    detail::CoroutineAwaiter<T> operator co_await() && { return detail::CoroutineAwaiter<T>{(checked(), release())}; }
    detail::CoroutineAwaiter<T> operator co_await() & { return std::move(*this).operator co_await(); }

private:
    friend promise_type;
    template <class U>
    friend class detail::TaskState;

    using Handle = std::coroutine_handle<promise_type>;
    explicit Coroutine(Handle handle) noexcept : handle_{handle} {}
    Handle checked() const {
        if (!handle_) [[unlikely]]
            throw UsageError("this Coroutine was awaited or started before: call the coroutine function again");
        return handle_;
    }
    Handle release() noexcept { return std::exchange(handle_, nullptr); }
    void omit() noexcept;

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
    A&& await_transform(A&& awaitable, std::source_location here = std::source_location::current()) noexcept {
        where = here;
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
    /// Its present or last await; before the first, its function.
    std::source_location where;
};

template <class T>
class CoroutinePromise final : public PromiseBase {
    static_assert(std::is_reference_v<T> || alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                  "plait: compilers lay a coroutine's frame out for ordinary alignment; give such a value by "
                  "std::unique_ptr");

public:
    Coroutine<T> get_return_object(std::source_location here = std::source_location::current()) noexcept {
        where = here;
        return Coroutine<T>{std::coroutine_handle<CoroutinePromise>::from_promise(*this)};
    }
    template <class U = T>
        requires(!std::is_reference_v<T> && (std::is_convertible_v<U &&, T> || std::is_constructible_v<T, U &&>))
    void return_value(U&& value) {
        outcome.set_value(std::forward<U>(value));
    }
    // A reference is never bound to what dies here: a temporary, or what would be made of another type.
    template <class U>
        requires(std::is_lvalue_reference_v<T> && std::is_convertible_v<U*, std::remove_reference_t<T>*>)
    void return_value(U& value) noexcept {
        outcome.set_value(static_cast<T>(value));
    }
    void unhandled_exception() noexcept { outcome.set_exception(std::current_exception()); }

    Outcome<T> outcome;
};

template <>
class CoroutinePromise<void> final : public PromiseBase {
public:
    Coroutine<void> get_return_object(std::source_location here = std::source_location::current()) noexcept {
        where = here;
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
    bool await_suspend(std::coroutine_handle<P> waiting) noexcept {
        parent = &waiting.promise();
        promise().link = this;
        Running& context = running();
        if (context.depth == Running::deepest) [[unlikely]] {
            context.next = child;
        } else {
            // Run from here: one that ends without a wait, as most do, costs a call and no way through the loop.
            const unsigned depth = context.depth;
            context.depth = depth + 1;
            child.resume();
            context.depth = depth;
            if (child.done()) return false;
        }
        promise().continuation = waiting;
        return true;
    }
    T await_resume() { return std::move(promise().outcome).value(); }

private:
    CoroutinePromise<T>& promise() const noexcept {
        return std::coroutine_handle<CoroutinePromise<T>>::from_address(child.address()).promise();
    }
};

inline std::string describe(const std::source_location& where) {
    std::string function = where.function_name();
    // What g++ calls a coroutine's body: "void f(f(int)::_Z1fi.Frame*)".
    const std::size_t begin = function.find('(');
    const std::size_t end = function.rfind("::_Z");
    if (begin < end && end != std::string::npos) function = function.substr(begin + 1, end - begin - 1);
    constexpr std::size_t longest = 120;
    if (function.size() > longest) function.replace(longest, std::string::npos, "...");
    return std::string{where.file_name()} + ":" + std::to_string(where.line()) + " (" + function + ")";
}

/// In debug mode tells the loop's exception handler.
inline void report_never_awaited(const PromiseBase& promise) noexcept {
    LoopCore* const loop = running_loop();
    if (loop == nullptr || !loop->debug) return;
    try {
        loop->report(ErrorContext{"a coroutine was never awaited: " + detail::describe(promise.where)});
    } catch (...) {
        loop->report("a coroutine was never awaited");
    }
}

}  // namespace detail

template <class T>
void Coroutine<T>::omit() noexcept {
    detail::report_never_awaited(handle_.promise());
    close();
}

template <class T>
void Coroutine<T>::close() noexcept {
    if (handle_) plait::detail::UnstartedCoroutines::destroy(release());
}

}  // namespace plait::inline PLAIT_ABI::asyncio

namespace plait::inline PLAIT_ABI {

namespace aio = asyncio;

}  // namespace plait::inline PLAIT_ABI
