// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// The results of a process pool's imap and imap_unordered, read one by one.

using namespace std::chrono_literals;
using namespace support;
using plait::CodecError;
using plait::PoolTerminatedError;
using plait::ProcessDied;
using plait::TimeoutError;
using plait::UsageError;
using plait::multiprocessing::MapOptions;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;

namespace {

int square_or_fail(int x) {
    if (x == 3) throw std::out_of_range("three");
    if (x == 5) die_by(SIGKILL);
    return square(x);
}

/// Stands at a gate where it is given one.
int pass_or_go(const std::string& path, int x) {
    if (!path.empty()) pass_gate(path);
    return x;
}
int pass_or_go_pair(const std::pair<std::string, int>& item) { return pass_or_go(item.first, item.second); }

std::filesystem::path visit(const std::string& file) {
    std::filesystem::create_directory(file);
    return file;
}

/// What the codec refuses to send.
struct StubbornItem {
    bool refuses = false;
};

template <class Results>
std::vector<int> all_of(Results&& results) {
    std::vector<int> all;
    for (const int each : results) all.push_back(each);
    return all;
}

/// What an item's turn brings: its value's text, or the exception's name.
template <class Results>
std::string turn_of(Results& results) {
    try {
        return std::to_string(results.next(30s).value());
    } catch (const std::out_of_range&) {
        return "out_of_range";
    } catch (const ProcessDied&) {
        return "ProcessDied";
    } catch (const PoolTerminatedError&) {
        return "PoolTerminatedError";
    } catch (const CodecError&) {
        return "CodecError";
    }
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<StubbornItem> {
    static void encode(Encoder& out, const StubbornItem& value) {
        if (value.refuses) throw CodecError("it refuses to go");
        out.write(value.refuses);
    }
    static StubbornItem decode(Decoder& in) { return {in.read<bool>()}; }
};

namespace {

int take_item(const StubbornItem&) { return 1; }

}  // namespace

TEST_CASE("imap gives the results in the items' order, and imap_unordered all of them") {
    const Shape shape = any_shape();
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{7}, std::size_t{50}, std::size_t{51});
    CAPTURE(shape, chunk_size);
    Pool pool(shape.with());
    std::vector<int> squares;
    for (const int i : numbers_up_to(50)) squares.push_back(i * i);
    CHECK(all_of(pool.imap(square, numbers_up_to(50), chunk_size)) == squares);
    CHECK(all_of(pool.imap(square, numbers_up_to(50), {.chunk_size = chunk_size})) == squares);
    auto unordered = all_of(pool.imap_unordered(square, numbers_up_to(50), chunk_size));
    std::sort(unordered.begin(), unordered.end());
    CHECK(unordered == squares);
}

TEST_CASE("an imap of nothing is at its end at once") {
    Pool pool(any_shape().with());
    CHECK(all_of(pool.imap(square, std::vector<int>{})).empty());
    CHECK(all_of(pool.imap_unordered(square, std::vector<int>{}, 7)).empty());
}

TEST_CASE("imap takes the number of items in a chunk that it can do with") {
    Pool pool(any_shape().with());
    CHECK(all_of(pool.imap(square, numbers_up_to(5), 0)) == std::vector{0, 1, 4, 9, 16});
    CHECK(all_of(pool.imap(square, numbers_up_to(5), static_cast<std::size_t>(-1))).size() == 5);
}

TEST_CASE("each result is there before the items after it are done") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Gate gate;
    Pool pool(shape.with());
    const std::vector<std::pair<std::string, int>> items{{"", 1}, {gate.path(), 2}, {"", 3}};
    auto results = pool.imap(pass_or_go_pair, items);
    CHECK(results.next(30s) == 1);
    REQUIRE(gate.reached());
    CHECK_THROWS_AS(results.next(0s), TimeoutError);
    CHECK_THROWS_AS(results.next(10ms), TimeoutError);
    gate.open();
    CHECK(results.next(30s) == 2);
    CHECK(results.next(30s) == 3);
}

TEST_CASE("the unordered results come as they are done, whatever the first does") {
    const Shape shape{GENERATE(2, 8), any_start_method()};
    CAPTURE(shape);
    Gate gate;
    Pool pool(shape.with());
    const std::vector<std::pair<std::string, int>> items{{gate.path(), 1}, {"", 2}, {"", 3}};
    auto results = pool.imap_unordered(pass_or_go_pair, items);
    const int first = results.next(30s).value();
    const int second = results.next(30s).value();
    CHECK(first + second == 5);
    REQUIRE(gate.reached());
    CHECK_THROWS_AS(results.next(0s), TimeoutError);
    gate.open();
    CHECK(results.next(30s) == 1);
}

TEST_CASE("an item that failed, or died, is an error at its turn, and the others are read all the same") {
    const Shape shape = any_shape();
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{8});
    CAPTURE(shape, chunk_size);
    const std::vector<std::string> expected{"0", "1", "4", "out_of_range", "16", "ProcessDied", "36", "49"};
    Pool pool(shape.with());
    std::vector<std::string> turns;
    auto ordered = pool.imap(square_or_fail, numbers_up_to(8), chunk_size);
    for (int i = 0; i < 8; ++i) turns.push_back(turn_of(ordered));
    CHECK(turns == expected);
    turns.clear();
    auto unordered = pool.imap_unordered(square_or_fail, numbers_up_to(8), chunk_size);
    for (int i = 0; i < 8; ++i) turns.push_back(turn_of(unordered));
    auto sorted = expected;
    std::sort(sorted.begin(), sorted.end());
    std::sort(turns.begin(), turns.end());
    CHECK(turns == sorted);
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("an item that cannot be sent fails at its turn, and it alone") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    auto results = pool.imap(take_item, std::vector<StubbornItem>{{}, {true}, {}});
    CHECK(turn_of(results) == "1");
    CHECK(turn_of(results) == "CodecError");
    CHECK(turn_of(results) == "1");
}

TEST_CASE("a range that throws has its error after the results of what it gave before") {
    const Shape shape = any_shape();
    const int thrower = GENERATE(0, 1, 5);
    CAPTURE(shape, thrower);
    Pool pool(shape.with());
    auto broken = std::views::iota(0, 10) | std::views::transform([thrower](int x) {
                      if (x == thrower) throw std::range_error("the range broke");
                      return x;
                  });
    auto results = pool.imap(square, broken);
    for (int i = 0; i < thrower; ++i) CHECK(results.next(30s) == i * i);
    CHECK_THROWS_AS(results.next(30s), std::range_error);
    CHECK(pool.map(square, numbers_up_to(3)) == std::vector{0, 1, 4});
}

TEST_CASE("an imap that nobody reads to its end leaves nothing behind, and what has not begun never begins") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    TemporaryFolder folder;
    Pool pool(shape.with());
    std::vector<Gate> gates(shape.count());
    {
        std::vector<std::pair<std::string, int>> items{{"", 1}};
        for (Gate& gate : gates) items.emplace_back(gate.path(), 2);
        auto results = pool.imap(pass_or_go_pair, items);
        CHECK(results.next(30s) == 1);
        for (Gate& gate : gates) REQUIRE(gate.reached());
        // Every worker is at a gate: of these none can begin while they are wanted.
        auto unread = pool.imap_unordered(visit, std::vector{folder.file("a"), folder.file("b")});
        CHECK_THROWS_AS(unread.next(0s), TimeoutError);
    }
    for (Gate& gate : gates) gate.open();
    CHECK(pool.map(square, numbers_up_to(20), 1).size() == 20);
    CHECK_FALSE(std::filesystem::exists(folder.file("a")));
    CHECK_FALSE(std::filesystem::exists(folder.file("b")));
    pool.close();
    CHECK(pool.join(30s));
}

TEST_CASE("the results of an imap outlive their pool") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    std::optional<decltype(std::declval<Pool&>().imap(square, std::vector<int>{}))> results;
    {
        Pool pool(shape.with());
        results.emplace(pool.imap(square, numbers_up_to(5)));
    }
    CHECK(all_of(*results) == std::vector{0, 1, 4, 9, 16});
}

TEST_CASE("what a terminated pool has not done is PoolTerminatedError or ProcessDied at its turn") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<Gate> gates(shape.count());
    std::vector<std::pair<std::string, int>> items{{"", 1}};
    for (Gate& gate : gates) items.emplace_back(gate.path(), 2);
    items.emplace_back("", 3);
    auto results = pool.imap(pass_or_go_pair, items);
    CHECK(results.next(30s) == 1);
    for (Gate& gate : gates) REQUIRE(gate.reached());
    pool.terminate();
    for (int i = 0; i < shape.processes; ++i) CHECK(turn_of(results) == "ProcessDied");
    CHECK(turn_of(results) == "PoolTerminatedError");
    CHECK(pool.join(30s));
    CHECK_THROWS_AS(pool.imap(square, numbers_up_to(3)), UsageError);
    CHECK_THROWS_AS(pool.imap_unordered(square, numbers_up_to(3)), UsageError);
}

TEST_CASE("an item of an imap that runs over its time is TaskTimeoutError at its turn") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto stay_at_two = [](int x) { return x == 2 ? run_for_ever(x) : x; };
    Pool pool(shape.with({.termination_grace = 100ms}));
    auto results = pool.imap(stay_at_two, numbers_up_to(4), MapOptions{.chunk_size = 2, .timeout = 1s});
    CHECK(results.next(30s) == 0);
    CHECK(results.next(30s) == 1);
    CHECK_THROWS_AS(results.next(30s), plait::TaskTimeoutError);
    CHECK(results.next(30s) == 3);
}

TEST_CASE("several imaps are read side by side, each by a thread of its own, while workers die") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            auto results = i % 2 == 0 ? pool.imap(square_or_fail, numbers_up_to(60), 4)
                                      : pool.imap_unordered(square_or_fail, numbers_up_to(60), 4);
            int values = 0;
            int failures = 0;
            for (int k = 0; k < 60; ++k) {
                const std::string turn = turn_of(results);
                ++(turn == "out_of_range" || turn == "ProcessDied" ? failures : values);
            }
            right += values == 58 && failures == 2;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 4);
}

TEST_CASE("ten thousand items through an imap come in order") {
    const Shape shape = any_shape();
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{100});
    CAPTURE(shape, chunk_size);
    Pool pool(shape.with());
    int next = 0;
    bool in_order = true;
    for (const int each : pool.imap([](int x) { return x + 1; }, numbers_up_to(10'000), chunk_size))
        in_order = in_order && each == ++next;
    CHECK(in_order);
    CHECK(next == 10'000);
}
