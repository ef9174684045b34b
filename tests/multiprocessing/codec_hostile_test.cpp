// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include "support/catch.hpp"

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

// Bytes that nobody encoded: whatever they are, decoding gives a value or a CodecError. The sanitizers watch.

using plait::CodecError;
using plait::multiprocessing::decode;
using plait::multiprocessing::encode;

namespace {

enum class Colour : std::uint8_t { red, green, blue };
struct Empty {
    bool operator==(const Empty&) const = default;
};
struct Point {
    float x, y;
    bool operator==(const Point&) const = default;
};
struct Node {
    std::int16_t value;
    std::vector<Node> children;
    std::unique_ptr<Node> next;
};
struct Everything {
    bool flag;
    Colour colour;
    std::string text;
    std::optional<Point> point;
    std::variant<std::monostate, int, std::vector<std::string>> variant;
    std::map<std::uint8_t, std::set<char>> map;
    std::array<std::string, 2> pair_of_texts;
    std::chrono::milliseconds time;
    bool operator==(const Everything&) const = default;
};

/// A random source that is the same in each run and on each standard library.
class Dice {
public:
    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(engine_()) % limit; }

private:
    std::mt19937 engine_{20'240'229};
};

// Random values of the zoo, by specialisation.
template <class T>
struct Any;

template <class T>
T any(Dice& dice) {
    return Any<T>::make(dice);
}

template <class T>
struct Any {
    static T make(Dice& dice) {
        if constexpr (std::is_same_v<T, bool>) {
            return dice.below(2) == 1;
        } else if constexpr (std::is_floating_point_v<T>) {
            return static_cast<T>(dice.below(1'000)) / 8 - 50;
        } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
            return static_cast<T>(dice.below(256));
        } else if constexpr (requires(T& container) { container.push_back(any<typename T::value_type>(dice)); }) {
            T result;
            for (std::uint32_t n = dice.below(5); n > 0; --n) result.push_back(any<typename T::value_type>(dice));
            return result;
        } else {
            T result;
            for (std::uint32_t n = dice.below(5); n > 0; --n) result.insert(any<typename T::value_type>(dice));
            return result;
        }
    }
};
template <class T>
struct Any<const T> : Any<T> {};
template <class T>
struct Any<std::forward_list<T>> {
    static std::forward_list<T> make(Dice& dice) {
        std::forward_list<T> result;
        for (std::uint32_t n = dice.below(5); n > 0; --n) result.push_front(any<T>(dice));
        return result;
    }
};
template <class First, class Second>
struct Any<std::pair<First, Second>> {
    static std::pair<First, Second> make(Dice& dice) { return {any<First>(dice), any<Second>(dice)}; }
};
template <class... Parts>
struct Any<std::tuple<Parts...>> {
    static std::tuple<Parts...> make([[maybe_unused]] Dice& dice) { return {any<Parts>(dice)...}; }
};
template <class T>
struct Any<std::optional<T>> {
    static std::optional<T> make(Dice& dice) {
        if (dice.below(2) == 0) return std::nullopt;
        return any<T>(dice);
    }
};
template <class T, std::size_t count>
struct Any<std::array<T, count>> {
    static std::array<T, count> make(Dice& dice) {
        std::array<T, count> result{};
        for (T& element : result) element = any<T>(dice);
        return result;
    }
};
template <class T>
struct Any<std::complex<T>> {
    static std::complex<T> make(Dice& dice) { return {any<T>(dice), any<T>(dice)}; }
};
template <std::size_t size>
struct Any<std::bitset<size>> {
    static std::bitset<size> make(Dice& dice) { return std::bitset<size>{dice.below(1U << 10)}; }
};
template <class Rep, class Period>
struct Any<std::chrono::duration<Rep, Period>> {
    static std::chrono::duration<Rep, Period> make(Dice& dice) {
        return std::chrono::duration<Rep, Period>{any<Rep>(dice)};
    }
};
template <>
struct Any<std::filesystem::path> {
    static std::filesystem::path make(Dice& dice) { return "/folder/file" + std::to_string(dice.below(100)); }
};
template <>
struct Any<std::monostate> {
    static std::monostate make(Dice&) { return {}; }
};
template <class... Alternatives>
struct Any<std::variant<Alternatives...>> {
    static std::variant<Alternatives...> make(Dice& dice) {
        std::variant<Alternatives...> result;
        std::uint32_t choice = dice.below(sizeof...(Alternatives));
        (void)((choice-- == 0 ? (result = any<Alternatives>(dice), true) : false) || ...);
        return result;
    }
};
template <>
struct Any<Empty> {
    static Empty make(Dice&) { return {}; }
};
template <>
struct Any<Point> {
    static Point make(Dice& dice) { return {any<float>(dice), any<float>(dice)}; }
};
template <>
struct Any<Node> {
    static Node make(Dice& dice) {
        Node node{any<std::int16_t>(dice), {}, nullptr};
        for (std::uint32_t n = dice.below(3); n > 0; --n)
            node.children.push_back({any<std::int16_t>(dice), {}, nullptr});
        if (dice.below(3) == 0) node.next = std::make_unique<Node>(make(dice));
        return node;
    }
};
template <>
struct Any<Everything> {
    static Everything make(Dice& dice) {
        return {any<bool>(dice),
                any<Colour>(dice),
                any<std::string>(dice),
                any<std::optional<Point>>(dice),
                any<decltype(Everything::variant)>(dice),
                any<decltype(Everything::map)>(dice),
                any<decltype(Everything::pair_of_texts)>(dice),
                any<std::chrono::milliseconds>(dice)};
    }
};

/// What decoding `bytes` did.
enum class Outcome { value, refused, unstable };

/// Decodes a `T`; an accepted value has to be encoded to what decodes to the same encoding again. (Not to `bytes`
/// themselves: a set may have been out of order.)
template <class T>
Outcome try_decode(std::span<const std::byte> bytes) {
    try {
        const auto once = encode(decode<T>(bytes));
        const auto twice = encode(decode<T>(once));
        // An unordered container may turn its order with each copy, but loses nothing.
        return once.size() == twice.size() ? Outcome::value : Outcome::unstable;
    } catch (const CodecError&) {
        return Outcome::refused;
    }
}

// The types whose bytes cannot end early without being missed.
using Zoo = std::tuple<int, bool, double, long double, Colour, std::string, std::wstring, std::vector<int>,
                       std::vector<bool>, std::vector<std::string>, std::vector<Empty>, std::vector<Point>,
                       std::deque<std::string>, std::list<std::pair<int, bool>>, std::forward_list<std::string>,
                       std::set<std::string>, std::map<int, std::string>, std::multimap<char, bool>,
                       std::unordered_set<int>, std::unordered_map<std::string, int>, std::array<std::string, 2>,
                       std::array<double, 3>, std::tuple<int, std::string, bool>, std::optional<std::string>,
                       std::variant<std::monostate, bool, std::string>, std::complex<double>, std::bitset<10>,
                       std::chrono::seconds, std::filesystem::path, Node, Everything, std::vector<Everything>>;

/// Calls `call.operator()<T>(dice)` for each type of the zoo.
template <class Call, std::size_t... I>
void for_each_type(Call call, std::index_sequence<I...>) {
    Dice dice;
    (call.template operator()<std::tuple_element_t<I, Zoo>>(dice), ...);
}
template <class Call>
void for_each_type(Call call) {
    for_each_type(call, std::make_index_sequence<std::tuple_size_v<Zoo>>());
}

template <class T>
std::string name() {
    return std::string(plait::multiprocessing::detail::type_name<T>());
}

}  // namespace

TEST_CASE("random values come back with the same encoding") {
    for_each_type([]<class T>(Dice& dice) {
        int failures = 0;
        for (int round = 0; round < 50; ++round) {
            const T value = any<T>(dice);
            const auto bytes = encode(value);
            const T back = decode<T>(bytes);
            if constexpr (!std::is_same_v<T, Node>) failures += !(back == value);
            failures += encode(back).size() != bytes.size();
        }
        INFO(name<T>());
        CHECK(failures == 0);
    });
}

TEST_CASE("every prefix of a frame is refused, and so is a byte too many") {
    for_each_type([]<class T>(Dice& dice) {
        int accepted = 0;
        for (int round = 0; round < 5; ++round) {
            auto bytes = encode(any<T>(dice));
            // A copy of exactly this size, so that the sanitizer sees a read past it.
            for (std::size_t size = 0; size < bytes.size(); ++size) {
                const std::vector<std::byte> prefix(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
                accepted += try_decode<T>(prefix) != Outcome::refused;
            }
            bytes.push_back(std::byte{0});
            accepted += try_decode<T>(bytes) != Outcome::refused;
        }
        INFO(name<T>());
        CHECK(accepted == 0);
    });
}

TEST_CASE("every bit flipped gives an error or a value that can be encoded again") {
    for_each_type([]<class T>(Dice& dice) {
        int unstable = 0;
        for (int round = 0; round < 5; ++round) {
            auto bytes = encode(any<T>(dice));
            if (bytes.size() > 256) continue;
            for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
                const auto mask = static_cast<std::byte>(1U << (bit % 8));
                bytes[bit / 8] ^= mask;
                unstable += try_decode<T>(bytes) == Outcome::unstable;
                bytes[bit / 8] ^= mask;
            }
        }
        INFO(name<T>());
        CHECK(unstable == 0);
    });
}

TEST_CASE("random bytes give an error or a value that can be encoded again") {
    for_each_type([]<class T>(Dice& dice) {
        int unstable = 0;
        for (int round = 0; round < 300; ++round) {
            std::vector<std::byte> bytes(dice.below(64));
            // Mostly small numbers: they make likely counts, indices and truth values.
            for (std::byte& byte : bytes) byte = static_cast<std::byte>(dice.below(dice.below(4) == 0 ? 256 : 3));
            unstable += try_decode<T>(bytes) == Outcome::unstable;
        }
        INFO(name<T>());
        CHECK(unstable == 0);
    });
}
