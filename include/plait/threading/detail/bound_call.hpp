// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/stop_token.hpp>

#include <tuple>
#include <type_traits>
#include <utility>
#if defined(__cpp_lib_jthread)
#  include <stop_token>
#endif

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

using namespace plait::detail;

/// How a callable can be called with these arguments: as it is, or with a token of ours or the standard's before them; a
/// pointer to a member also with one of ours after its object.
enum class CallForm { plain, with_token, with_token_after_object, with_standard_token, none };

template <class F, class... Args>
struct IsMemberWithToken : std::false_type {};
template <class F, class Object, class... Rest>
struct IsMemberWithToken<F, Object, Rest...>
    : std::bool_constant<std::is_member_pointer_v<F> && std::is_invocable_v<F, Object, StopToken, Rest...>> {};

template <class F, class... Args>
constexpr CallForm call_form() noexcept {
    // The plain form first: to ask a generic callable whether it takes a token could be an error inside its body.
    if constexpr (std::is_invocable_v<F, Args...>)
        return CallForm::plain;
    else if constexpr (std::is_invocable_v<F, StopToken, Args...>)
        return CallForm::with_token;
    else if constexpr (IsMemberWithToken<F, Args...>::value)
        return CallForm::with_token_after_object;
#if defined(__cpp_lib_jthread)
    else if constexpr (std::is_invocable_v<F, std::stop_token, Args...>)
        return CallForm::with_standard_token;
#endif
    else
        return CallForm::none;
}

template <CallForm form, class F, class... Args>
struct CallResultOf {
    using type = void;
};
template <class F, class... Args>
struct CallResultOf<CallForm::plain, F, Args...> : std::invoke_result<F, Args...> {};
template <class F, class... Args>
struct CallResultOf<CallForm::with_token, F, Args...> : std::invoke_result<F, StopToken, Args...> {};
template <class F, class Object, class... Rest>
struct CallResultOf<CallForm::with_token_after_object, F, Object, Rest...>
    : std::invoke_result<F, Object, StopToken, Rest...> {};
#if defined(__cpp_lib_jthread)
template <class F, class... Args>
struct CallResultOf<CallForm::with_standard_token, F, Args...> : std::invoke_result<F, std::stop_token, Args...> {};
#endif

/// What comes of a value that is returned: a reference to something that lasts, or the bare type.
template <class R>
using Returned = std::conditional_t<std::is_lvalue_reference_v<R>, R, std::remove_cv_t<std::remove_reference_t<R>>>;

/// What a call of copies of `F` and `Args` returns.
template <class F, class... Args>
using CallResult = Returned<typename CallResultOf<call_form<std::decay_t<F>, std::decay_t<Args>...>(), std::decay_t<F>,
                                                  std::decay_t<Args>...>::type>;

/// A callable that can be stored with these arguments and called once in another thread.
template <class F, class... Args>
concept CallableLater =
    std::is_constructible_v<std::decay_t<F>, F> && (std::is_constructible_v<std::decay_t<Args>, Args> && ...) &&
    call_form<std::decay_t<F>, std::decay_t<Args>...>() != CallForm::none;

/// Says, where it is none, what is wrong, and returns whether it is one.
template <class F, class... Args>
constexpr bool check_callable_later() {
    static_assert(
        CallableLater<F, Args...>,
        "the callable cannot be called with these arguments: they are kept by value and moved into the call, so "
        "give std::ref(x) where it takes a reference, and just as many as it takes");
    return CallableLater<F, Args...>;
}

/// A callable and its arguments, kept by value until they are moved into the one call. `F` and `Args` are decayed.
template <class F, class... Args>
class BoundCall {
public:
    template <class Callable, class... Arguments>
    explicit BoundCall(Callable&& f,
                       Arguments&&... args) noexcept(std::is_nothrow_constructible_v<F, Callable> &&
                                                     (std::is_nothrow_constructible_v<Args, Arguments> && ...))
        : f_(std::forward<Callable>(f)), args_(std::forward<Arguments>(args)...) {}

    decltype(auto) operator()(const StopToken& stop) {
        return std::apply([&](auto&... args) -> decltype(auto) { return call(stop, std::move(args)...); }, args_);
    }

private:
    decltype(auto) call(const StopToken& stop, Args&&... args) {
        constexpr CallForm form = call_form<F, Args...>();
        // std::apply calls member pointers too, and spares <functional>, where std::invoke is.
        if constexpr (form == CallForm::plain) {
            return std::apply(std::move(f_), std::forward_as_tuple(std::move(args)...));
        } else if constexpr (form == CallForm::with_token) {
            return std::apply(std::move(f_), std::forward_as_tuple(StopToken{stop}, std::move(args)...));
        } else if constexpr (form == CallForm::with_token_after_object) {
            return call_member(stop, std::move(args)...);
        } else {
#if defined(__cpp_lib_jthread)
            std::stop_source source;
            const StopCallback pass_on{stop, [&source] { source.request_stop(); }};
            return std::apply(std::move(f_), std::forward_as_tuple(source.get_token(), std::move(args)...));
#endif
        }
    }

    template <class Object, class... Rest>
    decltype(auto) call_member(const StopToken& stop, Object&& object, Rest&&... rest) {
        return std::apply(std::move(f_), std::forward_as_tuple(std::forward<Object>(object), StopToken{stop},
                                                               std::forward<Rest>(rest)...));
    }

    F f_;
    [[no_unique_address]] std::tuple<Args...> args_;
};

template <class F, class... Args>
using BoundCallOf = BoundCall<std::decay_t<F>, std::decay_t<Args>...>;

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::threading
