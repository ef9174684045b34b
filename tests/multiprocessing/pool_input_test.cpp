// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <initializer_list>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <ranges>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

// What a pool is fed with, and what comes back: ranges of every kind, values of every size, and bytes that lie.

using namespace std::chrono_literals;
using namespace support;
using plait::CodecError;
using plait::Future;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace {

/// A range of the numbers from 0 to `count`, which says that it has `said` of them and throws at number `thrower`.
struct Liar {
    struct Iterator {
        using value_type = int;
        using difference_type = std::ptrdiff_t;

        int operator*() const {
            if (at == liar->thrower) throw std::range_error("number " + std::to_string(at));
            return at;
        }
        Iterator& operator++() {
            ++at;
            return *this;
        }
        void operator++(int) { ++at; }
        friend bool operator==(const Iterator& a, const Iterator& b) { return a.at == b.at; }

        const Liar* liar = nullptr;
        int at = 0;
    };

    [[nodiscard]] Iterator begin() const {
        if (throws_at_begin) throw std::range_error("no beginning");
        return {this, 0};
    }
    [[nodiscard]] Iterator end() const { return {this, count}; }
    [[nodiscard]] std::size_t size() const { return said; }

    int count = 0;
    std::size_t said = 0;
    int thrower = -1;
    bool throws_at_begin = false;
};

/// What travels as `bytes` and is taken for a `T` where it arrives.
template <class T>
struct Forged {
    std::vector<std::byte> bytes;
};

template <class T>
std::size_t accept(const Forged<T>& value) {
    return value.bytes.size();
}
template <class T>
Forged<T> hand_out(std::vector<std::byte> bytes) {
    return {std::move(bytes)};
}

struct Nothing {};
struct BranchingTree {
    int number = 0;
    std::vector<BranchingTree> branches;
};

std::vector<std::byte> random_bytes(std::mt19937& random) {
    std::vector<std::byte> bytes(random() % 40);
    // Small numbers are more likely to be taken for counts.
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % 3 == 0 ? random() % 256 : random() % 4);
    return bytes;
}

std::vector<std::byte> numbers(std::initializer_list<std::uint64_t> values) {
    plait::multiprocessing::Encoder out;
    for (const std::uint64_t value : values) out.write(value);
    return out.take();
}

/// Sends `bytes` both ways as a `T`: each time a value, or a CodecError.
template <class T>
void forge(Pool& pool, const std::vector<std::byte>& bytes) {
    for (const bool result : {false, true}) {
        try {
            if (result)
                static_cast<void>(pool.apply_async(hand_out<T>, bytes).get(30s));
            else
                static_cast<void>(pool.apply_async(accept<T>, Forged<T>{bytes}).get(30s));
        } catch (const CodecError&) {
        }
    }
}

}  // namespace

template <class T>
struct plait::multiprocessing::Codec<Forged<T>> {
    static void encode(Encoder& out, const Forged<T>& value) { out.write_bytes(value.bytes); }
    static Forged<T> decode(Decoder& in) {
        static_cast<void>(in.read<T>());
        return {};
    }
};

TEST_CASE("a range is what it gives, not what it says that it has") {
    const Shape shape = any_shape();
    const std::size_t chunk_size = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{7});
    CAPTURE(shape, chunk_size);
    Pool pool(shape.with());
    CHECK(pool.map(square, Liar{.count = 3, .said = 1000}, chunk_size) == std::vector{0, 1, 4});
    CHECK(pool.map(square, Liar{.count = 3, .said = 1}, chunk_size) == std::vector{0, 1, 4});
    CHECK(pool.map(square, Liar{.count = 3, .said = static_cast<std::size_t>(-1)}, chunk_size).size() == 3);
    CHECK(pool.map(square, Liar{.count = 0, .said = 5}, chunk_size).empty());
}

TEST_CASE("a range that throws throws here, at its first item, in its middle and at its begin, and nothing has run") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    for (const int thrower : {0, 1, 99})
        CHECK_THROWS_AS(pool.map(square, Liar{.count = 100, .thrower = thrower}, 10), std::range_error);
    CHECK_THROWS_AS(pool.map_async(square, Liar{.count = 100, .throws_at_begin = true}), std::range_error);
    CHECK(pool.map(square, numbers_up_to(3)) == std::vector{0, 1, 4});
    REQUIRE(within(30s, [&] { return all_idle(pool, shape.count()); }));
    std::uint64_t done = 0;
    for (const auto& worker : pool.workers()) done += worker.tasks_done;
    CHECK(done == 3);
}

TEST_CASE("map takes ranges of every kind") {
    Pool pool(any_shape().with());
    const std::vector<int> squares{1, 4, 9};
    int array[] = {1, 2, 3};
    CHECK(pool.map(square, array) == squares);
    CHECK(pool.map(square, std::array{1, 2, 3}) == squares);
    CHECK(pool.map(square, std::initializer_list<int>{1, 2, 3}) == squares);
    CHECK(pool.map(square, std::deque{1, 2, 3}) == squares);
    CHECK(pool.map(square, std::forward_list{1, 2, 3}) == squares);
    CHECK(pool.map(square, std::set{3, 2, 1}) == squares);
    CHECK(pool.map(square, std::span{array}) == squares);
    CHECK(pool.map(square, std::vector<short>{1, 2, 3}) == squares);
    // Read once, and never again.
    std::istringstream text{"1 2 3"};
    CHECK(pool.map(square, std::ranges::subrange(std::istream_iterator<int>{text}, std::istream_iterator<int>{})) ==
          squares);
    CHECK(pool.map([](bool b) { return !b; }, std::vector<bool>{true, false}) == std::vector<bool>{false, true});
    CHECK(pool.map([](char c) { return static_cast<char>(c + 1); }, std::string("abc")) ==
          std::vector<char>{'b', 'c', 'd'});
    CHECK(pool.map([](const std::string& word) { return word.size(); }, std::vector{"a", "bcd"}) ==
          std::vector<std::size_t>{1, 3});
    CHECK(pool.starmap([](int a, int b) { return a - b; }, std::map<int, int>{{5, 1}, {7, 2}}) == std::vector{4, 5});
    CHECK(pool.starmap([](int a) { return -a; }, std::vector{std::tuple{1}}) == std::vector{-1});
    CHECK(pool.starmap([] { return 7; }, std::vector<std::tuple<>>(3)) == std::vector{7, 7, 7});
}

TEST_CASE("many items keep their order, whatever the chunk") {
    const Shape shape = any_shape();
    const int count = 10'001;
    const std::size_t chunk_size = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{10'000},
                                            std::size_t{10'001}, std::size_t{10'002});
    CAPTURE(shape, chunk_size);
    Pool pool(shape.with());
    std::vector<int> expected;
    for (const int i : numbers_up_to(count)) expected.push_back(i + 1);
    CHECK((pool.map([](int x) { return x + 1; }, numbers_up_to(count), chunk_size) == expected));
}

TEST_CASE("large values go both ways at once, to every worker") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto echo = [](const std::vector<std::uint64_t>& values) { return values; };
    Pool pool(shape.with());
    std::vector<std::vector<std::uint64_t>> sent;
    std::vector<Future<std::vector<std::uint64_t>>> futures;
    for (std::size_t i = 0; i < 12; ++i) {
        // Of 8 bytes, around the sizes that something might be cut at, and megabytes.
        const std::size_t sizes[] = {1, 511, 512, 513, 8191, 8192, 8193, 65'536, 131'072, 300'000};
        std::vector<std::uint64_t> values(sizes[i % std::size(sizes)]);
        for (std::size_t k = 0; k < values.size(); ++k) values[k] = i * 1'000'003 + k;
        futures.push_back(pool.apply_async(echo, values));
        sent.push_back(std::move(values));
    }
    for (std::size_t i = 0; i < sent.size(); ++i) CHECK((futures[i].get(30s) == sent[i]));
    CHECK((pool.map(echo, sent, 5) == sent));
}

TEST_CASE("values of every size around the powers of two arrive whole") {
    const Shape shape{1, any_start_method()};
    CAPTURE(shape);
    constexpr auto echo = [](const std::string& text) { return text; };
    Pool pool(shape.with());
    std::vector<std::string> texts;
    for (std::size_t power = 1; power <= (std::size_t{1} << 17); power *= 2)
        for (const std::size_t size : {power - 1, power, power + 1})
            texts.emplace_back(size, static_cast<char>('a' + size % 26));
    for (const std::string& text : texts) CHECK((pool.apply(echo, text) == text));
    CHECK((pool.map(echo, texts, 1) == texts));
    CHECK((pool.map(echo, texts, texts.size()) == texts));
}

TEST_CASE("bytes that lie about their value are a CodecError, and the worker lives on") {
    const Shape shape{GENERATE(1, 2), any_start_method()};
    CAPTURE(shape);
    Pool pool(shape.with());
    const auto pids = pids_of(pool);
    // Counts with nothing behind them, or with elements that take no room; sizes whose sum or product overflows.
    for (const std::uint64_t count : {std::uint64_t{1} << 31, std::uint64_t{1} << 32, std::uint64_t{1} << 40,
                                      std::uint64_t{1} << 61, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        CAPTURE(count);
        forge<std::string>(pool, numbers({count}));
        forge<std::vector<int>>(pool, numbers({count, count}));
        forge<std::vector<std::string>>(pool, numbers({2, count, count}));
        forge<std::vector<Nothing>>(pool, numbers({count}));
        forge<std::map<int, std::string>>(pool, numbers({count, 1, 2}));
        forge<std::variant<int, std::string>>(pool, numbers({count}));
    }
    // Nested deeper than any stack is.
    std::vector<std::byte> deep;
    for (int i = 0; i < 200'000; ++i) {
        const auto level = numbers({1});
        deep.insert(deep.end(), 4, std::byte{0});
        deep.insert(deep.end(), level.begin(), level.end());
    }
    forge<BranchingTree>(pool, deep);
    CHECK(pool.map(square, numbers_up_to(3), 1) == std::vector{0, 1, 4});
    CHECK(pids_of(pool) == pids);
}

TEST_CASE("bytes by chance are some value or a CodecError, and the worker lives on") {
    const Shape shape{1, any_start_method()};
    const unsigned seed = std::random_device{}();
    CAPTURE(shape, seed);
    std::mt19937 random{seed};
    Pool pool(shape.with());
    const auto pids = pids_of(pool);
    for (int round = 0; round < rounds(50); ++round) {
        forge<std::vector<std::string>>(pool, random_bytes(random));
        forge<std::optional<std::vector<bool>>>(pool, random_bytes(random));
        forge<std::variant<int, std::string, std::vector<double>>>(pool, random_bytes(random));
        forge<std::map<std::string, std::pair<bool, StartMethod>>>(pool, random_bytes(random));
        forge<BranchingTree>(pool, random_bytes(random));
    }
    CHECK(pool.apply(square, 3) == 9);
    CHECK(pids_of(pool) == pids);
}

TEST_CASE("an item of a chunk that cannot be read there fails alone") {
    const Shape shape = any_shape();
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{3}, std::size_t{9});
    CAPTURE(shape, chunk_size);
    TemporaryFolder folder;
    constexpr auto visit = [](const std::string& file, const Forged<std::vector<int>>&) {
        std::fclose(std::fopen(file.c_str(), "we"));
        return 1;
    };
    std::vector<std::pair<std::string, Forged<std::vector<int>>>> items;
    for (int i = 0; i < 9; ++i)
        items.emplace_back(folder.file(std::to_string(i)),
                           Forged<std::vector<int>>{numbers({i == 4 ? 1'000'000U : 0U})});
    Pool pool(shape.with());
    CHECK_THROWS_AS(pool.starmap(visit, items, chunk_size), CodecError);
    for (int i = 0; i < 9; ++i) CHECK(std::filesystem::exists(folder.file(std::to_string(i))) == (i != 4));
}
