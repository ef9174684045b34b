// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/crew.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pool.hpp>

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// A pool's processes: killed from outside, stopped, made anew, and not to be had.

using namespace std::chrono_literals;
using namespace support;
using plait::ProcessDied;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::WorkerInfo;

TEST_CASE("workers that are killed while they idle are replaced, and nothing is reported as failed") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<int> pids;
    // A worker that is reaped may be listed until the pool has heard of it.
    const auto are_replaced = [&] {
        const auto now = pids_of(pool);
        return std::none_of(now.begin(), now.end(),
                            [&](int pid) { return std::count(pids.begin(), pids.end(), pid) != 0; });
    };
    for (int round = 0; round < 3; ++round) {
        REQUIRE(within(30s, [&] { return are_replaced() && all_idle(pool, shape.count()); }));
        pids = pids_of(pool);
        for (const int pid : pids) REQUIRE(::kill(pid, SIGKILL) == 0);
        CHECK(pool.map(square, std::vector{1, 2, 3}, 1) == std::vector{1, 4, 9});
        CHECK(within(30s, [&] { return are_gone(pids); }));  // reaped, too
    }
}

TEST_CASE("workers that are all killed while they are busy fail their own tasks only") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<std::unique_ptr<Gate>> gates;
    std::vector<plait::Future<int>> running;
    for (int i = 0; i < shape.processes; ++i) {
        gates.push_back(std::make_unique<Gate>());
        running.push_back(pool.apply_async(pass_gate, gates.back()->path()));
    }
    auto queued = pool.map_async(square, std::vector{1, 2, 3});
    for (auto& gate : gates) REQUIRE(gate->reached());
    const auto pids = pids_of(pool);
    for (const int pid : pids) REQUIRE(::kill(pid, SIGKILL) == 0);
    for (auto& future : running) {
        const auto death = caught<ProcessDied>([&] { future.get(30s); });
        REQUIRE(death);
        CHECK(std::count(pids.begin(), pids.end(), death->pid()) == 1);
    }
    CHECK(queued.get(30s) == std::vector{1, 4, 9});
}

TEST_CASE("workers tells of each worker what it is at") {
    Pool pool(2);
    REQUIRE(within(30s, [&] { return all_idle(pool, 2); }));
    Gate gate;
    auto future = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    const int busy = busy_worker_of(pool);
    for (const WorkerInfo& worker : pool.workers()) {
        CHECK((worker.state == WorkerInfo::State::busy) == (worker.pid == busy));
        CHECK(worker.task.value_or(9) == (worker.pid == busy ? 0U : 9U));
    }
    gate.open();
    CHECK(future.get(30s) == 1);
    CHECK(within(30s, [&] { return all_idle(pool, 2); }));
    const auto workers = pool.workers();
    CHECK(workers[0].tasks_done + workers[1].tasks_done == 1);
}

TEST_CASE("a stopped worker holds up nobody else, and terminate ends it") {
    const Shape shape{GENERATE(2, 8), any_start_method()};
    CAPTURE(shape);
    Pool pool(shape.with());
    Gate gate;
    auto stopped = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    const int victim = busy_worker_of(pool);
    REQUIRE(victim != 0);
    REQUIRE(::kill(victim, SIGSTOP) == 0);
    for (int i = 0; i < 20; ++i) CHECK(pool.apply(square, i) == i * i);
    CHECK_FALSE(stopped.ready());
    pool.terminate();
    CHECK(pool.join(30s));
    CHECK_THROWS_AS(stopped.get(0s), ProcessDied);
}

TEST_CASE("a worker that was stopped and goes on has lost nothing") {
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    Gate gate;
    auto future = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    const int worker = pids_of(pool).at(0);
    ::kill(worker, SIGSTOP);
    gate.open();
    CHECK_FALSE(future.wait(50ms));
    ::kill(worker, SIGCONT);
    CHECK(future.get(30s) == 1);
    CHECK(pids_of(pool).at(0) == worker);
}

TEST_CASE("a worker that has done its share of tasks is replaced") {
    const Shape shape = any_shape();
    const int share = GENERATE(1, 2, 10);
    CAPTURE(shape, share);
    Pool pool(shape.with({.max_tasks_per_child = share}));
    constexpr auto pid_and_square = [](int x) { return std::pair{own_pid(0), square(x)}; };
    std::vector<int> items;
    for (int i = 0; i < 30; ++i) items.push_back(i);
    std::map<int, int> tasks_of;
    const auto results = pool.map(pid_and_square, items, 7);
    for (int i = 0; i < 30; ++i) {
        CHECK(results[static_cast<std::size_t>(i)].second == i * i);
        ++tasks_of[results[static_cast<std::size_t>(i)].first];
    }
    pool.close();
    CHECK(pool.join(30s));
    CHECK(tasks_of.size() >= 3);
}

TEST_CASE("no worker does more than its share") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.max_tasks_per_child = 3}));
    std::map<int, int> tasks_of;
    for (const int pid : pool.map(own_pid, std::vector<int>(40), 40)) ++tasks_of[pid];
    for (const auto& [pid, tasks] : tasks_of) CHECK(tasks <= 3);
}

TEST_CASE("the initializer runs once in each worker, with its arguments, and in replacements") {
    static std::string set_up;  // in the workers only
    constexpr auto initialize = [](const std::string& text, int number) { set_up += text + std::to_string(number); };
    constexpr auto read = [](int) { return set_up; };
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.initializer = plait::multiprocessing::Initializer(initialize, "ready", 7)}));
    for (int round = 0; round < 3; ++round) {
        for (const std::string& text : pool.map(read, std::vector<int>(16), 1)) CHECK(text == "ready7");
        CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), ProcessDied);
    }
}

TEST_CASE("a pool that cannot have its processes says so and leaves nothing behind") {
    if (plait::detail::address_sanitizer) return;  // the sanitizers beside it take descriptors for themselves
    const auto start_method = any_start_method();
    const auto open = open_descriptors();
    int failed = 0;
    for (unsigned more = 0; more < 14; ++more) {
        const auto error = caught<std::system_error>([&] {
            DescriptorLimit limit{more};
            Pool pool(PoolOptions{.processes = 4, .start_method = start_method});
            limit.lift();
            CHECK(pool.apply(square, 3) == 9);
        });
        CHECK((open_descriptors() == open));
        CHECK(children().empty());
        if (!error) continue;
        ++failed;
        CHECK(error->code().value() == EMFILE);
    }
    CHECK(failed >= 5);
}

TEST_CASE("a pool may have many workers") {
    const int processes = plait::detail::address_sanitizer ? 64 : 256;
    // Some may still be on their way when they are killed.
    Pool pool(PoolOptions{.processes = processes, .restart_limit = 1000, .start_method = any_start_method()});
    const auto items = numbers_up_to(600);
    const auto squares = pool.map(square, items, 1);
    CHECK(squares.back() == 599 * 599);
    CHECK(workers_of(pool).size() == static_cast<std::size_t>(processes));
    for (const int pid : pids_of(pool)) ::kill(pid, SIGKILL);
    CHECK(pool.map(square, items, 1) == squares);
}
