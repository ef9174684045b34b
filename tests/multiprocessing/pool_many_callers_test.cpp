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
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// One pool and many threads: they submit, cancel, close, terminate, wait and look at once.

using namespace std::chrono_literals;
using namespace support;
using plait::CancelledError;
using plait::Future;
using plait::ProcessDied;
using plait::UsageError;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace {

std::atomic<int> instances{0};

/// How many of it there are in this process.
struct Counted {
    explicit Counted(int its_number = 0) : number{its_number} { ++instances; }
    Counted(const Counted& other) : number{other.number} { ++instances; }
    Counted& operator=(const Counted&) = default;
    ~Counted() { --instances; }

    int number;
};

Counted same(const Counted& value) { return value; }
Counted refuse(const Counted&) { throw std::runtime_error("refused"); }

/// Where the fork start method would copy a lock of the sanitizer's that another thread holds.
bool forks_under_sanitizer(const Shape& shape) {
    return plait::detail::address_sanitizer && shape.start_method == StartMethod::fork;
}

/// Runs `body(i)` in `count` threads that begin together.
template <class Body>
void in_threads(int count, Body body) {
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i)
        threads.emplace_back([&, i] {
            ++ready;
            while (ready != count) std::this_thread::yield();
            body(i);
        });
    for (std::thread& thread : threads) thread.join();
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<Counted> {
    static void encode(Encoder& out, const Counted& value) { out.write(value.number); }
    static Counted decode(Decoder& in) { return Counted{in.read<int>()}; }
};

TEST_CASE("sixteen threads share a pool, and each gets what is its own") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::atomic<int> wrong{0};
    in_threads(16, [&](int thread) {
        std::vector<Future<int>> futures;
        for (int i = 0; i < 40; ++i) futures.push_back(pool.apply_async(square, 100 * thread + i));
        const auto mapped = pool.map(square, std::vector{thread, thread + 1}, 1);
        if (mapped != std::vector{thread * thread, (thread + 1) * (thread + 1)}) ++wrong;
        for (int i = 0; i < 40; ++i)
            if (futures[static_cast<std::size_t>(i)].get(30s) != square(100 * thread + i)) ++wrong;
        for (int i = 0; i < 10; ++i)
            if (pool.apply(square, i) != i * i) ++wrong;
    });
    CHECK(wrong == 0);
    std::uint64_t done = 0;
    REQUIRE(within(30s, [&] { return all_idle(pool, shape.count()); }));
    for (const auto& worker : pool.workers()) done += worker.tasks_done;
    CHECK(done == 16 * 52);
}

TEST_CASE("what is submitted while another thread closes the pool is refused, or done") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    for (int round = 0; round < rounds(5); ++round) {
        Pool pool(shape.with());
        std::atomic<int> accepted{0};
        std::atomic<int> done{0};
        in_threads(5, [&](int thread) {
            if (thread == 0) {
                static_cast<void>(within(30s, [&] { return accepted >= 20; }));
                pool.close();
                return;
            }
            std::vector<Future<int>> futures;
            try {
                for (int i = 0;; ++i) {
                    futures.push_back(pool.apply_async(square, i));
                    ++accepted;
                    std::this_thread::yield();  // for who is to close it
                }
            } catch (const UsageError&) {
                for (std::size_t i = 0; i < futures.size(); ++i)
                    done += futures[i].get(30s) == square(static_cast<int>(i));
            }
        });
        CHECK(pool.join(30s));
        CHECK(done == accepted);
    }
}

TEST_CASE("terminate may come while workers die, tasks are submitted and others join") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    for (int round = 0; round < rounds(8); ++round) {
        Pool pool(shape.with({.termination_grace = 0s}));
        const auto pids = pids_of(pool);
        std::mutex mutex;
        std::vector<Future<int>> futures;
        std::atomic<int> submitted{0};
        std::atomic<bool> joined{true};
        in_threads(4, [&](int thread) {
            if (thread < 2) {
                // Ends of both kinds at once.
                static_cast<void>(within(30s, [&] { return submitted >= round; }));
                pool.terminate();
                pool.terminate();
                if (!pool.join(30s)) joined = false;
                return;
            }
            try {
                for (int i = 0;; ++i) {
                    auto future = i % 5 == 4 ? pool.apply_async(die_by, SIGKILL) : pool.apply_async(square, i);
                    const std::scoped_lock lock{mutex};
                    futures.push_back(std::move(future));
                    ++submitted;
                    std::this_thread::yield();  // for who is to end it
                }
            } catch (const UsageError&) {
            }
        });
        CHECK(joined);
        std::map<std::string, int> ends;
        for (const auto& future : futures) {
            if (!future.ready()) ++ends["no answer at the end of join"];
            ++ends[end_of(future)];
        }
        CHECK(ends["value"] + ends["ProcessDied"] + ends["PoolTerminatedError"] == static_cast<int>(futures.size()));
        CHECK(none_lives(pids));
    }
}

TEST_CASE("terminate may come from a callback while the others wait for their results") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<Gate> gates(shape.count());
    std::vector<Future<int>> futures;
    for (Gate& gate : gates) futures.push_back(pool.apply_async(pass_gate, gate.path()));
    for (int i = 0; i < 20; ++i) futures.push_back(pool.apply_async(square, i));
    futures[0].add_done_callback([&](const Future<int>&) { pool.terminate(); });
    for (Gate& gate : gates) REQUIRE(gate.reached());
    gates[0].open();
    for (const auto& future : futures) CHECK(end_of(future) != "no answer");
    CHECK(within(30s, [&] {
        try {
            return pool.join(30s);
        } catch (const UsageError&) {
            return false;  // the callback has not come so far yet
        }
    }));
}

TEST_CASE("a cancel that meets the end of its task either wins or leaves the value") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.termination_grace = 0s}));
    for (int round = 0; round < rounds(20); ++round) {
        std::vector<Future<int>> futures;
        for (int i = 0; i < 8; ++i) futures.push_back(pool.apply_async(square, i));
        std::vector<char> cancelled(8);
        in_threads(2, [&](int thread) {
            for (std::size_t i = 0; i < 8; ++i) {
                if (thread == 0)
                    cancelled[7 - i] = futures[7 - i].cancel();
                else
                    static_cast<void>(futures[i].wait(30s));
            }
        });
        for (std::size_t i = 0; i < 8; ++i) CHECK(end_of(futures[i]) == (cancelled[i] ? "CancelledError" : "value"));
    }
    CHECK(pool.map(square, numbers_up_to(4), 1) == std::vector{0, 1, 4, 9});
}

TEST_CASE("of a cancelled map nothing more begins, and its neighbours go on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.termination_grace = 100ms}));
    std::vector<Gate> gates(shape.count());
    std::vector<std::string> paths;
    for (Gate& gate : gates) paths.push_back(gate.path());
    TemporaryFolder folder;
    paths.push_back(folder.file("never"));
    constexpr auto pass_or_leave_a_mark = [](const std::string& path) {
        if (path.ends_with("never")) return std::fopen(path.c_str(), "w") != nullptr ? 1 : 0;
        return pass_gate(path);
    };
    auto whole = pool.map_async(pass_or_leave_a_mark, paths, 1);
    auto neighbour = pool.apply_async(square, 5);
    for (Gate& gate : gates) REQUIRE(gate.reached());
    CHECK(whole.cancel());
    CHECK_THROWS_AS(whole.get(0s), CancelledError);
    CHECK(neighbour.get(30s) == 25);
    CHECK_FALSE(std::filesystem::exists(folder.file("never")));
}

TEST_CASE("many threads may wait for one result") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    Gate gate;
    auto future = pool.apply_async(pass_gate, gate.path());
    auto deadly = pool.apply_async(die_by, SIGKILL);
    REQUIRE(gate.reached());
    std::atomic<int> results{0};
    std::atomic<int> deaths{0};
    std::atomic<int> waiting{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&, copy = future] {
            ++waiting;
            results += copy.get(30s);
            deaths += end_of(deadly) == "ProcessDied";
        });
    static_cast<void>(within(30s, [&] { return waiting == 8; }));
    gate.open();
    for (std::thread& thread : threads) thread.join();
    CHECK(results == 8);
    CHECK(deaths == 8);
}

TEST_CASE("to look at the workers while they die shows living ones, each once, and waits for nobody long") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::atomic<bool> over{false};
    std::chrono::steady_clock::duration longest{};
    int looks = 0;
    bool odd = false;
    std::thread watcher{[&] {
        while (!over) {
            const auto begin = std::chrono::steady_clock::now();
            auto pids = pids_of(pool);
            longest = (std::max)(longest, std::chrono::steady_clock::now() - begin);
            std::sort(pids.begin(), pids.end());
            if (pids.size() > shape.count() || std::adjacent_find(pids.begin(), pids.end()) != pids.end()) odd = true;
            ++looks;
        }
    }};
    for (int i = 0; i < rounds(20); ++i) {
        auto death = pool.apply_async(die_by, SIGKILL);
        CHECK(pool.apply_async(square, i).get(30s) == i * i);
        CHECK(end_of(death) == "ProcessDied");
    }
    over = true;
    watcher.join();
    CHECK(looks > 0);
    CHECK_FALSE(odd);
    CHECK(longest < 20s);
}

TEST_CASE("a death in one pool is no matter of another's") {
    const auto start_method = any_start_method();
    // With StartMethod::fork those made later are copies of a program that had those made before. Were that in the way of
    // their end it would take five seconds.
    CHECK(is_quick(4900ms, [&] {
        std::vector<Pool> pools;
        for (int i = 0; i < 4; ++i) pools.emplace_back(PoolOptions{.processes = 2, .start_method = start_method});
        std::vector<std::vector<int>> pids;
        for (const Pool& pool : pools) pids.push_back(pids_of(pool));
        for (int i = 0; i < 10; ++i) CHECK(end_of(pools[0].apply_async(die_by, SIGKILL)) == "ProcessDied");
        const auto begin = std::chrono::steady_clock::now();
        pools[1].terminate();
        for (std::size_t i = 2; i < pools.size(); ++i) {
            CHECK(pools[i].map(square, numbers_up_to(4), 1) == std::vector{0, 1, 4, 9});
            CHECK(pids_of(pools[i]) == pids[i]);
        }
        return begin;
    }));
}

TEST_CASE("pools may be made and ended by several threads at once") {
    const Shape shape{GENERATE(1, 2), any_start_method()};
    if (forks_under_sanitizer(shape)) return;
    CAPTURE(shape);
    std::atomic<int> right{0};
    in_threads(4, [&](int thread) {
        for (int round = 0; round < rounds(5); ++round) {
            Pool pool(shape.with());
            if (pool.apply_async(square, thread).get(30s) == thread * thread) ++right;
            if (round % 2 == 0) pool.terminate();
        }
    });
    CHECK(right == 4 * rounds(5));
}

TEST_CASE("results outlive their pool, and nothing else of it does") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    REQUIRE(instances == 0);
    {
        std::optional<Future<Counted>> kept;
        {
            Pool pool(shape.with());
            kept = pool.apply_async(same, Counted{7});
            CHECK(pool.map(same, std::vector<Counted>(10, Counted{3}), 3).size() == 10);
            CHECK(end_of(pool.apply_async(refuse, Counted{1})) == "refused");
            static_cast<void>(pool.apply_async(same, Counted{9}));
        }
        CHECK(kept->get().number == 7);
        CHECK(instances == 1);
    }
    CHECK(instances == 0);
}

TEST_CASE("what a finished task was given and gave is let go, while the pool lives on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    for (int i = 0; i < 10; ++i) {
        CHECK(pool.apply(same, Counted{i}).number == i);
        CHECK(pool.map(same, std::vector<Counted>(4, Counted{3}), 1).size() == 4);
        static_cast<void>(pool.apply_async(die_by, SIGKILL));
        static_cast<void>(pool.apply_async(same, Counted{i}));
    }
    CHECK(pool.apply(square, 2) == 4);
    CHECK(within(30s, [&] { return instances == 0; }));
}
