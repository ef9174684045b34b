// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec/containers.hpp>

#include <plait/multiprocessing/codec.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <forward_list>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

using plait::CodecError;
using plait::multiprocessing::decode;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::encode;
using plait::multiprocessing::Encoder;

namespace {

struct Nothing {
    bool operator==(const Nothing&) const = default;
};
struct Spot {
    double x, y;
    bool operator==(const Spot&) const = default;
};
struct NoDefault {
    explicit NoDefault(int n) : number{n} {}
    bool operator==(const NoDefault&) const = default;
    int number;
};
struct Silent {
    Silent() {}
    bool operator==(const Silent&) const = default;
};
struct Chain {
    std::unique_ptr<Chain> next;
};

/// The most that one allocation asked for since the last reset, in bytes.
std::size_t& largest_allocation() {
    static std::size_t largest = 0;
    return largest;
}

template <class T>
struct Counting {
    using value_type = T;
    Counting() = default;
    template <class Other>
    Counting(const Counting<Other>&) {}  // NOLINT: an allocator converts
    T* allocate(std::size_t count) {
        largest_allocation() = (std::max)(largest_allocation(), count * sizeof(T));
        return std::allocator<T>{}.allocate(count);
    }
    void deallocate(T* pointer, std::size_t count) { std::allocator<T>{}.deallocate(pointer, count); }
    friend bool operator==(Counting, Counting) { return true; }
};

template <class T>
bool arrives_equal(const T& value) {
    return decode<T>(encode(value)) == value;
}

template <class T>
bool is_refused(std::span<const std::byte> bytes) {
    try {
        (void)decode<T>(bytes);
        return false;
    } catch (const CodecError&) {
        return true;
    }
}

/// Whether a frame that promises `count` elements and holds `rest` bytes is refused, cheaply.
template <class T>
bool bomb_refused(std::uint64_t count, std::size_t rest) {
    Encoder out;
    out.write(count);
    out.write_bytes(std::vector<std::byte>(rest));
    largest_allocation() = 0;
    return is_refused<T>(out.bytes()) && largest_allocation() <= 1024 + 8 * rest;
}

Chain chain_of(unsigned length) {
    Chain chain;
    for (unsigned i = 0; i < length; ++i) {
        auto next = std::make_unique<Chain>();
        next->next = std::move(chain.next);
        chain.next = std::move(next);
    }
    return chain;
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<NoDefault> {
    static void encode(Encoder& out, const NoDefault& value) { out.write(value.number); }
    static NoDefault decode(Decoder& in) { return NoDefault{in.read<int>()}; }
};
template <>
struct plait::multiprocessing::Codec<Silent> {
    static void encode(Encoder&, const Silent&) {}
    static Silent decode(Decoder&) { return {}; }
};

TEST_CASE("every standard container comes back") {
    CHECK(arrives_equal(std::string("text\0with zero", 14)));
    CHECK(arrives_equal(std::wstring(L"wide")));
    CHECK(arrives_equal(std::u8string(u8"eight")));
    CHECK(arrives_equal(std::u16string(u"sixteen")));
    CHECK(arrives_equal(std::vector<int>{1, 2, 3}));
    CHECK(arrives_equal(std::vector<bool>{true, false, true}));
    CHECK(arrives_equal(std::vector<std::string>{"one", "", "three"}));
    CHECK(arrives_equal(std::vector<std::vector<Spot>>{{{1, 2}}, {}, {{3, 4}, {5, 6}}}));
    CHECK(arrives_equal(std::deque<int>{1, 2, 3}));
    CHECK(arrives_equal(std::list<std::string>{"one", "two"}));
    CHECK(arrives_equal(std::forward_list<std::string>{"one", "two"}));
    CHECK(arrives_equal(std::set<std::string>{"a", "b"}));
    CHECK(arrives_equal(std::multiset<int>{1, 1, 2}));
    CHECK(arrives_equal(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}}));
    CHECK(arrives_equal(std::multimap<int, char>{{1, 'a'}, {1, 'b'}}));
    CHECK(arrives_equal(std::unordered_set<int>{1, 2, 3}));
    CHECK(arrives_equal(std::unordered_map<std::string, Spot>{{"a", {1, 2}}, {"b", {3, 4}}}));
    CHECK(arrives_equal(std::unordered_multimap<int, int>{{1, 1}, {1, 2}}));
    CHECK(arrives_equal(std::array<int, 3>{1, 2, 3}));
    CHECK(arrives_equal(std::array<std::string, 2>{"one", "two"}));
    CHECK(arrives_equal(std::array<bool, 0>{}));
    CHECK(arrives_equal(std::bitset<13>{0b1010101010101}));
    CHECK(arrives_equal(std::bitset<0>{}));
}

TEST_CASE("an order of its own survives, and so does the last of many") {
    std::vector<int> numbers(10'000);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int>(i * 7919 % 10'007);
    CHECK(arrives_equal(numbers));
    CHECK(arrives_equal(std::list<int>(numbers.begin(), numbers.end())));
    CHECK(arrives_equal(std::set<int>(numbers.begin(), numbers.end())));
    CHECK(arrives_equal(std::unordered_set<int>(numbers.begin(), numbers.end())));
}

TEST_CASE("elements need no default, and may be such as only move") {
    CHECK(arrives_equal(std::vector<NoDefault>{NoDefault{1}, NoDefault{2}}));
    CHECK(arrives_equal(std::list<NoDefault>{NoDefault{1}}));
    CHECK(arrives_equal(std::array<NoDefault, 2>{NoDefault{1}, NoDefault{2}}));
    std::vector<std::unique_ptr<int>> owners;
    owners.push_back(std::make_unique<int>(7));
    owners.push_back(nullptr);
    const auto back = decode<std::vector<std::unique_ptr<int>>>(encode(owners));
    REQUIRE(back.size() == 2);
    CHECK(*back[0] == 7);
    CHECK(back[1] == nullptr);
}

TEST_CASE("a block of trivial elements is its size and its memory, whatever its alignment") {
    const std::vector<Spot> points{{1, 2}, {3, 4}};
    CHECK(encode(points).size() == sizeof(std::uint64_t) + 2 * sizeof(Spot));
    for (std::size_t offset = 0; offset < alignof(Spot); ++offset) {
        std::vector<std::byte> bytes(offset);
        const auto encoded = encode(points);
        bytes.insert(bytes.end(), encoded.begin(), encoded.end());
        CHECK(decode<std::vector<Spot>>(std::span(bytes).subspan(offset)) == points);
    }
}

TEST_CASE("a view is encoded as what it shows") {
    const std::vector<int> numbers{1, 2, 3};
    CHECK(encode(std::string_view("text")) == encode(std::string("text")));
    CHECK(encode(std::span<const int>(numbers)) == encode(numbers));
    const std::vector<std::string> texts{"a", "b"};
    CHECK(encode(std::span<const std::string>(texts)) == encode(texts));
}

TEST_CASE("elements that take no bytes are counted all the same") {
    CHECK(arrives_equal(std::vector<Nothing>(1'000)));
    CHECK(arrives_equal(std::list<std::tuple<>>(3)));
    CHECK(arrives_equal(std::vector<Silent>(5)));
    CHECK(arrives_equal(std::vector<std::array<int, 0>>(5)));
    CHECK(encode(std::vector<Nothing>(5)).size() == sizeof(std::uint64_t) + 5);
    CHECK(is_refused<std::vector<Nothing>>(encode(std::uint64_t{1}, std::uint8_t{1})));
}

TEST_CASE("a count that the bytes cannot hold is refused before anything is allocated for it") {
    using Bytes = std::vector<std::uint8_t, Counting<std::uint8_t>>;
    using Numbers = std::vector<double, Counting<double>>;
    using Texts = std::vector<std::string, Counting<std::string>>;
    using Large = std::vector<std::optional<std::array<char, 4096>>, Counting<std::optional<std::array<char, 4096>>>>;
    using Empties = std::vector<Nothing, Counting<Nothing>>;
    using Flags = std::vector<bool, Counting<bool>>;
    using Hashed = std::unordered_map<int, int, std::hash<int>, std::equal_to<>, Counting<std::pair<const int, int>>>;
    using Text = std::basic_string<char, std::char_traits<char>, Counting<char>>;
    const std::uint64_t one = 1;
    for (const std::uint64_t count :
         {one << 31, one << 32, one << 40, one << 60, one << 61, one << 63, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
        for (const std::size_t rest : {std::size_t{0}, std::size_t{8}, std::size_t{100}}) {
            CHECK(bomb_refused<Bytes>(count, rest));
            CHECK(bomb_refused<Numbers>(count, rest));
            CHECK(bomb_refused<Texts>(count, rest));
            CHECK(bomb_refused<Large>(count, rest));
            CHECK(bomb_refused<Empties>(count, rest));
            CHECK(bomb_refused<Flags>(count, rest));
            CHECK(bomb_refused<Hashed>(count, rest));
            CHECK(bomb_refused<Text>(count, rest));
        }
    }
    CHECK(bomb_refused<Numbers>(13, 12 * sizeof(double)));
    CHECK(bomb_refused<Numbers>((one << 61) + 1, sizeof(double)));  // the size in bytes would overflow to 8
}

TEST_CASE("a count that the bytes might hold reserves no more than they make likely") {
    using Large = std::vector<std::optional<std::array<char, 4096>>, Counting<std::optional<std::array<char, 4096>>>>;
    Encoder out;
    out.write(std::uint64_t{10'000});
    out.write_bytes(std::vector<std::byte>(10'000, std::byte{2}));  // each could be an empty optional, but is none
    largest_allocation() = 0;
    CHECK(is_refused<Large>(out.bytes()));
    CHECK(largest_allocation() < 100'000);
}

TEST_CASE("a key that is there twice is refused, and one that equals nothing does no harm") {
    const auto twice = encode(std::uint64_t{2}, 1, 1);
    CHECK(is_refused<std::set<int>>(twice));
    CHECK(is_refused<std::unordered_set<int>>(twice));
    CHECK(decode<std::multiset<int>>(twice).size() == 2);
    const auto map_twice = encode(std::uint64_t{2}, 1, 'a', 1, 'b');
    CHECK(is_refused<std::map<int, char>>(map_twice));
    CHECK(is_refused<std::unordered_map<int, char>>(map_twice));
    CHECK(decode<std::set<int>>(encode(std::uint64_t{3}, 3, 1, 2)) == std::set<int>{1, 2, 3});

    const auto nans = encode(std::uint64_t{2}, std::nan(""), std::nan(""));
    CHECK(decode<std::unordered_set<double>>(nans).size() == 2);
    CHECK(is_refused<std::set<double>>(nans));
}

TEST_CASE("bits past the end of a bitset are refused") {
    CHECK(decode<std::bitset<3>>(encode(std::uint8_t{7})).all());
    CHECK(is_refused<std::bitset<3>>(encode(std::uint8_t{8})));
}

TEST_CASE("nesting ends at a limit in both directions, long before the stack does") {
    constexpr unsigned limit = plait::multiprocessing::detail::max_depth;
    const auto deepest = encode(chain_of(limit - 1));
    CHECK_NOTHROW(decode<Chain>(deepest));
    CHECK_THROWS_AS(encode(chain_of(limit)), CodecError);

    std::vector<std::byte> one_too_deep(limit, std::byte{1});
    one_too_deep.push_back(std::byte{0});
    CHECK(is_refused<Chain>(one_too_deep));
    const std::vector<std::byte> hostile(1'000'000, std::byte{1});
    CHECK(is_refused<Chain>(hostile));
    Encoder out;
    for (int i = 0; i < 20; ++i) {
        CHECK_THROWS_AS(out.write(chain_of(limit)), CodecError);
        out.clear();
    }
    out.write(chain_of(limit - 1));
    CHECK(out.size() == deepest.size());
}
