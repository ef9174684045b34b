// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/module_place.hpp>
#include <plait/os/image.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// How a call is named so that another start of the same executable finds the same function.
//
// For each type of callable a module has a constant, its entry record, that knows how to decode the arguments and make
// the call. What travels is the record's place (module_place.hpp), and what the type does not say: nothing for a
// captureless lambda, the place of the function for a function pointer, the encoding of any other function object. The
// receiver looks at the record before it uses it: it must lie in its module, begin with the magic word, and have been
// made for the same signature. That catches mistakes; forgers are kept out by the channel.

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

/// What a parameter is sent as.
template <class Parameter>
using TravelType = std::remove_cvref_t<Parameter>;

/// What an argument is sent as where the callable does not say (a generic lambda): literals as strings.
template <class Argument>
using LooseTravelType = std::conditional_t<std::is_same_v<std::decay_t<Argument>, const char*> ||
                                               std::is_same_v<std::decay_t<Argument>, char*>,
                                           std::string, std::decay_t<Argument>>;

template <class... Parameters>
struct ParameterList {
    using Travel = std::tuple<TravelType<Parameters>...>;
    static constexpr std::size_t count = sizeof...(Parameters);
    static constexpr bool writes_back =
        ((std::is_lvalue_reference_v<Parameters> && !std::is_const_v<std::remove_reference_t<Parameters>>) || ...);
};

template <class Signature>
struct Parameters;
template <class R, class... P>
struct Parameters<R (*)(P...)> : ParameterList<P...> {};
template <class R, class... P>
struct Parameters<R (*)(P...) noexcept> : ParameterList<P...> {};
template <class R, class C, class... P>
struct Parameters<R (C::*)(P...)> : ParameterList<P...> {};
template <class R, class C, class... P>
struct Parameters<R (C::*)(P...) const> : ParameterList<P...> {};
template <class R, class C, class... P>
struct Parameters<R (C::*)(P...) noexcept> : ParameterList<P...> {};
template <class R, class C, class... P>
struct Parameters<R (C::*)(P...) const noexcept> : ParameterList<P...> {};

template <class F>
concept FunctionPointer = std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>;

template <class F>
concept OneCallOperator = requires { Parameters<decltype(&F::operator())>::count; };

/// What a call of `F` with `Args` sends, and what comes of it.
template <class F, class... Args>
struct CallTraits {
    static auto travel() {
        if constexpr (FunctionPointer<F>)
            return std::type_identity<typename Parameters<F>::Travel>{};
        else if constexpr (OneCallOperator<F>)
            return std::type_identity<typename Parameters<decltype(&F::operator())>::Travel>{};
        else
            return std::type_identity<std::tuple<LooseTravelType<Args>...>>{};
    }
    static constexpr bool writes_back() {
        if constexpr (FunctionPointer<F>)
            return Parameters<F>::writes_back;
        else if constexpr (OneCallOperator<F>)
            return Parameters<decltype(&F::operator())>::writes_back;
        else
            return false;
    }
    using Travel = typename decltype(travel())::type;

    template <class Tuple>
    struct ResultOf;
    template <class... T>
    struct ResultOf<std::tuple<T...>> {
        static constexpr bool exists = std::is_invocable_v<F&, T...>;
        // void where there is none: `check_call` says so in a sentence.
        using Type = typename std::conditional_t<exists, std::invoke_result<F&, T...>, std::type_identity<void>>::type;
    };
    static constexpr bool fits = ResultOf<Travel>::exists;
    using Result = std::remove_cvref_t<typename ResultOf<Travel>::Type>;
};

/// Stateless: its type says all of it.
template <class F>
concept NamedByType = std::is_empty_v<F> && std::is_default_constructible_v<F> && std::is_trivially_copyable_v<F>;

template <class F>
concept TravellingCallable = FunctionPointer<F> || NamedByType<F> || (Encodable<F> && Decodable<F>);

struct EntryRecord {
    static constexpr std::uint64_t magic_word = 0x706C'6169'7420'656E;  // "plait en"

    std::uint64_t magic;
    std::uint64_t signature;
    std::string_view name;
    /// Decodes the arguments from `arguments` and makes the call, `state` saying of the callable what its type does not;
    /// appends the result's encoding to `result`. Throws what the call throws, and CodecError.
    void (*call)(std::span<const std::byte> state, Decoder& arguments, Encoder& result);
};

/// What an error text calls a callable: the function that `mp::function` names, else the type as the compiler spells it.
template <class F>
constexpr std::string_view callable_name() {
    std::string_view name = type_name<F>();
    constexpr std::string_view constant = "multiprocessing::Function<";
    if (const auto at = name.find(constant); name.starts_with("plait::") && at != name.npos && name.ends_with('>')) {
        name.remove_prefix(at + constant.size());
        name.remove_suffix(1);
        if (name.starts_with('&')) name.remove_prefix(1);
    }
    return name;
}

template <class F>
F find_callable(std::span<const std::byte> state) {
    if constexpr (FunctionPointer<F>) {
        const auto place = decode<Place>(state);
        const os::Image& image = module_of(place);
        const std::uintptr_t address = image.base() + place.offset;
        if (!image.contains_code(address)) throw CodecError("cannot decode a function: its place holds no code");
        return reinterpret_cast<F>(address);
    } else if constexpr (NamedByType<F>) {
        return F{};
    } else {
        return decode<F>(state);
    }
}

template <class F>
std::vector<std::byte> callable_state(const F& callable) {
    Encoder out;
    if constexpr (FunctionPointer<F>) {
        if (callable == nullptr) throw std::invalid_argument("plait: the function to call is a null pointer");
        out.write(place_of(reinterpret_cast<std::uintptr_t>(callable), 1, type_name<F>()));
    } else if constexpr (!NamedByType<F>) {
        out.write(callable);
    }
    return out.take();
}

template <class F, class Travel>
struct Entry;

template <class F, class... T>
struct Entry<F, std::tuple<T...>> {
    static void call(std::span<const std::byte> state, Decoder& in, Encoder& result) {
        F callable = find_callable<F>(state);
        std::tuple<T...> arguments{in.read<T>()...};  // braces: read in order
        close_handles(in);
        using Result = std::invoke_result_t<F&, T...>;
        if constexpr (std::is_void_v<Result>)
            std::apply(callable, std::move(arguments));
        else
            result.write(std::apply(callable, std::move(arguments)));
    }
    static constexpr EntryRecord record{EntryRecord::magic_word, hash_of(type_name<Entry>()), callable_name<F>(),
                                        &call};
};

/// The name of a callable on its way to another process; it has a codec.
struct CallableName {
    Place place;
    std::uint64_t signature = 0;
    std::vector<std::byte> state;
};

/// Throws: UsageError where another process could not find it; what its Codec throws.
template <class Travel, class F>
CallableName name_callable(const F& callable) {
    const EntryRecord& record = Entry<F, Travel>::record;
    return {place_of(reinterpret_cast<std::uintptr_t>(&record), sizeof record, record.name), record.signature,
            callable_state(callable)};
}

/// The entry record that `name` tells of. Throws: CodecError where there is none of its signature.
inline const EntryRecord& find_entry(const CallableName& name) {
    const auto* const record = constant_at<EntryRecord>(name.place);
    if (record == nullptr) throw CodecError("cannot decode a call: its entry record lies outside of its module");
    if (record->magic != EntryRecord::magic_word || record->signature != name.signature)
        throw CodecError("cannot decode a call: there is no entry record of its signature at its place");
    return *record;
}

/// Makes the call that `name` tells of: see EntryRecord::call.
inline void call_by_name(const CallableName& name, Decoder& arguments, Encoder& result) {
    find_entry(name).call(name.state, arguments, result);
}

template <class T, class Argument>
using ConvertTo = std::conditional_t<std::is_same_v<std::remove_cvref_t<Argument>, T>, Argument&&, T>;

/// The arguments of one call, converted to what the callable takes.
template <class Travel, class... Args>
void write_arguments(Encoder& out, Args&&... args) {
    [&]<class... T>(std::type_identity<std::tuple<T...>>) {
        // A temporary where the types differ, the argument itself where they do not.
        (out.write(static_cast<const T&>(static_cast<ConvertTo<T, Args>>(std::forward<Args>(args)))), ...);
    }(std::type_identity<Travel>{});
}

template <class... Args, class... T>
consteval bool takes_arguments(std::type_identity<std::tuple<T...>>) {
    if constexpr (sizeof...(Args) != sizeof...(T))
        return false;
    else
        return (std::is_constructible_v<T, Args> && ...);
}

/// An argument that only moves, and was not told to.
template <class Argument>
inline constexpr bool forgot_to_move =
    std::is_lvalue_reference_v<Argument> && !std::is_copy_constructible_v<std::remove_cvref_t<Argument>> &&
    std::is_move_constructible_v<std::remove_cvref_t<Argument>>;

/// Whether the call can be sent; where not, `check_call` says why, and what a user's call would make of it is not compiled.
template <class F, class... Args>
consteval bool call_fits() {
    using Traits = CallTraits<F, Args...>;
    if constexpr (!TravellingCallable<F> || Traits::writes_back() || !Traits::fits)
        return false;
    else
        return takes_arguments<Args...>(std::type_identity<typename Traits::Travel>{});
}

/// The sentences for what cannot be sent; stands where a user's call is compiled.
template <class F, class... Args>
constexpr void check_call() {
    static_assert(!(forgot_to_move<Args> || ...),
                  "plait: this argument cannot be copied, it moves: pass std::move(it), a Connection for instance");
    static_assert(TravellingCallable<F>,
                  "plait: this callable cannot go to another process: a lambda with captures needs this program's "
                  "memory. Pass what it captures as arguments, give its class a Codec, or use Process::forked");
    static_assert(!CallTraits<F, Args...>::writes_back(),
                  "plait: a non-const reference parameter cannot be written back to this process: take it by value "
                  "and return the result, or share a multiprocessing::Value, Lock or their like");
    static_assert(!TravellingCallable<F> || CallTraits<F, Args...>::writes_back() || (forgot_to_move<Args> || ...) ||
                      call_fits<F, Args...>(),
                  "plait: the arguments do not fit the callable: give one for each parameter, of a type that converts");
}

/// The same for a pool's task, which is given to whichever worker is idle: mere bytes go there and come back.
template <class F, class... Args>
constexpr void check_task() {
    check_call<F, Args...>();
    using Traits = CallTraits<F, Args...>;
    static_assert(!carries_handles<typename Traits::Travel>() && !carries_handles<F>(),
                  "plait: a lock, queue, connection or its like cannot be an argument of a pool's task: give it to the "
                  "workers by PoolOptions::initializer, or to a Process at its start");
    static_assert(
        !carries_handles<typename Traits::Result>(),
        "plait: a lock, queue, connection or its like cannot be the result of a pool's task: make it here, and "
        "give it to the workers by PoolOptions::initializer");
}

}  // namespace detail

/// A function that its own type names: two functions of one signature stay two types.
///
///     pool.map(mp::function<&square>, numbers);
template <auto F>
struct Function {
    template <class... Args>
    decltype(auto) operator()(Args&&... args) const {
        return F(std::forward<Args>(args)...);
    }
};
template <auto F>
inline constexpr Function<F> function{};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
