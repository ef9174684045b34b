// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// What a pool does where nothing goes wrong in its workers.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::CodecError;
using plait::Future;
using plait::UsageError;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace mp = plait::multiprocessing;

namespace {

double mean(double a, double b) { return (a + b) / 2; }
std::string join(const std::string& a, std::string b) { return a + b; }
void nothing(int) {}
int throw_for_odd(int x) {
    if (x % 2 != 0) throw std::out_of_range("odd: " + std::to_string(x));
    return x;
}

struct Scale {
    int factor = 1;
    int operator()(int x) const { return factor * x; }
};

struct LabelledPoint {
    int x = 0;
    std::string name;
    friend bool operator==(const LabelledPoint&, const LabelledPoint&) = default;
};
LabelledPoint moved_right(LabelledPoint point) {
    ++point.x;
    return point;
}

/// What the codec refuses at run time, one way or the other.
struct Stubborn {
    bool refuses_to_go = false;
    bool refuses_to_arrive = false;
};

}  // namespace

template <>
struct plait::multiprocessing::Codec<Stubborn> {
    static void encode(Encoder& out, const Stubborn& value) {
        if (value.refuses_to_go) throw CodecError("it refuses to go");
        out.write(value.refuses_to_arrive);
    }
    static Stubborn decode(Decoder& in) {
        if (in.read<bool>()) throw CodecError("it refuses to arrive");
        return {};
    }
};

namespace {

int take_stubborn(const Stubborn&) { return 1; }
Stubborn give_stubborn(bool refuses_to_go) { return {refuses_to_go, !refuses_to_go}; }

}  // namespace

TEST_CASE("a pool calls functions, lambdas and function objects with converted arguments") {
    Pool pool(any_shape().with());
    CHECK(pool.apply(square, 7) == 49);
    CHECK(pool.apply(&mean, 1, 2.0F) == 1.5);
    CHECK(pool.apply(join, "a", "b") == "ab");
    CHECK(pool.apply([](std::vector<int> numbers) { return numbers.size(); }, std::vector{1, 2}) == 2);
    CHECK(pool.apply([](auto text) { return text + "!"; }, "hey") == "hey!");
    CHECK(pool.apply(Scale{3}, 5) == 15);
    CHECK(pool.apply(mp::function<&square>, 5) == 25);
    CHECK(pool.apply(moved_right, LabelledPoint{1, "p"}) == LabelledPoint{2, "p"});
    pool.apply(nothing, 1);
    CHECK(pool.submit(square, 3).get(30s) == 9);
    CHECK(pool.apply(own_pid, 0) != ::getpid());
}

TEST_CASE("map gives the results in the items' order, whatever the chunk") {
    Pool pool(any_shape().with());
    const auto items = numbers_up_to(100);
    std::vector<int> squares;
    for (const int i : items) squares.push_back(i * i);
    for (const std::size_t chunk : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{100}, std::size_t{101},
                                    static_cast<std::size_t>(-1)})
        CHECK(pool.map(square, items, chunk) == squares);
    CHECK(pool.map(square, std::list{1, 2, 3}) == std::vector{1, 4, 9});
    CHECK(pool.map(square, std::views::iota(0, 4)) == std::vector{0, 1, 4, 9});
    CHECK(pool.map([](int x) { return x > 1; }, std::vector{1, 2}) == std::vector{false, true});
    pool.map(nothing, items);
    CHECK(pool.starmap(mean, std::vector{std::tuple{1.0, 3.0}, std::tuple{2.0, 4.0}}) == std::vector{2.0, 3.0});
    CHECK(pool.starmap(join, std::map<std::string, std::string>{{"a", "b"}}) == std::vector<std::string>{"ab"});
}

TEST_CASE("a map of nothing is done at once") {
    Pool pool(any_shape().with());
    const std::vector<int> none;
    for (const std::size_t chunk : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
        auto future = pool.map_async(square, none, chunk);
        CHECK(future.ready());
        CHECK(future.get().empty());
        CHECK(pool.map(square, none, chunk).empty());
        CHECK(pool.starmap(mean, std::vector<std::tuple<double, double>>{}, chunk).empty());
        CHECK(pool.starmap_async(mean, std::vector<std::tuple<double, double>>{}, chunk).ready());
    }
    pool.map(nothing, none);
    pool.close();
    CHECK_THROWS_AS(pool.apply_async(square, 1), UsageError);
}

TEST_CASE("map runs every item, and throws the first error in the items' order") {
    TemporaryFolder folder;
    constexpr auto visit = [](const std::string& file, int x) {
        const int record = ::open((file + std::to_string(x)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ::close(record);
        return throw_for_odd(x);
    };
    std::vector<std::tuple<std::string, int>> items;
    for (int x = 0; x < 20; ++x) items.emplace_back(folder.file("x"), x);
    Pool pool(any_shape().with());
    CHECK_THAT(caught<std::out_of_range>([&] { pool.starmap(visit, items, 3); }).value().what(),
               ContainsSubstring("odd: 1"));
    for (int x = 0; x < 20; ++x) CHECK(std::filesystem::exists(folder.file("x") + std::to_string(x)));
}

TEST_CASE("a range that throws throws out of map, and the pool goes on") {
    Pool pool(any_shape().with());
    const auto bad_at = [](int k) {
        return std::views::iota(0, 10) | std::views::transform([k](int x) {
                   if (x == k) throw std::range_error("the range broke");
                   return x;
               });
    };
    for (const int k : {0, 5}) CHECK_THROWS_AS(pool.map(square, bad_at(k)), std::range_error);
    CHECK(pool.map(square, bad_at(11)).size() == 10);
}

TEST_CASE("an argument or a result that the codec refuses fails its own call, every time") {
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    const int worker = pool.apply(own_pid, 0);
    for (int i = 0; i < 20; ++i) {
        auto refused = pool.apply_async(take_stubborn, Stubborn{true, false});
        CHECK_THAT(caught<CodecError>([&] { refused.get(30s); }).value().what(), ContainsSubstring("refuses to go"));
        CHECK_THROWS_AS(pool.apply(take_stubborn, Stubborn{false, true}), CodecError);  // over there
        CHECK_THROWS_AS(pool.apply(give_stubborn, true), CodecError);                   // over there, on its way back
        CHECK_THROWS_AS(pool.apply(give_stubborn, false), CodecError);                  // here
    }
    auto whole = pool.map_async(take_stubborn, std::vector<Stubborn>{{}, {true, false}, {}});
    CHECK_THROWS_AS(whole.get(30s), CodecError);
    CHECK_THROWS_AS(pool.map(take_stubborn, std::vector<Stubborn>{{}, {false, true}, {}}), CodecError);
    CHECK(pool.apply(take_stubborn, Stubborn{}) == 1);
    CHECK(pool.apply(own_pid, 0) == worker);
}

TEST_CASE("counts that make no sense are refused") {
    CHECK_THROWS_AS(Pool(0), std::invalid_argument);
    CHECK_THROWS_AS(Pool(-1), std::invalid_argument);
    CHECK_THROWS_AS(Pool(PoolOptions{.max_tasks_per_child = 0}), std::invalid_argument);
    CHECK_THROWS_AS(Pool(PoolOptions{.max_tasks_per_child = -1}), std::invalid_argument);
    Pool pool(1);
    int (*const null)(int) = nullptr;
    CHECK_THROWS_AS(pool.apply(null, 1), std::invalid_argument);
}

TEST_CASE("a pool has as many workers as this program may use processors") {
    CHECK(mp::cpu_count() >= 1);
    Pool pool;
    CHECK(pool.workers().size() == mp::cpu_count());
}

TEST_CASE("close takes no more, and join waits for what was taken") {
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    CHECK_THROWS_AS(pool.join(), UsageError);
    CHECK_THROWS_AS(pool.join(0s), UsageError);
    Gate gate;
    auto running = pool.apply_async(pass_gate, gate.path());
    auto queued = pool.apply_async(square, 4);
    REQUIRE(gate.reached());
    pool.close();
    pool.close();
    CHECK_THROWS_AS(pool.apply_async(square, 1), UsageError);
    CHECK_THROWS_AS(pool.map(square, std::vector{1}), UsageError);
    CHECK_FALSE(pool.join(0s));
    CHECK_FALSE(pool.join(20ms));
    gate.open();
    pool.join();
    CHECK(pool.join(0s));
    CHECK(running.get(0s) == 1);
    CHECK(queued.get(0s) == 16);
    CHECK(children().empty());
}

TEST_CASE("the end of its scope closes and joins a pool") {
    Future<int> future;
    {
        Pool pool(any_shape().with());
        future = pool.apply_async(square, 5);
    }
    CHECK(future.get(0s) == 25);
    CHECK(children().empty());
}

TEST_CASE("an exception that unwinds past a pool terminates it") {
    Gate gate;
    Future<int> future;
    const auto run = [&] {
        Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
        future = pool.apply_async(pass_gate, gate.path());
        if (gate.reached()) throw std::runtime_error("past it");
    };
    CHECK_THROWS_AS(run(), std::runtime_error);
    CHECK_THROWS_AS(future.get(0s), plait::ProcessDied);
    CHECK(children().empty());
}

TEST_CASE("a pool can be moved, and what it was moved from says so") {
    Pool first(any_shape().with());
    Pool second = std::move(first);
    CHECK(second.apply(square, 3) == 9);
    CHECK_THROWS_AS(first.apply(square, 3), UsageError);
}
