// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>

#include <iterator>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

template <class A>
struct IsTask : std::false_type {};
template <class T>
struct IsTask<Task<T>> : std::true_type {};
template <class A>
struct IsCoroutine : std::false_type {};
template <class T>
struct IsCoroutine<Coroutine<T>> : std::true_type {};

/// What a stored function gives for stored arguments, which are moved into the call.
template <class F, class... Args>
using StoredCallResult = std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>...>;

/// A function that returns a coroutine.
template <class F, class... Args>
concept CoroutineFunction = IsCoroutine<StoredCallResult<F, Args...>>::value;

/// What can be awaited, but is neither a task nor a coroutine.
template <class A>
concept PlainAwaitable =
    Awaitable<A> && !IsTask<std::remove_cvref_t<A>>::value && !IsCoroutine<std::remove_cvref_t<A>>::value;

/// A range of one kind of awaitables.
template <class Range>
concept AwaitableRange = !Awaitable<Range> && requires(Range& range) {
    std::end(range);
    requires Awaitable<decltype(*std::begin(range))>;
};

/// Any awaitable as a coroutine.
template <class A>
Coroutine<Awaited<A>> as_coroutine(A awaitable) {
    co_return co_await std::move(awaitable);
}

/// A call whose function and arguments live in its own frame, until it has ended.
template <class F, class... Args>
auto stored_call(F function, std::tuple<Args...> arguments) -> StoredCallResult<F, Args...> {
    co_return co_await std::apply(function, std::move(arguments));
}

/// An awaitable as what can be kept and become a task later: a Task<T>, which runs anyhow, or a Coroutine<T>.
template <class A>
auto child_of(A&& awaitable) {
    using Plain = std::remove_cvref_t<A>;
    if constexpr (IsCoroutine<Plain>::value)
        return Plain{std::move(awaitable)};
    else if constexpr (IsTask<Plain>::value)
        return Plain{std::forward<A>(awaitable)};
    else
        return as_coroutine(Plain(std::forward<A>(awaitable)));
}

template <AwaitableRange Range>
auto children_of(Range& range) {
    std::vector<decltype(child_of(*std::begin(range)))> children;
    for (auto&& awaitable : range) children.push_back(child_of(awaitable));
    return children;
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
