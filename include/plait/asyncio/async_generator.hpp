// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/unstarted.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

template <class T>
class AsyncGeneratorPromise;
template <class T>
class GeneratorStep;
template <class T>
class NextItem;
template <class T>
class CloseGenerator;

}  // namespace detail

/// A coroutine that awaits like any other, and gives its results one by one.
///
///     AsyncGenerator<int> ticks(int n) {
///         for (int i = 0; i < n; ++i) {
///             co_await sleep(1s);
///             co_yield i;
///         }
///     }
///     auto generator = ticks(3);
///     while (auto tick = co_await generator.next()) use(*tick);
///
/// Python: an async generator. It runs in the task that awaits `next`, and only then. What awaits nothing is a
/// plait::Generator.
/// Lifetime: arguments that were taken by reference, and a lambda's captures, outlive it. Its destructor ends it where it
/// stands: destructors of its locals run, code does not; `aclose` lets it clean up. (Generators that hold one another are
/// destroyed one within the other: thousands deep.) Where a task is in `next` meanwhile,
/// that still gets its item.
/// Threads: from its loop's only.
template <class T>
class [[nodiscard("a generator whose next is not awaited never runs")]] AsyncGenerator {
    static_assert(!std::is_void_v<T> && !std::is_rvalue_reference_v<T>, "plait: an AsyncGenerator gives values or T&");

public:
    using promise_type = detail::AsyncGeneratorPromise<T>;

    AsyncGenerator(AsyncGenerator&& other) noexcept { take(other); }
    AsyncGenerator& operator=(AsyncGenerator&& other) noexcept {
        if (this != &other) {
            destroy();
            take(other);
        }
        return *this;
    }
    ~AsyncGenerator() { destroy(); }

    /// Awaited, runs the body to its next `co_yield`, and gives the item as a std::optional<T>, of a T& as a pointer:
    /// nothing once the body has ended. An exception of the body comes out once, and ends it.
    ///
    /// Cancel: reaches the innermost await of the body.
    /// Lifetime: the generator is not moved before this is awaited.
    /// Throws: UsageError where another `next` or `aclose` is under way.
    detail::NextItem<T> next() noexcept { return detail::NextItem<T>{*this}; }
    /// Awaited, throws GeneratorExit at the `co_yield` where the body stands, and waits for its end; it may await to
    /// clean up. One that has not begun never will; one that has ended stays so.
    ///
    /// Python: aclose. Throws: what the body throws instead; UsageError where it yields, which ends it all the same.
    detail::CloseGenerator<T> aclose() noexcept { return detail::CloseGenerator<T>{*this}; }

private:
    friend promise_type;
    friend class detail::GeneratorStep<T>;
    using Handle = std::coroutine_handle<promise_type>;

    explicit AsyncGenerator(Handle handle) noexcept : handle_{handle} { handle.promise().holder = this; }
    void take(AsyncGenerator& other) noexcept {
        handle_ = std::exchange(other.handle_, nullptr);
        if (handle_) handle_.promise().holder = this;
    }
    void destroy() noexcept;

    Handle handle_;
};

namespace detail {

/// What lies in a generator's frame, which its AsyncGenerator destroys; or, while one is awaited, the step that runs it.
template <class T>
class AsyncGeneratorPromise final : public PromiseBase {
    using Handle = std::coroutine_handle<AsyncGeneratorPromise>;

    class Yield {
    public:
        explicit Yield(AsyncGeneratorPromise& promise) noexcept : promise_{promise} {}
        static bool await_ready() noexcept { return false; }
        void await_suspend(std::coroutine_handle<>) const noexcept { running().next = promise_.continuation; }
        void await_resume() const {
            if (promise_.closing) throw GeneratorExit();
        }

    private:
        AsyncGeneratorPromise& promise_;
    };

public:
    AsyncGeneratorPromise() noexcept = default;
    ~AsyncGeneratorPromise() {
        if (holder != nullptr) holder->handle_ = nullptr;
    }

    AsyncGenerator<T> get_return_object(std::source_location here = std::source_location::current()) noexcept {
        where = here;
        return AsyncGenerator<T>{Handle::from_promise(*this)};
    }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { error = std::current_exception(); }

    template <class U = T>
        requires(!std::is_reference_v<T> && std::is_convertible_v<U, T>)
    Yield yield_value(U&& value) {
        item.emplace(std::forward<U>(value));
        return Yield{*this};
    }
    Yield yield_value(T value) noexcept
        requires std::is_reference_v<T>
    {
        item.emplace(std::addressof(value));
        return Yield{*this};
    }

    std::optional<typename plait::detail::Stored<T>::Type> item;  // on its way to who awaits it
    std::exception_ptr error;                                     // that ended the body
    AsyncGenerator<T>* holder = nullptr;
    bool started = false;
    bool closing = false;
};

/// One step of a generator: from `next` or `aclose` to the following co_yield, or the end.
template <class T>
class GeneratorStep : public AwaiterBase, private AwaitLink {
public:
    template <class P>
    void await_suspend(std::coroutine_handle<P> waiting) noexcept {
        parent = &waiting.promise();
        promise().continuation = waiting;
        promise().link = this;
        promise().started = true;
        // A task that dies in this step destroys the body before the frames around it: by this link, not by the holder.
        child = body_;
        running().next = body_;
    }

protected:
    explicit GeneratorStep(AsyncGenerator<T>& generator) noexcept : AwaitLink{nullptr}, generator_{generator} {}
    ~GeneratorStep() = default;

    [[nodiscard]] AsyncGeneratorPromise<T>& promise() const noexcept { return body_.promise(); }
    /// Whether there is a body to run. Throws: UsageError where that runs already.
    [[nodiscard]] bool has_body() {
        if (!generator_.handle_) return false;
        if (generator_.handle_.promise().link != nullptr)
            throw UsageError("another next or aclose of this AsyncGenerator is under way: await its end first");
        body_ = generator_.handle_;
        return true;
    }
    /// The step is over. True where the body stands at a co_yield; else it is no more, and its exception is thrown.
    bool finish() {
        if (!body_) return false;
        promise().link = nullptr;
        if (body_.done()) {
            const std::exception_ptr error = std::move(promise().error);
            destroy_body();
            if (error) std::rethrow_exception(error);
            return false;
        }
        // Given back to who holds it; if that is gone, the body goes with this step.
        if (promise().holder != nullptr)
            child = nullptr;
        else if constexpr (std::is_reference_v<T>)
            throw UsageError(
                "an AsyncGenerator of references was destroyed while a task was in next: what it gives is gone");
        return true;
    }
    void destroy_body() noexcept {
        child = nullptr;
        // Who holds it may lie in it, as a local.
        if (AsyncGenerator<T>* const holder = std::exchange(promise().holder, nullptr)) holder->handle_ = nullptr;
        if (promise().started)
            body_.destroy();
        else
            plait::detail::UnstartedCoroutines::destroy(body_);
    }

private:
    AsyncGenerator<T>& generator_;  // only until the step begins
    std::coroutine_handle<AsyncGeneratorPromise<T>> body_;
};

template <class T>
class NextItemAwaiter : public GeneratorStep<T> {
    using Item = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, std::optional<T>>;

public:
    explicit NextItemAwaiter(AsyncGenerator<T>& generator) noexcept : GeneratorStep<T>{generator} {}

    [[nodiscard]] bool await_ready() { return !this->has_body(); }
    Item await_resume() {
        if (!this->finish()) return Item{};
        if constexpr (std::is_reference_v<T>) {
            return *this->promise().item;
        } else {
            Item item{std::move(this->promise().item)};
            this->promise().item.reset();
            return item;
        }
    }
};

template <class T>
class CloseGeneratorAwaiter : public GeneratorStep<T> {
public:
    explicit CloseGeneratorAwaiter(AsyncGenerator<T>& generator) noexcept : GeneratorStep<T>{generator} {}

    [[nodiscard]] bool await_ready() {
        if (!this->has_body()) return true;
        began_ = this->promise().started;
        this->promise().closing = true;
        if (!began_) this->destroy_body();
        return !began_;
    }
    void await_resume() {
        if (!began_) return;
        try {
            if (!this->finish()) return;
        } catch (const GeneratorExit&) {
            return;
        }
        this->destroy_body();
        throw UsageError("an AsyncGenerator yielded while it was being closed: let GeneratorExit pass");
    }

private:
    bool began_ = false;
};

/// What `next` and `aclose` give: nothing happens before it is awaited.
template <class T>
class [[nodiscard("it runs only when it is awaited")]] NextItem {
public:
    explicit NextItem(AsyncGenerator<T>& generator) noexcept : generator_{&generator} {}
    NextItemAwaiter<T> operator co_await() const noexcept { return NextItemAwaiter<T>{*generator_}; }

private:
    AsyncGenerator<T>* generator_;
};
template <class T>
class [[nodiscard("it is closed only when this is awaited")]] CloseGenerator {
public:
    explicit CloseGenerator(AsyncGenerator<T>& generator) noexcept : generator_{&generator} {}
    CloseGeneratorAwaiter<T> operator co_await() const noexcept { return CloseGeneratorAwaiter<T>{*generator_}; }

private:
    AsyncGenerator<T>* generator_;
};

}  // namespace detail

template <class T>
void AsyncGenerator<T>::destroy() noexcept {
    if (!handle_) return;
    const Handle handle = std::exchange(handle_, nullptr);
    handle.promise().holder = nullptr;
    if (handle.promise().link != nullptr) return;  // the task that runs it destroys it
    if (handle.promise().started)
        handle.destroy();
    else
        plait::detail::UnstartedCoroutines::destroy(handle);
}

}  // namespace plait::inline PLAIT_ABI::asyncio
