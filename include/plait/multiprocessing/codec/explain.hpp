// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec/shape.hpp>

#include <type_traits>

/// The sentences that a compiler prints for a type that does not cross a process boundary: why, and what to do instead.
namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Never true, and not known to be so before a template asks.
template <class>
inline constexpr bool possible = false;

template <class T>
concept SharedOwner = requires(const T& value) {
    typename T::element_type;
    value.use_count();
};

template <class T, Way way, class... Outer>
constexpr void explain();

template <Way way, class... Outer, class... Parts>
constexpr void explain_all(TypeList<Parts...>) {
    (explain<Parts, way, Outer...>(), ...);
}

template <class T>
constexpr void explain_aggregate() {
    constexpr Obstacle obstacle = obstacle_of<T>();
    if constexpr (obstacle == Obstacle::base) {
        static_assert(possible<T>,
                      "plait: a struct with a base class has no automatic codec: make the base a field, or specialise "
                      "plait::multiprocessing::Codec for it");
    } else if constexpr (obstacle == Obstacle::array) {
        static_assert(possible<T>, "plait: a struct that holds a C array has no automatic codec: use std::array");
    } else if constexpr (obstacle == Obstacle::bit_field) {
        static_assert(possible<T>,
                      "plait: a struct that holds a bit-field has no automatic codec: use a whole integer, or "
                      "specialise plait::multiprocessing::Codec for it");
    } else if constexpr (obstacle == Obstacle::reference || obstacle == Obstacle::uncountable) {
        static_assert(possible<T>,
                      "plait: a struct that holds a reference has no automatic codec, for an address means nothing in "
                      "another process: hold the value itself");
    } else if constexpr (obstacle == Obstacle::destructor) {
        static_assert(possible<T>,
                      "plait: a struct with a destructor, or an assignment, of its own owns something that a copy of "
                      "its fields would not: specialise plait::multiprocessing::Codec for it");
    } else if constexpr (obstacle == Obstacle::too_many) {
        static_assert(possible<T>,
                      "plait: a struct of more than 40 fields has no automatic codec: group fields in structs, or "
                      "specialise plait::multiprocessing::Codec for it");
    } else {
        static_assert(possible<T>,
                      "plait: this class is neither a standard type that the codec knows nor a plain struct: "
                      "specialise plait::multiprocessing::Codec for it");
    }
}

/// Stops the compiler with the sentence for the innermost part of `T` that does not go that way.
template <class T, Way way, class... Outer>
constexpr void explain() {
    constexpr Shape s = shape<T>;
    if constexpr (goes<T, way, Outer...>()) {
        return;
    } else if constexpr (std::is_reference_v<T>) {
        static_assert(possible<T>,
                      "plait: a reference cannot cross to another process, where its address means nothing: take or "
                      "return the value itself");
    } else if constexpr (std::is_pointer_v<T> && std::is_function_v<std::remove_pointer_t<T>>) {
        static_assert(possible<T>,
                      "plait: a function pointer is no data, for its address differs from process to process: pass the "
                      "function as the target, or send something that names it");
    } else if constexpr (std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T>) {
        static_assert(possible<T>,
                      "plait: a pointer cannot cross to another process, where its address means nothing: send the "
                      "value, a std::string for a const char*, a std::optional or std::unique_ptr for what may be "
                      "missing");
    } else if constexpr (std::is_array_v<T>) {
        static_assert(possible<T>, "plait: a C array has no codec: use std::array, or std::string for a literal");
    } else if constexpr (std::is_union_v<T>) {
        static_assert(possible<T>, "plait: a union does not know which member it holds: use std::variant");
    } else if constexpr (s == Shape::borrowed && way == Way::decode && StringView<T>) {
        static_assert(possible<T>,
                      "plait: a string_view cannot be decoded, for it would view characters that nobody owns: use "
                      "std::string");
    } else if constexpr (s == Shape::borrowed && way == Way::decode) {
        static_assert(possible<T>,
                      "plait: a span cannot be decoded, for it would view elements that nobody owns: use std::vector "
                      "or std::array");
    } else if constexpr (SharedOwner<T>) {
        static_assert(possible<T>,
                      "plait: a shared_ptr cannot share across processes: send the value, or a std::unique_ptr to it");
    } else if constexpr (s == Shape::user && way == Way::encode) {
        static_assert(possible<T>, "plait: Codec<T> needs `static void encode(Encoder& out, const T& value)`");
    } else if constexpr (s == Shape::user) {
        static_assert(possible<T>, "plait: Codec<T> needs `static T decode(Decoder& in)`");
    } else if constexpr (s == Shape::aggregate) {
        explain_all<way, T, Outer...>(PartsOf<T>{});
    } else if constexpr (s == Shape::tuple || s == Shape::variant) {
        explain_all<way, T, Outer...>(PartsOf<T>{});
    } else if constexpr (s == Shape::owner) {
        using Element = std::remove_cv_t<typename T::element_type>;
        if constexpr (std::is_polymorphic_v<Element> && !std::is_final_v<Element>) {
            static_assert(possible<T>,
                          "plait: a unique_ptr to a class with virtual functions would lose what is derived from it: "
                          "specialise plait::multiprocessing::Codec for the pointer");
        } else {
            explain<Element, way, T, Outer...>();
        }
    } else if constexpr (s == Shape::associative && requires { typename T::mapped_type; }) {
        explain<typename T::key_type, way, T, Outer...>();
        explain<typename T::mapped_type, way, T, Outer...>();
    } else if constexpr (s == Shape::duration) {
        explain<typename T::rep, way, T, Outer...>();
    } else if constexpr (s == Shape::time_point) {
        explain<typename T::duration, way, T, Outer...>();
    } else if constexpr (s != Shape::none) {
        using Element = std::remove_cv_t<typename T::value_type>;
        static_assert(way == Way::encode || std::is_move_constructible_v<Element> || s == Shape::array,
                      "plait: what cannot be moved cannot be decoded into a container");
        explain<Element, way, T, Outer...>();
    } else {
        explain_aggregate<T>();
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
