// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// What every awaiter of this library derives from: it resumes by way of the loop, which a foreign one would not.
struct AwaiterBase {
    AwaiterBase() noexcept {}
};

/// Awaits an object that stays where it is and has the three functions of an awaiter. (The object itself would do, but
/// g++ 12 copies an awaiter that is an lvalue and has come through await_transform.)
template <class A>
class AwaiterReference : public AwaiterBase {
public:
    explicit AwaiterReference(A& awaiter) noexcept : awaiter_{awaiter} {}

    [[nodiscard]] bool await_ready() const { return awaiter_.await_ready(); }
    template <class Handle>
    void await_suspend(Handle handle) {
        awaiter_.await_suspend(handle);
    }
    decltype(auto) await_resume() { return awaiter_.await_resume(); }

private:
    A& awaiter_;
};

/// The awaiter that `co_await awaitable` makes, as the language finds it.
template <class A>
decltype(auto) get_awaiter(A&& awaitable) {
    if constexpr (requires { std::forward<A>(awaitable).operator co_await(); })
        return std::forward<A>(awaitable).operator co_await();
    else if constexpr (requires { operator co_await(std::forward<A>(awaitable)); })
        return operator co_await(std::forward<A>(awaitable));
    else
        return std::forward<A>(awaitable);
}

template <class A>
using AwaiterOf = decltype(detail::get_awaiter(std::declval<A>()));

}  // namespace detail

/// What a Coroutine can `co_await`: coroutines, tasks, plait::Future, and what the functions of this wing return.
template <class A>
concept Awaitable = std::derived_from<std::remove_cvref_t<detail::AwaiterOf<A>>, detail::AwaiterBase>;

namespace detail {

template <class A>
struct AwaitResult {};  // of what cannot be awaited, nothing: an overload for it is no candidate
template <class A>
    requires requires { typename std::remove_cvref_t<A>::value_type; }
struct AwaitResult<A> {
    using Type = typename std::remove_cvref_t<A>::value_type;
};
template <class A>
    requires(Awaitable<A> && !requires { typename std::remove_cvref_t<A>::value_type; })
struct AwaitResult<A> {
    using Type = decltype(std::declval<AwaiterOf<A>>().await_resume());
};

/// What awaiting an `A` is said to give: the `T` of a Coroutine<T>, Task<T> or Future<T>.
template <class A>
using Awaited = typename AwaitResult<A>::Type;

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::asyncio
