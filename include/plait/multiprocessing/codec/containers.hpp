// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec/bytes.hpp>
#include <plait/multiprocessing/codec/shape.hpp>
#include <plait/multiprocessing/codec/values.hpp>

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <utility>

/// How containers cross: the number of elements, then each; a block of bitwise elements is one copy.
namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Puts an element; one that takes no bytes gets one, so that a count never promises more elements than there are bytes.
template <class T>
void put_element(Encoder& out, const T& element) {
    if constexpr (minimum_size<T>() > 0) {
        put(out, element);
    } else {
        const std::size_t before = out.size();
        put(out, element);
        if (out.size() == before) Wire::put_bits(out, std::uint8_t{0});
    }
}

template <class T>
T get_element(Decoder& in) {
    if constexpr (minimum_size<T>() > 0) {
        return get<T>(in);
    } else {
        const std::size_t before = in.remaining();
        T element = get<T>(in);
        if (in.remaining() == before && Wire::get_bits<std::uint8_t, T>(in) != 0) {
            decode_error<T>("something where nothing was to be");
        }
        return element;
    }
}

template <class T, class Element>
std::size_t get_element_count(Decoder& in) {
    return Wire::get_count<T>(in, minimum_size<Element>() > 0 ? minimum_size<Element>() : 1);
}

/// Makes room for `count` elements where that is possible, but for no more than the bytes that are left make likely: a
/// hostile count is found out before it has cost more than that.
template <class Element, class T>
void reserve(T& container, std::size_t count, const Decoder& in) {
    // Decoded, an element is seldom more than four times as large as encoded; a few are worth no thought.
    const std::size_t likely = 4 * (in.remaining() / sizeof(Element)) + 4;
    if constexpr (requires { container.reserve(count); }) container.reserve(count < likely ? count : likely);
}

/// Reads bitwise elements where they lie without alignment: what a container is constructed from then.
template <class Element>
class BlockIterator {
public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = Element;
    using difference_type = std::ptrdiff_t;
    using pointer = const Element*;
    using reference = Element;

    BlockIterator() = default;
    explicit BlockIterator(const std::byte* at) noexcept : at_{at} {}

    Element operator*() const { return from_bytes<Element>(at_); }
    Element operator[](difference_type n) const { return *(*this + n); }
    BlockIterator& operator++() { return *this += 1; }
    BlockIterator operator++(int) { return std::exchange(*this, *this + 1); }
    BlockIterator& operator--() { return *this -= 1; }
    BlockIterator operator--(int) { return std::exchange(*this, *this - 1); }
    BlockIterator& operator+=(difference_type n) {
        at_ += n * size;
        return *this;
    }
    BlockIterator& operator-=(difference_type n) { return *this += -n; }
    friend BlockIterator operator+(BlockIterator it, difference_type n) { return it += n; }
    friend BlockIterator operator+(difference_type n, BlockIterator it) { return it += n; }
    friend BlockIterator operator-(BlockIterator it, difference_type n) { return it -= n; }
    friend difference_type operator-(BlockIterator a, BlockIterator b) { return (a.at_ - b.at_) / size; }
    friend auto operator<=>(const BlockIterator&, const BlockIterator&) = default;

private:
    static constexpr difference_type size = sizeof(Element);

    const std::byte* at_ = nullptr;
};

template <class T>
void put_range(Encoder& out, const T& range) {
    using Element = std::remove_cv_t<typename T::value_type>;
    if constexpr (BitwiseRange<T>) {
        Wire::put_block(out, range.data(), range.size() * sizeof(Element));
    } else {
        for (auto it = range.begin(); it != range.end(); ++it) {
            const Element& element = *it;  // vector<bool> gives a proxy
            put_element<Element>(out, element);
        }
    }
}

template <class T>
struct Coder<T, Shape::sequence> {
    using Element = typename T::value_type;

    static void encode(Encoder& out, const T& value) {
        const Nesting level = Wire::nest<T>(out);
        Wire::put_size(out, value.size());
        put_range(out, value);
    }
    static T decode(Decoder& in) {
        const Nesting level = Wire::nest<T>(in);
        const std::size_t count = get_element_count<T, Element>(in);
        using Block = BlockIterator<Element>;
        if constexpr (BitwiseRange<T> && std::is_constructible_v<T, Block, Block> &&
                      std::is_constructible_v<T, const Element*, const Element*>) {
            const std::byte* const bytes = Wire::get_block<T>(in, count * sizeof(Element));
            // Bytes where elements may lie are such elements (trivial ones begin to live by themselves), and from
            // pointers to them the container takes one copy.
            if (std::bit_cast<std::uintptr_t>(bytes) % alignof(Element) == 0) {
                const auto* const first = reinterpret_cast<const Element*>(bytes);
                return T(first, first + count);
            }
            return T(Block{bytes}, Block{bytes + count * sizeof(Element)});
        } else {
            T result;
            reserve<Element>(result, count, in);
            for (std::size_t i = 0; i < count; ++i) result.push_back(get_element<Element>(in));
            return result;
        }
    }
};

template <class T>
struct Coder<T, Shape::borrowed> {
    static void encode(Encoder& out, const T& value) {
        const Nesting level = Wire::nest<T>(out);
        Wire::put_size(out, value.size());
        put_range(out, value);
    }
};

template <class T>
struct Coder<T, Shape::forward_list> {
    using Element = typename T::value_type;

    static void encode(Encoder& out, const T& value) {
        const Nesting level = Wire::nest<T>(out);
        Wire::put_size(out, static_cast<std::size_t>(std::distance(value.begin(), value.end())));
        put_range(out, value);
    }
    static T decode(Decoder& in) {
        const Nesting level = Wire::nest<T>(in);
        const std::size_t count = get_element_count<T, Element>(in);
        T result;
        auto last = result.before_begin();
        for (std::size_t i = 0; i < count; ++i) last = result.emplace_after(last, get_element<Element>(in));
        return result;
    }
};

template <class T>
struct Coder<T, Shape::associative> {
    static constexpr bool is_map = requires { typename T::mapped_type; };
    using Key = typename T::key_type;

    static void encode(Encoder& out, const T& value) {
        const Nesting level = Wire::nest<T>(out);
        Wire::put_size(out, value.size());
        for (const auto& element : value) {
            if constexpr (is_map) {
                put_element<Key>(out, element.first);
                put<typename T::mapped_type>(out, element.second);
            } else {
                put_element<Key>(out, element);
            }
        }
    }
    static T decode(Decoder& in) {
        const Nesting level = Wire::nest<T>(in);
        const std::size_t count = get_element_count<T, Key>(in);
        T result;
        reserve<typename T::value_type>(result, count, in);
        for (std::size_t i = 0; i < count; ++i) {
            Key key = get_element<Key>(in);
            // What was written in order goes to the end without a search.
            if constexpr (is_map) {
                auto mapped = get<typename T::mapped_type>(in);
                result.emplace_hint(result.end(), std::move(key), std::move(mapped));
            } else {
                result.emplace_hint(result.end(), std::move(key));
            }
            if (result.size() != i + 1) decode_error<T>("the same key twice");
        }
        return result;
    }
};

template <class T>
struct Coder<T, Shape::array> {
    using Element = std::remove_cv_t<typename T::value_type>;
    static constexpr std::size_t count = std::tuple_size<T>::value;

    static void encode(Encoder& out, const T& value) {
        if constexpr (Bitwise<T>) {
            Wire::put_bits(out, value);
        } else {
            for (const Element& element : value) put<Element>(out, element);
        }
    }
    static T decode(Decoder& in) {
        if constexpr (Bitwise<T>) {
            return from_bytes<T>(Wire::get_block<T>(in, sizeof(T)));
        } else if constexpr (std::is_default_constructible_v<Element> && std::is_move_assignable_v<Element>) {
            T result{};
            for (Element& element : result) element = get<Element>(in);
            return result;
        } else {
            return decode_each(in, std::make_index_sequence<count>());
        }
    }

private:
    template <std::size_t>
    static Element decode_at(Decoder& in) {
        return get<Element>(in);
    }
    template <std::size_t... I>
    static T decode_each(Decoder& in, std::index_sequence<I...>) {
        return T{{decode_at<I>(in)...}};  // braces: from left to right
    }
};

template <class T>
struct Coder<T, Shape::bitset> {
    static void encode(Encoder& out, const T& value) {
        for (std::size_t first = 0; first < value.size(); first += 8) {
            unsigned byte = 0;
            for (std::size_t i = first; i < first + 8; ++i) {
                if (i < value.size() && value.test(i)) byte |= 1U << (i - first);
            }
            Wire::put_bits(out, static_cast<std::uint8_t>(byte));
        }
    }
    static T decode(Decoder& in) {
        T result;
        for (std::size_t first = 0; first < result.size(); first += 8) {
            const unsigned byte = Wire::get_bits<std::uint8_t, T>(in);
            for (std::size_t i = first; i < first + 8; ++i) {
                const bool bit = ((byte >> (i - first)) & 1U) != 0;
                if (i < result.size()) {
                    result.set(i, bit);
                } else if (bit) {
                    decode_error<T>("a bit past the end");
                }
            }
        }
        return result;
    }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
