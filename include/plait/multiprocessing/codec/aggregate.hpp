// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

template <class T>
struct Codec;  // documented in codec.hpp

/// The fields of an aggregate, found without a line from the user: counted by trying how many initialisers it takes,
/// reached by a structured binding.
///
/// Counting lies for some types (`{int[3], int}` takes four initialisers, a base counts as one), and a structured
/// binding of the wrong number is an error that no concept can catch. So each liar is found out before one is made.
namespace detail {

template <class T>
concept HasCodec = requires { sizeof(Codec<T>); };

/// Why the fields of an aggregate cannot be had.
enum class Obstacle { none, no_aggregate, base, uncountable, too_many, array, bit_field, reference, destructor };

template <class T>
consteval Obstacle obstacle_of();

inline constexpr std::size_t max_fields = 40;

// What a field is initialised from while counting: converts to any type, and is never asked to at run time. Defined all
// the same, for a compiler may instantiate what only a constant expression names, also for types without linkage.
struct AnyValue {
    template <class T>
    operator T() const noexcept {
        std::terminate();
    }
};
template <class T>
concept Object = std::is_class_v<T>;
struct AnyObject {
    template <Object T>
    operator T() const noexcept {
        std::terminate();
    }
};
template <class T>
concept CodedObject = Object<T> && HasCodec<T>;
struct AnyCoded {
    template <CodedObject T>
    operator T() const noexcept {
        std::terminate();
    }
};
template <class T, class Derived>
concept TrueBaseOf = std::is_base_of_v<T, Derived> && !std::is_same_v<T, Derived>;
template <class Derived>
struct AnyBaseOf {
    template <TrueBaseOf<Derived> T>
    operator T() const noexcept {
        std::terminate();
    }
};

template <std::size_t>
using AnyAt = AnyValue;

template <class T, std::size_t... I>
consteval bool accepts(std::index_sequence<I...>) {
    return requires { T{AnyAt<I>{}...}; };
}

/// Whether field `sizeof...(Before)` takes an initialiser in braces when the others take one each. An array of two or
/// more never does: in braces it takes one initialiser, and those that its other elements took are too many.
template <class T, std::size_t... Before, std::size_t... After>
consteval bool accepts_braces(std::index_sequence<Before...>, std::index_sequence<After...>) {
    // Most fields take {}, and then nothing else is tried: a vector of what cannot be copied would be instantiated beyond
    // what a concept catches. The rest is for classes without a default constructor, with explicit or several others.
    if constexpr (requires { T{AnyAt<Before>{}..., {}, AnyAt<After>{}...}; }) {
        return true;
    } else if constexpr (requires { T{AnyAt<Before>{}..., {AnyObject{}}, AnyAt<After>{}...}; }) {
        return true;
    } else if constexpr (requires { T{AnyAt<Before>{}..., {AnyCoded{}}, AnyAt<After>{}...}; }) {
        return true;
    } else if constexpr (requires { T{AnyAt<Before>{}..., {AnyValue{}}, AnyAt<After>{}...}; }) {
        return true;
    } else {
        return requires { T{AnyAt<Before>{}..., {AnyValue{}, AnyValue{}}, AnyAt<After>{}...}; };
    }
}

inline constexpr std::size_t uncounted = static_cast<std::size_t>(-1);

/// The largest number of initialisers that `T` takes, at most max_fields + 1. Small numbers may fail before larger ones
/// succeed (a last field without default constructor).
template <class T, std::size_t Tried = 0, bool Found = false>
consteval std::size_t count_initialisers() {
    constexpr bool accepted = accepts<T>(std::make_index_sequence<Tried>());
    if constexpr (Tried > max_fields) {
        return accepted ? Tried : Found ? Tried - 1 : uncounted;
    } else if constexpr (Found && !accepted) {
        return Tried - 1;
    } else {
        return count_initialisers<T, Tried + 1, accepted>();
    }
}

template <class T>
inline constexpr std::size_t field_count = count_initialisers<T>();

template <class T, std::size_t... I>
consteval bool holds_array(std::index_sequence<I...>) {
    return !(accepts_braces<T>(std::make_index_sequence<I>(), std::make_index_sequence<sizeof...(I) - 1 - I>()) && ...);
}

template <class... Fields>
struct TypeList {
    static constexpr std::size_t size = sizeof...(Fields);
};

struct BitField {};  // what a binding gives when a field has no address

/// Calls a function with references to the `Count` fields of a value.
template <std::size_t Count>
struct Binding;

template <>
struct Binding<0> {
    template <class T, class Call>
    static constexpr decltype(auto) apply(T&, Call call) {
        return call();
    }
};

#define PLAIT_DETAIL_BIND(count, ...)                                \
    template <>                                                      \
    struct Binding<count> {                                          \
        template <class T, class Call>                               \
        static constexpr decltype(auto) apply(T& value, Call call) { \
            auto& [__VA_ARGS__] = value;                             \
            if constexpr (requires { call(__VA_ARGS__); })           \
                return call(__VA_ARGS__);                            \
            else                                                     \
                return BitField{};                                   \
        }                                                            \
    };
PLAIT_DETAIL_BIND(1, m1)
PLAIT_DETAIL_BIND(2, m1, m2)
PLAIT_DETAIL_BIND(3, m1, m2, m3)
PLAIT_DETAIL_BIND(4, m1, m2, m3, m4)
PLAIT_DETAIL_BIND(5, m1, m2, m3, m4, m5)
PLAIT_DETAIL_BIND(6, m1, m2, m3, m4, m5, m6)
PLAIT_DETAIL_BIND(7, m1, m2, m3, m4, m5, m6, m7)
PLAIT_DETAIL_BIND(8, m1, m2, m3, m4, m5, m6, m7, m8)
PLAIT_DETAIL_BIND(9, m1, m2, m3, m4, m5, m6, m7, m8, m9)
PLAIT_DETAIL_BIND(10, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10)
PLAIT_DETAIL_BIND(11, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11)
PLAIT_DETAIL_BIND(12, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12)
PLAIT_DETAIL_BIND(13, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13)
PLAIT_DETAIL_BIND(14, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14)
PLAIT_DETAIL_BIND(15, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
PLAIT_DETAIL_BIND(16, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16)
PLAIT_DETAIL_BIND(17, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17)
PLAIT_DETAIL_BIND(18, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18)
PLAIT_DETAIL_BIND(19, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19)
PLAIT_DETAIL_BIND(20, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20)
PLAIT_DETAIL_BIND(21, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21)
PLAIT_DETAIL_BIND(22, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22)
PLAIT_DETAIL_BIND(23, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23)
PLAIT_DETAIL_BIND(24, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24)
PLAIT_DETAIL_BIND(25, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25)
PLAIT_DETAIL_BIND(26, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26)
PLAIT_DETAIL_BIND(27, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27)
PLAIT_DETAIL_BIND(28, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28)
PLAIT_DETAIL_BIND(29, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29)
PLAIT_DETAIL_BIND(30, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30)
PLAIT_DETAIL_BIND(31, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31)
PLAIT_DETAIL_BIND(32, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32)
PLAIT_DETAIL_BIND(33, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33)
PLAIT_DETAIL_BIND(34, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34)
PLAIT_DETAIL_BIND(35, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35)
PLAIT_DETAIL_BIND(36, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36)
PLAIT_DETAIL_BIND(37, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37)
PLAIT_DETAIL_BIND(38, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38)
PLAIT_DETAIL_BIND(39, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39)
PLAIT_DETAIL_BIND(40, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21,
                  m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40)
#undef PLAIT_DETAIL_BIND

/// Calls `call` with a reference to each field of `value`, in order.
template <class T, class Call>
constexpr decltype(auto) visit_fields(T& value, Call call) {
    return Binding<field_count<std::remove_cv_t<T>>>::apply(value, call);
}

struct ListTypes {
    template <class... Fields>
    constexpr TypeList<Fields...> operator()(Fields&...) const {
        return {};
    }
};

/// The fields' types as a volatile value shows them: every field is volatile then, but for what a reference refers to.
template <class T>
using VolatileFields = decltype(visit_fields(std::declval<volatile T&>(), ListTypes{}));

template <class... Fields>
TypeList<std::remove_volatile_t<Fields>...> without_volatile(TypeList<Fields...>);
template <class... Fields>
TypeList<std::remove_cv_t<Fields>...> without_qualifiers(TypeList<Fields...>);

/// The fields' types as a TypeList, without const; only for a `T` whose obstacle is `none`.
template <class T>
using FieldsOf = decltype(without_qualifiers(VolatileFields<T>{}));

/// Whether `T` lacks what its fields have and a destructor of its own takes away: an aggregate that owns something.
template <class T, class... Fields>
consteval bool has_destructor(TypeList<Fields...>) {
    if ((std::is_trivially_destructible_v<Fields> && ...)) return !std::is_trivially_destructible_v<T>;
    // With a destructor declared, no move is: a copy takes its place, which there is none of for what only moves, and
    // which may throw where a move does not. A field whose moves are copies too (const, or an old deque) hides that in
    // the constructor or in the assignment, seldom in both.
    if ((std::is_move_constructible_v<Fields> && ...) && !std::is_move_constructible_v<T>) return true;
    if ((std::is_nothrow_move_constructible_v<Fields> && ...) && !std::is_nothrow_move_constructible_v<T>) return true;
    return (std::is_nothrow_move_assignable_v<Fields> && ...) && !std::is_nothrow_move_assignable_v<T>;
}

template <class... Fields>
consteval Obstacle obstacle_in(TypeList<Fields...>) {
    if ((std::is_array_v<Fields> || ...)) return Obstacle::array;
    if (!(std::is_volatile_v<Fields> && ...)) return Obstacle::reference;
    return Obstacle::none;
}

template <class T>
consteval Obstacle obstacle_of() {
    if constexpr (!std::is_class_v<T> || !std::is_aggregate_v<T>) {
        return Obstacle::no_aggregate;
    } else if constexpr (requires { T{AnyBaseOf<T>{}}; }) {
        return Obstacle::base;
    } else if constexpr (field_count<T> == uncounted) {
        return Obstacle::uncountable;
    } else if constexpr (field_count<T> > max_fields) {
        return Obstacle::too_many;
    } else if constexpr (holds_array<T>(std::make_index_sequence<field_count<T>>())) {
        return Obstacle::array;
    } else if constexpr (std::is_same_v<VolatileFields<T>, BitField>) {
        return Obstacle::bit_field;
    } else if constexpr (obstacle_in(VolatileFields<T>{}) != Obstacle::none) {
        return obstacle_in(VolatileFields<T>{});
    } else {
        return has_destructor<T>(decltype(without_volatile(VolatileFields<T>{})){}) ? Obstacle::destructor
                                                                                    : Obstacle::none;
    }
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing
