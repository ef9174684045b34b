// SPDX-License-Identifier: MIT
#include "fuzz.hpp"

#include <plait/multiprocessing/codec.hpp>

#include <algorithm>
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
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

// Bytes decoded as values of many types. What is accepted is encoded and decoded once more, and has to be the same.

namespace mp = plait::multiprocessing;

namespace {

enum class Colour : std::uint8_t { red, green };

struct Tree {
    int value;
    std::vector<Tree> children;
};
struct Chain {
    std::uint16_t value;
    std::unique_ptr<Chain> next;
};
struct Point {
    float x, y;
};
struct Empty {};
struct Record {
    std::string name;
    std::optional<Point> place;
    std::variant<std::monostate, int, std::string, std::vector<Colour>> what;
    std::array<std::uint8_t, 3> colour;
    bool good;
    std::map<std::string, std::vector<double>> measured;
};
struct Wide {
    std::int8_t a, b, c, d, e, f, g, h;
    std::vector<std::int16_t> i, j, k, l, m, n, o, p;
    std::optional<std::uint32_t> q, r, s, t, u, v, w, x;
    std::pair<char, bool> y, z, aa, bb;
    std::string cc, dd, ee, ff;
};

/// Whose elements come in any order.
template <class T>
constexpr bool is_ordered = true;
template <class K, class V>
constexpr bool is_ordered<std::unordered_map<K, V>> = false;

template <class T>
void try_type(std::span<const std::byte> bytes) {
    std::optional<T> value;
    if (!support::accepts([&] { value.emplace(mp::decode<T>(bytes)); })) return;
    const auto encoded = mp::encode(*value);
    support::require(encoded.size() == bytes.size());  // an encoding has no slack
    const T again = mp::decode<T>(encoded);
    const auto encoded_again = mp::encode(again);
    if constexpr (is_ordered<T>)
        support::require(encoded_again == encoded);
    else
        support::require(again == *value);
}

template <class... T>
struct Types {
    static void try_one(unsigned which, std::span<const std::byte> bytes) {
        unsigned i = 0;
        static_cast<void>(((i++ == which ? (try_type<T>(bytes), true) : false) || ...));
    }
    static constexpr unsigned count = sizeof...(T);
};

using All =
    Types<int, bool, double, long double, Colour, std::string, std::wstring, std::u8string, std::vector<std::uint8_t>,
          std::vector<bool>, std::vector<Empty>, std::vector<std::vector<std::vector<std::string>>>, std::vector<Point>,
          std::deque<std::string>, std::list<std::optional<int>>, std::forward_list<std::string>, std::set<std::string>,
          std::multiset<int>, std::map<int, std::map<int, Empty>>, std::multimap<std::string, Colour>,
          std::unordered_map<std::string, int>, std::tuple<bool, std::string, std::tuple<>, char>, std::bitset<70>,
          std::complex<float>, std::chrono::nanoseconds, std::chrono::system_clock::time_point, std::filesystem::path,
          std::variant<int, std::string, std::vector<bool>>, std::unique_ptr<std::vector<std::string>>, Tree, Chain,
          Record, Wide, std::optional<std::optional<bool>>, std::array<std::string, 3>>;

}  // namespace

void fuzz(std::span<const std::byte> bytes) {
    const unsigned which = support::choose(bytes, All::count);
    All::try_one(which, bytes);
}
