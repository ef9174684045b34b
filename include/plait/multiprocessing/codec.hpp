// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec/aggregate.hpp>
#include <plait/multiprocessing/codec/bytes.hpp>
#include <plait/multiprocessing/codec/containers.hpp>
#include <plait/multiprocessing/codec/explain.hpp>
#include <plait/multiprocessing/codec/shape.hpp>
#include <plait/multiprocessing/codec/values.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

/// What crosses a process boundary: values, to bytes and back.
///
/// Python: pickle; but the type is known on both sides and does not travel. Without a line from the user: numbers,
/// enums, strings, the standard containers, tuple, pair, optional, variant, unique_ptr, complex, bitset, chrono's
/// durations and time points, filesystem::path, and structs of these. `Codec` adds the rest.
///
/// The format is for the same program on the same machine, at the same time. Numbers are their bytes; a bool is the byte
/// 0 or 1; a container is its number of elements in eight bytes and then these; what may be missing is a byte 0 or 1 and
/// then what there is; a variant is its index (a byte, or four from 256 alternatives) and the alternative; structs,
/// tuples and arrays are their parts without anything between. An element that takes no bytes (an empty struct) is a
/// zero byte in a container.
///
/// Bytes from a stranger: every bound is checked, and what a type can be wrong in by itself (a bool of 2, an index past
/// the alternatives, a key twice) is a CodecError. An enum takes any number that its underlying type holds: write a
/// Codec where only the named values will do, or where an enum has no fixed underlying type, for which C++ leaves other
/// numbers undefined.
namespace plait::inline PLAIT_ABI::multiprocessing {

/// How a `T` of your own crosses a process boundary: specialise it for what is no plain struct, or for what should not
/// travel field by field.
///
///     template <>
///     struct plait::multiprocessing::Codec<Url> {
///         static void encode(Encoder& out, const Url& url) { out.write(url.host(), url.port()); }
///         static Url decode(Decoder& in) {
///             auto host = in.read<std::string>();
///             return Url(host, in.read<int>());
///         }
///     };
///
/// `decode` reads what `encode` wrote, and throws (CodecError, or what the constructor throws) on bytes that are no `T`.
template <class T>
struct Codec;

/// Whether a `T`, and all that it holds, can be encoded.
template <class T>
concept Encodable = detail::goes<T, detail::Way::encode>();

/// Whether a `T`, and all that it holds, can be decoded. A string_view is encoded but not decoded, for example.
template <class T>
concept Decodable = detail::goes<T, detail::Way::decode>();

/// The encoding of `values`, one after the other: what `decode` reads back as the one value, or as a tuple of them.
///
/// Throws: CodecError for a value that cannot be encoded; what a Codec throws.
template <class... Values>
[[nodiscard]] std::vector<std::byte> encode(const Values&... values) {
    Encoder out;
    out.write(values...);
    return out.take();
}

/// Reads one `T`, which takes all of `bytes`.
///
///     auto bytes = encode(7, std::string("seven"));
///     auto [number, name] = decode<std::tuple<int, std::string>>(bytes);
///
/// Throws: CodecError if `bytes` are no `T`, or more than one; what a Codec throws.
template <class T>
[[nodiscard]] T decode(std::span<const std::byte> bytes) {
    if constexpr (Decodable<T>) {
        Decoder in{bytes};
        T value = in.read<T>();
        if (in.remaining() != 0) detail::decode_error<T>(std::to_string(in.remaining()) + " bytes too many");
        return value;
    } else {
        detail::explain<T, detail::Way::decode>();
        detail::decode_error<T>("it has no codec");  // not reached: the line above does not compile
    }
}

template <class... Values>
void Encoder::write(const Values&... values) {
    if constexpr ((Encodable<Values> && ...)) {
        (detail::put(*this, values), ...);
    } else {
        (detail::explain<Values, detail::Way::encode>(), ...);
    }
}

template <class T>
T Decoder::read() {
    if constexpr (Decodable<T>) {
        return detail::get<T>(*this);
    } else {
        detail::explain<T, detail::Way::decode>();
        detail::decode_error<T>("it has no codec");  // not reached: the line above does not compile
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
