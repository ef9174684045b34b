// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/timeout.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI {

template <class T>
class Promise;

namespace detail {

/// For who needs more of a future than its user does.
struct FutureAccess {
    template <class T>
    static FutureState<T>& state(const Future<T>& future) {
        return future.state();
    }
    template <class T>
    static const void* identity(const Future<T>& future) noexcept {
        return future.state_.get();
    }
};

}  // namespace detail

/// The result, some day, of a call that runs elsewhere: on a pool, in another process, on an event loop.
///
/// Python: concurrent.futures.Future and multiprocessing's AsyncResult. Copies share one result; it can be read any
/// number of times, and `co_await`ed in an event loop.
///
///     Future<int> square = pool.apply_async([](int x) { return x * x; }, 7);
///     std::cout << square.get(1s);
///
/// Order: what the call did is visible to whoever saw the result.
/// Threads: every member from any thread; a callback runs on the thread that finished the call, or at once on the
/// caller's where it has finished.
/// Lifetime: an error that nobody looked at is reported when the last copy goes (`set_unraisable_hook`).
template <class T>
class [[nodiscard("the result, and its error, are lost with the future")]] Future {
    using Stored = detail::Stored<T>;

public:
    using value_type = T;

    /// Names no call; every member but `valid` and comparison throws UsageError.
    Future() noexcept = default;
    Future(const Future& other) noexcept : state_{other.state_} {
        if (state_) state_->add_future();
    }
    Future(Future&& other) noexcept = default;
    Future& operator=(Future other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~Future() {
        if (state_) state_->drop_future();
    }

    bool valid() const noexcept { return static_cast<bool>(state_); }
    /// Whether both name the same call, or none.
    friend bool operator==(const Future& a, const Future& b) noexcept { return a.state_.get() == b.state_.get(); }

    /// Waits for the call's end and gives its value, or throws what it threw; CancelledError where it was cancelled.
    ///
    /// From a name it is a const reference into the shared result, valid while a copy of the future lives; from a
    /// temporary, or by std::move, it is moved out if this is the only copy, and the future names no call any more.
    typename Stored::Reference get() const& { return get(Timeout::never()); }
    T get() && { return std::move(*this).get(Timeout::never()); }
    /// Waits for `timeout` at most. Throws: TimeoutError; the call goes on, and can be waited for again.
    typename Stored::Reference get(Timeout timeout) const&;
    T get(Timeout timeout) &&;

    /// Waits for the call's end without looking at the result.
    void wait() const { static_cast<void>(state().wait(Timeout::never())); }
    /// Returns whether it ended within `timeout`.
    [[nodiscard]] bool wait(Timeout timeout) const { return state().wait(timeout); }

    /// Whether it ended: with a value, an error, or cancelled.
    bool ready() const { return state().ready(); }
    /// Whether it ended with a value. Throws: UsageError before the end.
    bool successful() const;
    bool cancelled() const { return state().cancelled(); }
    /// Waits for the end and gives the exception, a CancelledError where it was cancelled, or null.
    std::exception_ptr exception() const {
        wait();
        return state().exception();
    }

    /// Sees to it that the call does not run; a process pool also ends one that runs, by killing its worker. Returns
    /// whether the result is now a cancellation: false where the call has ended, or runs and cannot be ended.
    bool cancel() {
        static_cast<void>(state());
        const auto kept = state_;  // a callback may destroy this future
        return kept->cancel();
    }

    /// Calls `f(future)` once when the result is there. Callbacks run in the order in which they were added; one that
    /// throws is reported and harms nobody.
    template <class F>
        requires std::is_invocable_v<F&, Future<T>>
    void add_done_callback(F&& f);

private:
    friend class Promise<T>;
    friend struct detail::FutureAccess;
    template <class U>
    friend Future<U> detail::future_of(detail::StatePointer<detail::FutureState<U>> state);

    explicit Future(detail::StatePointer<detail::FutureState<T>> state) noexcept : state_{std::move(state)} {
        state_->add_future();
    }
    detail::FutureState<T>& state() const {
        if (!state_) throw UsageError("this Future names no call: it was default-constructed or moved from");
        return *state_;
    }

    detail::StatePointer<detail::FutureState<T>> state_;
};

/// The giving side of a Future, for calls that no pool makes.
///
///     Promise<int> answer;
///     Future<int> later = answer.future();
///     answer.set_value(42);
///
/// Threads: any, one at a time. A promise that goes unkept leaves BrokenPromiseError.
template <class T>
class Promise {
public:
    Promise() : state_{detail::StatePointer{new detail::FutureState<T>}} {}
    Promise(Promise&&) noexcept = default;
    Promise& operator=(Promise other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~Promise() {
        if (state_) state_->abandon();
    }

    [[nodiscard]] Future<T> future() const {
        static_cast<void>(state());
        return Future<T>{state_};
    }

    /// Claims the call: from now on `cancel` does not succeed. False where the future was cancelled.
    bool set_running() { return state().start(); }
    /// Throws: UsageError where a result is there already. Where the future was cancelled the value is dropped.
    template <class... Args>
    void set_value(Args&&... args) {
        Outcome<T> outcome;
        outcome.set_value(std::forward<Args>(args)...);
        settle(std::move(outcome));
    }
    void set_exception(std::exception_ptr exception) {
        Outcome<T> outcome;
        outcome.set_exception(std::move(exception));
        settle(std::move(outcome));
    }

private:
    [[nodiscard]] detail::FutureState<T>& state() const {
        if (!state_) throw UsageError("this Promise was moved from: use the one that it was moved to");
        return *state_;
    }
    void settle(Outcome<T> outcome) {
        static_cast<void>(state());
        const auto kept = state_;  // who sees the result may destroy this promise
        if (!kept->settle(std::move(outcome)) && !kept->cancel_succeeded())
            throw UsageError("this Promise has been kept: a result can be set once");
    }

    detail::StatePointer<detail::FutureState<T>> state_;
};

template <class T>
typename Future<T>::Stored::Reference Future<T>::get(Timeout timeout) const& {
    state().wait_or_throw(timeout);
    return state().result().value();
}

template <class T>
T Future<T>::get(Timeout timeout) && {
    state().wait_or_throw(timeout);
    constexpr bool is_object = !std::is_reference_v<T> && !std::is_void_v<T>;
    const bool is_sole = state().only_future();
    if constexpr (is_object && !std::is_copy_constructible_v<T>)
        if (!is_sole)
            throw UsageError(
                "this Future's value can only be moved, and others share it: copies of the future, or callbacks that "
                "were added; keep one copy, or read it by reference with get() from a named future");
    const Future last{std::move(*this)};
    auto& outcome = last.state().result();
    if constexpr (is_object) {
        if (is_sole) return std::move(outcome).value();
    }
    if constexpr (!is_object || std::is_copy_constructible_v<T>)
        return outcome.value();
    else
        return std::move(outcome).value();
}

template <class T>
bool Future<T>::successful() const {
    if (!ready()) throw UsageError("Future::successful: the call has not ended; wait for it, or ask ready() first");
    return !state().cancelled() && !state().exception();
}

template <class T>
template <class F>
    requires std::is_invocable_v<F&, Future<T>>
void Future<T>::add_done_callback(F&& f) {
    // One future more than there are, for good: what callbacks may read is not moved out by a `get` beside them.
    state().add_future();
    // The callback holds the bare state: a future would keep it alive through itself.
    state().add_callback([f = std::forward<F>(f), state = &state()]() mutable {
        f(Future<T>{detail::StatePointer<detail::FutureState<T>>::share(state)});
    });
}

namespace detail {

/// For pools: the future of a state that they made.
template <class T>
Future<T> future_of(StatePointer<FutureState<T>> state) {
    return Future<T>{std::move(state)};
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI

template <class T>
struct std::hash<plait::Future<T>> {
    std::size_t operator()(const plait::Future<T>& future) const noexcept {
        return std::hash<const void*>{}(plait::detail::FutureAccess::identity(future));
    }
};
