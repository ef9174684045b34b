// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec/aggregate.hpp>
#include <plait/multiprocessing/codec/bytes.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

/// Which coder a type gets. Standard types are known by what they offer, not by name: a container, a variant or a path
/// costs its header only in the program that uses it, and other libraries' types of the same shape are served as well.
namespace plait::inline PLAIT_ABI::multiprocessing::detail {

enum class Shape {
    none,
    user,         ///< has a Codec
    boolean,      ///< 0 or 1
    scalar,       ///< arithmetic
    long_double,  ///< without its padding
    enumeration,
    duration,
    time_point,
    complex,
    bitset,
    path,
    optional,
    variant,
    owner,         ///< unique_ptr with the default deleter
    array,         ///< std::array
    tuple,         ///< pair, tuple
    borrowed,      ///< string_view, span: encoded as what they show, never decoded
    sequence,      ///< vector, string, deque, list
    forward_list,  ///< grows after a place
    associative,   ///< set, map and their like
    aggregate,
};

template <class T>
concept Duration = requires(const T& value) {
    typename T::rep;
    typename T::period;
    { value.count() } -> std::same_as<typename T::rep>;
    T{std::declval<typename T::rep>()};
};

template <class T>
concept TimePoint = requires(const T& value) {
    typename T::clock;
    { value.time_since_epoch() } -> std::same_as<typename T::duration>;
    T{std::declval<typename T::duration>()};
};

template <class T>
concept Complex = std::is_trivially_copyable_v<T> && requires(const T& value) {
    { value.real() } -> std::same_as<typename T::value_type>;
    { value.imag() } -> std::same_as<typename T::value_type>;
    T{value.real(), value.imag()};
    requires std::is_floating_point_v<typename T::value_type>;
};

template <class T>
concept Bitset = std::is_default_constructible_v<T> && requires(T& value, const T& fixed) {
    { fixed.test(std::size_t{}) } -> std::same_as<bool>;
    value.set(std::size_t{}, true);
    fixed.to_ullong();
};

template <class T>
concept Path = requires(const T& value, typename T::string_type text) {
    { value.native() } -> std::convertible_to<const typename T::string_type&>;
    value.root_directory();
    T{std::move(text)};
};

template <class T>
concept Optional = std::is_default_constructible_v<T> && requires(const T& value, typename T::value_type held) {
    { value.has_value() } -> std::same_as<bool>;
    { *value } -> std::same_as<const typename T::value_type&>;
    T{std::move(held)};
    requires !requires { value.error(); };
};

template <class T>
struct Alternatives {
    using Type = void;
};
template <template <class...> class Template, class... Ts>
struct Alternatives<Template<Ts...>> {
    using Type = TypeList<Ts...>;
};

template <class T>
concept Variant = !std::is_void_v<typename Alternatives<T>::Type> && requires(const T& value) {
    { value.index() } -> std::convertible_to<std::size_t>;
    { value.valueless_by_exception() } -> std::same_as<bool>;
};

template <class T>
struct IsOwner : std::false_type {};
template <class T>
struct IsOwner<std::unique_ptr<T, std::default_delete<T>>>
    : std::bool_constant<!std::is_array_v<T> && !std::is_void_v<T>> {};

template <class T>
concept Range = requires(const T& value) {
    typename T::value_type;
    *value.begin();
    { value.begin() != value.end() } -> std::convertible_to<bool>;
};

/// The elements lie in one block of memory: vector, string, array, span.
template <class T>
concept Contiguous = Range<T> && requires(const T& value) {
    { value.data() } -> std::convertible_to<const typename T::value_type*>;
    { value.size() } -> std::convertible_to<std::size_t>;
};

template <class T>
concept TupleLike = requires { std::tuple_size<T>::value; };

template <class T>
concept FixedArray = TupleLike<T> && Contiguous<T>;

template <class T>
concept StringView = Contiguous<T> && requires(T& value) { value.remove_prefix(std::size_t{}); };
template <class T>
concept Span = Contiguous<T> && requires(const T& value) { value.subspan(std::size_t{}); };
template <class T>
concept Borrowed = StringView<T> || Span<T>;

template <class T>
concept Associative = Range<T> && std::is_default_constructible_v<T> && requires(T& value) {
    typename T::key_type;
    { value.size() } -> std::convertible_to<std::size_t>;
    value.emplace_hint(value.end(), std::declval<typename T::value_type>());
};

template <class T>
concept Sequence = Range<T> && std::is_default_constructible_v<T> && !Borrowed<T> && requires(T& value) {
    { value.size() } -> std::convertible_to<std::size_t>;
    value.push_back(std::declval<typename T::value_type>());
};

template <class T>
concept ForwardList = Range<T> && std::is_default_constructible_v<T> && requires(T& value) {
    value.emplace_after(value.before_begin(), std::declval<typename T::value_type>());
};

template <class T>
consteval Shape shape_of() {
    // clang-format off
    if constexpr (!std::is_object_v<T>) return Shape::none;
    else if constexpr (HasCodec<T>) return Shape::user;
    else if constexpr (std::is_same_v<T, bool>) return Shape::boolean;
    else if constexpr (std::is_same_v<T, long double>) return Shape::long_double;
    else if constexpr (std::is_arithmetic_v<T>) return Shape::scalar;
    else if constexpr (std::is_enum_v<T>) return Shape::enumeration;
    else if constexpr (!std::is_class_v<T>) return Shape::none;
    else if constexpr (Duration<T>) return Shape::duration;
    else if constexpr (TimePoint<T>) return Shape::time_point;
    else if constexpr (Complex<T>) return Shape::complex;
    else if constexpr (Bitset<T>) return Shape::bitset;
    else if constexpr (Path<T>) return Shape::path;
    else if constexpr (Optional<T>) return Shape::optional;
    else if constexpr (Variant<T>) return Shape::variant;
    else if constexpr (IsOwner<T>::value) return Shape::owner;
    else if constexpr (FixedArray<T> && !Borrowed<T>) return Shape::array;
    else if constexpr (TupleLike<T> && !Range<T>) return Shape::tuple;
    else if constexpr (Borrowed<T>) return Shape::borrowed;
    else if constexpr (Associative<T>) return Shape::associative;
    else if constexpr (Sequence<T>) return Shape::sequence;
    else if constexpr (ForwardList<T>) return Shape::forward_list;
    else if constexpr (obstacle_of<T>() == Obstacle::none) return Shape::aggregate;
    else return Shape::none;
    // clang-format on
}

template <class T>
inline constexpr Shape shape = shape_of<T>();

/// The types that a `T` holds by value, one after the other: a tuple's elements, an aggregate's fields.
template <class T, std::size_t... I>
TypeList<std::remove_cv_t<std::tuple_element_t<I, T>>...> list_elements(std::index_sequence<I...>);

template <class T>
consteval auto list_parts() {
    if constexpr (shape<T> == Shape::tuple) {
        return decltype(list_elements<T>(std::make_index_sequence<std::tuple_size<T>::value>())){};
    } else if constexpr (shape<T> == Shape::aggregate) {
        return FieldsOf<T>{};
    } else if constexpr (shape<T> == Shape::variant) {
        return typename Alternatives<T>::Type{};
    } else {
        return TypeList<>{};
    }
}

template <class T>
using PartsOf = decltype(list_parts<T>());

/// Whether values of `T` are their bytes: every pattern is a value, and there is no padding, so that a block of them is
/// one copy each way.
template <class T>
consteval bool is_bitwise();

template <class T, class... Parts>
consteval bool are_bitwise(TypeList<Parts...>) {
    if constexpr ((is_bitwise<Parts>() && ...)) {
        return (std::size_t{0} + ... + sizeof(Parts)) == sizeof(T);
    } else {
        return false;
    }
}

template <class T>
consteval bool is_bitwise() {
    constexpr Shape s = shape<T>;
    if constexpr (!std::is_trivially_copyable_v<T> || std::is_empty_v<T>) {
        return false;
    } else if constexpr (s == Shape::scalar) {
        return true;
    } else if constexpr (s == Shape::enumeration) {
        return !std::is_same_v<std::underlying_type_t<T>, bool>;
    } else if constexpr (s == Shape::duration) {
        return is_bitwise<typename T::rep>() && sizeof(T) == sizeof(typename T::rep);
    } else if constexpr (s == Shape::time_point) {
        return is_bitwise<typename T::duration>() && sizeof(T) == sizeof(typename T::duration);
    } else if constexpr (s == Shape::complex) {
        return is_bitwise<typename T::value_type>() && sizeof(T) == 2 * sizeof(typename T::value_type);
    } else if constexpr (s == Shape::array) {
        return is_bitwise<typename T::value_type>() &&
               sizeof(T) == std::tuple_size<T>::value * sizeof(typename T::value_type);
    } else if constexpr (s == Shape::aggregate) {
        return are_bitwise<T>(PartsOf<T>{});
    } else {
        return false;
    }
}

template <class T>
concept Bitwise = is_bitwise<T>();

template <class T>
concept BitwiseRange = Contiguous<T> && Bitwise<std::remove_cv_t<typename T::value_type>>;

/// The bytes that any `T` takes at least. What may take none is given one in a container, so that a count can always be
/// checked against the bytes that are left.
template <class T>
consteval std::size_t minimum_size();

template <class... Parts>
consteval std::size_t minimum_size_of_all(TypeList<Parts...>) {
    return (std::size_t{0} + ... + minimum_size<Parts>());
}

template <class T>
consteval std::size_t minimum_size() {
    constexpr Shape s = shape<T>;
    if constexpr (s == Shape::scalar || s == Shape::enumeration || s == Shape::complex) {
        return sizeof(T);
    } else if constexpr (s == Shape::boolean || s == Shape::optional || s == Shape::variant || s == Shape::owner ||
                         s == Shape::long_double) {
        return 1;
    } else if constexpr (s == Shape::duration) {
        return minimum_size<typename T::rep>();
    } else if constexpr (s == Shape::time_point) {
        return minimum_size<typename T::duration>();
    } else if constexpr (s == Shape::array) {
        return std::tuple_size<T>::value * minimum_size<typename T::value_type>();
    } else if constexpr (s == Shape::tuple || s == Shape::aggregate) {
        return minimum_size_of_all(PartsOf<T>{});
    } else if constexpr (s == Shape::user || s == Shape::bitset || s == Shape::none) {
        return 0;
    } else {
        return sizeof(std::uint64_t);
    }
}

template <class T>
concept CarriesHandles = HasCodec<T> && requires { requires Codec<T>::carries_handles; };

/// Whether a `T`, or what it holds, is more than bytes: a lock, a queue, a connection. Such a value goes where handles of
/// the operating system can go along: into a process at its start, and through a Connection. `Outer` as in `goes`.
template <class T, class... Outer>
consteval bool carries_handles();

template <class... Outer, class... Parts>
consteval bool any_carries_handles(TypeList<Parts...>) {
    return (carries_handles<Parts, Outer...>() || ...);
}

template <class T, class... Outer>
consteval bool carries_handles() {
    constexpr Shape s = shape<T>;
    if constexpr ((std::is_same_v<T, Outer> || ...)) {
        return false;
    } else if constexpr (s == Shape::user) {
        return CarriesHandles<T>;
    } else if constexpr (s == Shape::owner) {
        return carries_handles<std::remove_cv_t<typename T::element_type>, T, Outer...>();
    } else if constexpr (s == Shape::associative && requires { typename T::mapped_type; }) {
        return carries_handles<typename T::key_type, T, Outer...>() ||
               carries_handles<typename T::mapped_type, T, Outer...>();
    } else if constexpr (s == Shape::array || s == Shape::borrowed || s == Shape::optional || s == Shape::associative ||
                         s == Shape::sequence || s == Shape::forward_list) {
        return carries_handles<std::remove_cv_t<typename T::value_type>, T, Outer...>();
    } else if constexpr (s == Shape::tuple || s == Shape::aggregate || s == Shape::variant) {
        return any_carries_handles<T, Outer...>(PartsOf<T>{});
    } else {
        return false;
    }
}

/// The two ways through the codec: a string_view goes one of them.
enum class Way { encode, decode };

template <class T>
concept EncodesItself = requires(Encoder& out, const T& value) { Codec<T>::encode(out, value); };
template <class T>
concept DecodesItself = requires(Decoder& in) {
    { Codec<T>::decode(in) } -> std::same_as<T>;
};

/// Whether `T` and all that it holds go that way. A type that holds itself, in a vector say, does if the rest of it
/// does: `Outer` are the types that the question has come through.
template <class T, Way way, class... Outer>
consteval bool goes();

template <Way way, class... Outer, class... Parts>
consteval bool all_go(TypeList<Parts...>) {
    return (goes<Parts, way, Outer...>() && ...);
}

/// What a decoder has to move into its container.
template <class T, Way way, class... Outer>
consteval bool element_goes() {
    if constexpr (goes<T, way, Outer...>()) {
        return way == Way::encode || std::is_move_constructible_v<T>;
    } else {
        return false;
    }
}

template <class T, Way way, class... Outer>
consteval bool goes() {
    constexpr Shape s = shape<T>;
    if constexpr ((std::is_same_v<T, Outer> || ...)) {
        return true;
    } else if constexpr (s == Shape::none) {
        return false;
    } else if constexpr (s == Shape::user) {
        return way == Way::encode ? EncodesItself<T> : DecodesItself<T>;
    } else if constexpr (s == Shape::borrowed) {
        return way == Way::encode && goes<std::remove_cv_t<typename T::value_type>, way, T, Outer...>();
    } else if constexpr (s == Shape::duration) {
        return goes<typename T::rep, way, T, Outer...>();
    } else if constexpr (s == Shape::time_point) {
        return goes<typename T::duration, way, T, Outer...>();
    } else if constexpr (s == Shape::array) {
        return goes<std::remove_cv_t<typename T::value_type>, way, T, Outer...>();
    } else if constexpr (s == Shape::owner) {
        using Element = std::remove_cv_t<typename T::element_type>;
        if constexpr (std::is_polymorphic_v<Element> && !std::is_final_v<Element>) {
            return false;  // a derived object would come back as its base
        } else {
            return goes<Element, way, T, Outer...>();
        }
    } else if constexpr (s == Shape::associative && requires { typename T::mapped_type; }) {
        return element_goes<typename T::key_type, way, T, Outer...>() &&
               element_goes<typename T::mapped_type, way, T, Outer...>();
    } else if constexpr (s == Shape::optional || s == Shape::associative || s == Shape::sequence ||
                         s == Shape::forward_list) {
        return element_goes<typename T::value_type, way, T, Outer...>();
    } else if constexpr (s == Shape::aggregate) {
        return all_go<way, T, Outer...>(PartsOf<T>{});
    } else if constexpr (s == Shape::tuple || s == Shape::variant) {
        return all_go<way, T, Outer...>(PartsOf<T>{});
    } else {
        return true;
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
