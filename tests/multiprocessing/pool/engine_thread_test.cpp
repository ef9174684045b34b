// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/engine_thread.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pool.hpp>

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

// Many deaths at arbitrary instants, and the engine's own races.

using namespace std::chrono_literals;
using namespace support;
using plait::BrokenPoolError;
using plait::Future;
using plait::ProcessDied;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::WorkerInfo;

namespace {

int square(int x) { return x * x; }

std::string echo(std::string text) { return text; }

StartMethod any_start_method() { return GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork); }

/// What became of many calls: each is right, or failed by a death.
struct Tally {
    int right = 0;
    int died = 0;
    int wrong = 0;

    void add(const Future<int>& future, int expected) {
        try {
            ++(future.get(30s) == expected ? right : wrong);
        } catch (const ProcessDied&) {
            ++died;
        } catch (...) {
            ++wrong;
        }
    }
};

}  // namespace

TEST_CASE("whenever workers are killed each call has one end, and soon") {
    const int processes = GENERATE(1, 2, 8);
    // Seeded: the same kills in the same order, if not at the same instants.
    std::mt19937 random{20'240'917};
    Pool pool(PoolOptions{.processes = processes});
    Tally tally;
    int submitted = 0;
    int kills = 0;
    std::chrono::steady_clock::duration longest{};
    // Three seconds of it, and longer where the machine is so slow that little would have happened.
    const auto begin_of_all = std::chrono::steady_clock::now();
    const auto passed = [&] { return std::chrono::steady_clock::now() - begin_of_all; };
    while ((passed() < 3s && kills < 1500) || (passed() < 25s && kills <= 50)) {
        std::vector<Future<int>> calls;
        for (int i = 0; i < 30; ++i) calls.push_back(pool.apply_async(square, i));
        const auto begin = std::chrono::steady_clock::now();
        const auto workers = pool.workers();
        // Of several, one at least is left to come up: five that die in their start break a pool.
        for (std::size_t i = 0; i < (workers.size() + 1) / 2; ++i) {
            const WorkerInfo& victim = workers[random() % workers.size()];
            if (victim.state == WorkerInfo::State::starting) continue;
            for (auto spins = random() % 2000; spins > 0; --spins) plait::detail::relax_processor();
            kills += ::kill(static_cast<pid_t>(victim.pid), SIGKILL) == 0;
        }
        for (int i = 0; i < 30; ++i) tally.add(calls[static_cast<std::size_t>(i)], i * i);
        submitted += 30;
        longest = (std::max)(longest, std::chrono::steady_clock::now() - begin);
    }
    CAPTURE(kills, tally.died, submitted);
    CHECK(tally.right + tally.died == submitted);
    CHECK(tally.wrong == 0);
    CHECK(kills > 10);
    CHECK(tally.died <= kills);
    CHECK(longest < 20s);
    CHECK(pool.map(square, std::vector{1, 2, 3}) == std::vector{1, 4, 9});
}

TEST_CASE("a worker that is killed while it reads a large argument or writes a large result fails that task at most") {
    const std::string large(std::size_t{4} << 20, 'x');
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    std::mt19937 random{7};
    for (int round = 0; round < 6; ++round) {
        auto call = pool.apply_async(echo, large);
        auto other = pool.apply_async(square, round);
        for (auto spins = random() % 300'000; spins > 0; --spins) plait::detail::relax_processor();
        for (const WorkerInfo& worker : pool.workers())
            if (worker.state == WorkerInfo::State::busy) ::kill(static_cast<pid_t>(worker.pid), SIGKILL);
        bool is_whole = false;
        const auto death = caught<ProcessDied>([&] { is_whole = call.get(30s) == large; });
        CHECK((is_whole || death.has_value()));
        Tally tally;
        tally.add(other, round * round);
        CHECK(tally.wrong == 0);
    }
    CHECK(pool.apply(echo, large) == large);
}

TEST_CASE("many deaths leave no descriptor and no process behind") {
    Pool pool(2);
    CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), ProcessDied);
    const auto descriptors = [] { return open_descriptors().size(); };
    static_cast<void>(pool.map(square, std::vector{1, 2, 3}));
    static_cast<void>(pool.workers());
    const auto before = descriptors();
    for (int i = 0; i < 300; ++i) CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), ProcessDied);
    static_cast<void>(pool.workers());
    CHECK(within(30s, [&] { return descriptors() <= before; }));
    CHECK(within(30s, [&] { return descendants(::getpid()).size() == 1 + 2; }));  // the maker and two workers
}

TEST_CASE("calls may come from many threads at once, and a close among them loses none that was taken") {
    for (int round = 0; round < 5; ++round) {
        Pool pool(2);
        std::atomic<int> right{0};
        std::atomic<int> refused{0};
        std::vector<std::thread> threads;
        for (int thread = 0; thread < 8; ++thread)
            threads.emplace_back([&, thread] {
                for (int i = 0; i < 50; ++i) {
                    try {
                        right += pool.apply(square, i * thread) == i * thread * i * thread;
                    } catch (const plait::UsageError&) {
                        ++refused;
                    }
                }
            });
        if (round > 0) {
            while (right < 20 * round) std::this_thread::yield();
            pool.close();
        }
        for (auto& thread : threads) thread.join();
        CHECK(right + refused == 400);
        if (round == 0) CHECK(right == 400);
    }
}

TEST_CASE("terminate while workers die and calls come in leaves no call without an end") {
    for (int round = 0; round < 30; ++round) {
        Pool pool(2);
        std::vector<Future<int>> calls;
        for (int i = 0; i < 20; ++i) calls.push_back(pool.apply_async(i % 3 == 0 ? die_by : square, SIGKILL));
        if (round % 2 == 0) calls.front().wait();
        std::thread other{[&] { pool.terminate(); }};
        pool.terminate();
        CHECK(pool.join(30s));
        other.join();
        for (auto& call : calls) CHECK(call.ready());
        for (auto& call : calls) static_cast<void>(call.exception());
    }
}

TEST_CASE("a call that a worker never began is done by another when the first is gone") {
    // The worker is stopped before it is given the task, so that it cannot begin.
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    const int worker = pool.apply(own_pid, 0);
    REQUIRE(::kill(worker, SIGSTOP) == 0);
    auto call = pool.apply_async(own_pid, 0);
    REQUIRE(within(30s, [&] { return pool.workers().at(0).state == WorkerInfo::State::busy; }));
    REQUIRE(::kill(worker, SIGKILL) == 0);
    CHECK(call.get(30s) != worker);
}
