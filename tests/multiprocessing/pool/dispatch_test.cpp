// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/dispatch.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/pools.hpp"

#include <plait/multiprocessing/pool.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

// Who gives tasks out and takes results, and in which order.

using namespace std::chrono_literals;
using namespace support;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;

namespace {

std::string echo(const std::string& text) { return text; }

/// Appends a line to a file, which appends are whole by.
int note(const std::string& file, int number) {
    std::ofstream{file, std::ios::app} << number << '\n' << std::flush;
    return number;
}
std::vector<int> numbers_in(const std::string& file) {
    std::ifstream in{file};
    std::vector<int> numbers;
    for (int number; in >> number;) numbers.push_back(number);
    return numbers;
}

/// Takes its time to be decoded by the program: until that lets it go on.
struct Slow {
    int number = 0;
};
std::atomic<bool> is_decoding{false};
std::atomic<bool> may_decode{true};
Slow make_slow(int number) { return {number}; }

void leave_little_memory(std::size_t left) {
    std::ifstream in{"/proc/self/statm"};
    std::size_t pages = 0;
    in >> pages;
    const rlim_t limit = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + left;
    const rlimit both{limit, limit};
    ::setrlimit(RLIMIT_AS, &both);
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<Slow> {
    static void encode(Encoder& out, const Slow& slow) { out.write(slow.number); }
    static Slow decode(Decoder& in) {
        is_decoding = true;
        static_cast<void>(within(90s, [] { return may_decode.load(); }));
        return {in.read<int>()};
    }
};

TEST_CASE("tasks begin in the order in which they were submitted") {
    TemporaryFolder folder;
    const std::string file = folder.file("notes");
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    std::vector<plait::Future<int>> futures;
    for (int i = 0; i < 300; ++i) futures.push_back(pool.apply_async(note, file, i));
    for (int i = 0; i < 300; ++i) CHECK(futures[static_cast<std::size_t>(i)].get(30s) == i);
    std::vector<int> expected(300);
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(numbers_in(file) == expected);
}

TEST_CASE("what waits behind a long task is done by another worker") {
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    // Quick ones first: the workers are given many at a time by then.
    std::vector<int> numbers(5'000, 3);
    CHECK(pool.map(square, numbers, 1) == std::vector<int>(5'000, 9));
    Gate gate;
    auto stands = pool.apply_async(pass_gate, gate.path());
    std::vector<plait::Future<int>> futures;
    for (int i = 0; i < 100; ++i) futures.push_back(pool.apply_async(square, i));
    for (int i = 0; i < 100; ++i) CHECK(futures[static_cast<std::size_t>(i)].get(30s) == i * i);
    REQUIRE(gate.reached());
    CHECK_FALSE(stands.ready());
    gate.open();
    CHECK(stands.get(30s) == 1);
}

TEST_CASE("a task that was taken back from one worker is begun once, by another") {
    TemporaryFolder folder;
    const std::string file = folder.file("notes");
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    constexpr int rounds = 30;
    for (int round = 0; round < rounds; ++round) {
        Gate gate;
        auto stands = pool.apply_async(pass_gate, gate.path());
        std::vector<plait::Future<int>> futures;
        for (int i = 0; i < 10; ++i) futures.push_back(pool.apply_async(note, file, 10 * round + i));
        for (auto& future : futures) static_cast<void>(future.get(30s));
        REQUIRE(gate.reached());
        gate.open();
        CHECK(stands.get(30s) == 1);
    }
    std::vector<int> seen(10 * rounds);
    for (const int number : numbers_in(file)) ++seen[static_cast<std::size_t>(number)];
    CHECK(seen == std::vector<int>(10 * rounds, 1));
}

TEST_CASE("arguments and results that are larger than what is shared go there and back, beside small ones") {
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    std::vector<std::string> texts;
    std::vector<plait::Future<std::string>> futures;
    for (const std::size_t size : {1u, 131'000u, 131'072u, 1'000'000u, 10'000'000u, 5u, 300'000u})
        texts.emplace_back(size, static_cast<char>('a' + size % 26));
    for (int round = 0; round < 5; ++round)
        for (const std::string& text : texts) futures.push_back(pool.apply_async(echo, text));
    for (std::size_t i = 0; i < futures.size(); ++i) CHECK(futures[i].get(30s) == texts[i % texts.size()]);
    CHECK(pool.map(echo, texts, texts.size()) == texts);
}

TEST_CASE("results reach each of many threads that wait, whoever takes them") {
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    std::vector<std::thread> threads;
    std::vector<int> wrong(8);
    for (std::size_t t = 0; t < wrong.size(); ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 300; ++i) {
                const int number = static_cast<int>(t) * 1000 + i;
                const bool waits = i % 2 == 0;
                const int result = waits ? pool.apply(square, number) : pool.apply_async(square, number).get(30s);
                wrong[t] += result != number * number;
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == std::vector<int>(8));
}

TEST_CASE("a thread that waits for one result is not held up by another that was cancelled or timed out") {
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    Gate gate;
    auto stands = pool.apply_async(pass_gate, gate.path());
    auto queued = pool.apply_async(square, 2);
    CHECK(queued.get(30s) == 4);
    REQUIRE(gate.reached());
    CHECK_THROWS_AS(stands.get(10ms), plait::TimeoutError);
    std::thread canceller{[&] { stands.cancel(); }};
    CHECK_THROWS_AS(stands.get(30s), plait::CancelledError);
    canceller.join();
    CHECK(pool.apply(square, 5) == 25);
}

TEST_CASE("of results nobody waits for the callbacks run all the same") {
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    std::atomic<int> called{0};
    for (int i = 0; i < 50; ++i) pool.apply_async(square, i).add_done_callback([&](const auto&) { ++called; });
    CHECK(within(30s, [&] { return called == 50; }));
}

TEST_CASE("a thread whose result takes long to be decoded holds up nobody else") {
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    CHECK(pool.apply(square, 2) == 4);
    is_decoding = false;
    may_decode = false;
    std::thread slow{[&] { static_cast<void>(pool.apply(make_slow, 1)); }};
    CHECK(within(30s, [&] { return is_decoding.load(); }));
    int right = 0;
    for (int i = 0; i < 500; ++i) right += pool.apply_async(square, i).get(30s) == i * i;
    CHECK(right == 500);
    may_decode = true;
    slow.join();
}

TEST_CASE("a large call that is cancelled before it begins does not hold up the end") {
    const auto start_method = any_start_method();
    // Five seconds are what a worker is left that does not end.
    CHECK(is_quick(4s, [&] {
        Pool pool(PoolOptions{.processes = 1, .start_method = start_method});
        Gate gate;
        auto stands = pool.apply_async(pass_gate, gate.path());
        REQUIRE(gate.reached());
        auto large = pool.apply_async(echo, std::string(6'000'000, 'x'));
        CHECK(large.cancel());
        gate.open();
        CHECK(stands.get(30s) == 1);
        const auto begin = std::chrono::steady_clock::now();
        pool.close();
        CHECK(pool.join(30s));
        return begin;
    }));
}

TEST_CASE("a task that each worker dies of before it can begin fails, and is not given out for ever") {
    if (plait::detail::address_sanitizer) return;  // which needs more memory than there would be
    Pool pool(
        PoolOptions{.processes = 2,
                    .initializer = plait::multiprocessing::Initializer(leave_little_memory, std::size_t{20} << 20),
                    .start_method = any_start_method()});
    auto poison = pool.apply_async(echo, std::string(60'000'000, 'x'));
    const std::string end = end_of(poison, 30s);  // the memory lacks before the task begins, or when it has
    CHECK((end == "ProcessDied" || end == "std::bad_alloc"));
    CHECK(pool.apply_async(square, 3).get(30s) == 9);
}
