// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec/bytes.hpp>
#include <plait/multiprocessing/codec/shape.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

/// How single values cross: scalars as their bytes, composites as their parts in order, alternatives behind their index.
namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Writes and reads the types of one shape; `put` and `get` are the short way to it.
template <class T, Shape = shape<T>>
struct Coder;

template <class T>
void put(Encoder& out, const T& value) {
    Coder<T>::encode(out, value);
}

template <class T>
T get(Decoder& in) {
    return Coder<T>::decode(in);
}

/// A bitwise `T` from bytes that need not be aligned.
template <Bitwise T>
T from_bytes(const std::byte* bytes) {
    if constexpr (std::is_trivially_default_constructible_v<T>) {
        T value;
        std::memcpy(&value, bytes, sizeof value);
        return value;
    } else {
        std::array<std::byte, sizeof(T)> copy;
        std::memcpy(copy.data(), bytes, sizeof copy);
        return std::bit_cast<T>(copy);
    }
}

template <class T>
struct Coder<T, Shape::user> {
    static void encode(Encoder& out, const T& value) {
        const Nesting level = Wire::nest<T>(out);
        Codec<T>::encode(out, value);
    }
    static T decode(Decoder& in) {
        const Nesting level = Wire::nest<T>(in);
        return Codec<T>::decode(in);
    }
};

template <>
struct Coder<bool, Shape::boolean> {
    static void encode(Encoder& out, bool value) { Wire::put_bits(out, value ? std::uint8_t{1} : std::uint8_t{0}); }
    static bool decode(Decoder& in) { return decode_for<bool>(in); }

    /// Whether a `T` has what it may have or not: the byte must be 0 or 1.
    template <class T>
    static bool decode_for(Decoder& in) {
        const auto byte = Wire::get_bits<std::uint8_t, T>(in);
        if (byte > 1) decode_error<T>("a truth value of " + std::to_string(byte));
        return byte != 0;
    }
};

template <class T>
struct Coder<T, Shape::scalar> {
    static void encode(Encoder& out, T value) { Wire::put_bits(out, value); }
    static T decode(Decoder& in) { return Wire::get_bits<T>(in); }
};

template <>
struct Coder<long double, Shape::long_double> {
    // x87 numbers fill ten bytes of twelve or sixteen; what is in the others would be anything.
    static constexpr std::size_t size = std::numeric_limits<long double>::digits == 64 ? 10 : sizeof(long double);

    static void encode(Encoder& out, long double value) { Wire::put_block(out, &value, size); }
    static long double decode(Decoder& in) {
        long double value = 0;
        std::memcpy(&value, Wire::get_block<long double>(in, size), size);
        return value;
    }
};

/// Any number of the underlying type is taken: nothing tells which of them have a name.
template <class T>
struct Coder<T, Shape::enumeration> {
    using Underlying = std::underlying_type_t<T>;

    static void encode(Encoder& out, T value) { put(out, static_cast<Underlying>(value)); }
    static T decode(Decoder& in) { return static_cast<T>(get<Underlying>(in)); }
};

template <class T>
struct Coder<T, Shape::duration> {
    static void encode(Encoder& out, const T& value) { put(out, value.count()); }
    static T decode(Decoder& in) { return T{get<typename T::rep>(in)}; }
};

template <class T>
struct Coder<T, Shape::time_point> {
    static void encode(Encoder& out, const T& value) { put(out, value.time_since_epoch()); }
    static T decode(Decoder& in) { return T{get<typename T::duration>(in)}; }
};

template <class T>
struct Coder<T, Shape::complex> {
    using Part = typename T::value_type;

    static void encode(Encoder& out, const T& value) {
        put<Part>(out, value.real());
        put<Part>(out, value.imag());
    }
    static T decode(Decoder& in) {
        const Part real = get<Part>(in);
        const Part imaginary = get<Part>(in);
        return T{real, imaginary};
    }
};

template <class T>
struct Coder<T, Shape::path> {
    static void encode(Encoder& out, const T& value) { put<typename T::string_type>(out, value.native()); }
    static T decode(Decoder& in) { return T{get<typename T::string_type>(in)}; }
};

template <class T>
struct Coder<T, Shape::tuple> {
    static void encode(Encoder& out, const T& value) {
        encode_each(out, value, std::make_index_sequence<std::tuple_size<T>::value>());
    }
    static T decode(Decoder& in) { return decode_each(in, PartsOf<T>{}); }

private:
    template <std::size_t... I>
    static void encode_each([[maybe_unused]] Encoder& out, [[maybe_unused]] const T& value, std::index_sequence<I...>) {
        using std::get;  // the type's own is found by its namespace
        (put<std::remove_cv_t<std::tuple_element_t<I, T>>>(out, get<I>(value)), ...);
    }
    template <class... Parts>
    static T decode_each([[maybe_unused]] Decoder& in, TypeList<Parts...>) {
        return T{detail::get<Parts>(in)...};  // braces: from left to right
    }
};

template <class T>
struct Coder<T, Shape::aggregate> {
    static void encode(Encoder& out, const T& value) {
        if constexpr (Bitwise<T>) {
            Wire::put_bits(out, value);
        } else {
            visit_fields(value, [&out](const auto&... fields) { (put(out, fields), ...); });
        }
    }
    static T decode(Decoder& in) {
        if constexpr (Bitwise<T>) {
            return from_bytes<T>(Wire::get_block<T>(in, sizeof(T)));
        } else {
            return decode_each(in, FieldsOf<T>{});
        }
    }

private:
    template <class... Fields>
    static T decode_each([[maybe_unused]] Decoder& in, TypeList<Fields...>) {
        return T{detail::get<Fields>(in)...};  // braces: from left to right, and nothing is moved
    }
};

template <class T>
struct Coder<T, Shape::optional> {
    using Held = std::remove_cv_t<typename T::value_type>;

    static void encode(Encoder& out, const T& value) {
        put(out, value.has_value());
        if (value.has_value()) put<Held>(out, *value);
    }
    static T decode(Decoder& in) {
        if (!Coder<bool>::decode_for<T>(in)) return T{};
        return T{get<Held>(in)};
    }
};

/// The pointer owns: what it points to is written behind it, and belongs to the reader's pointer then.
template <class T>
struct Coder<T, Shape::owner> {
    using Element = std::remove_cv_t<typename T::element_type>;

    static void encode(Encoder& out, const T& value) {
        const Nesting level = Wire::nest<T>(out);
        put(out, value != nullptr);
        if (value) put<Element>(out, *value);
    }
    static T decode(Decoder& in) {
        const Nesting level = Wire::nest<T>(in);
        if (!Coder<bool>::decode_for<T>(in)) return T{};
        return T{new Element(get<Element>(in))};
    }
};

template <class T>
struct Coder<T, Shape::variant> {
    static void encode(Encoder& out, const T& value) {
        if (value.valueless_by_exception()) encode_error<T>("a variant that holds no value");
        Wire::put_bits(out, static_cast<Index>(value.index()));
        encode_held(out, value, PartsOf<T>{}, std::make_index_sequence<count>());
    }
    static T decode(Decoder& in) {
        const auto index = Wire::get_bits<Index, T>(in);
        if (index >= count) decode_error<T>("no alternative " + std::to_string(index));
        return decode_held(in, index, PartsOf<T>{});
    }

private:
    static constexpr std::size_t count = PartsOf<T>::size;
    using Index = std::conditional_t<(count < 256), std::uint8_t, std::uint32_t>;

    template <class... Parts, std::size_t... I>
    static void encode_held(Encoder& out, const T& value, TypeList<Parts...>, std::index_sequence<I...>) {
        // Found in the variant's own namespace, so that <variant> is included by who uses one.
        (void)((value.index() == I ? (put<Parts>(out, *get_if<I>(&value)), true) : false) || ...);
    }
    template <std::size_t I = 0, class Part, class... Parts>
    static T decode_held(Decoder& in, Index index, TypeList<Part, Parts...>) {
        if constexpr (sizeof...(Parts) == 0) {
            return T(std::in_place_index<I>, detail::get<Part>(in));
        } else {
            if (index == I) return T(std::in_place_index<I>, detail::get<Part>(in));
            return decode_held<I + 1>(in, index, TypeList<Parts...>{});
        }
    }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
