// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/engine.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"

#include <plait/multiprocessing/pool.hpp>

#include <signal.h>

#include <chrono>
#include <numeric>
#include <string>
#include <vector>

// What becomes of the calls when a worker dies at one of them.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::BrokenPoolError;
using plait::CancelledError;
using plait::PoolTerminatedError;
using plait::ProcessDied;
using plait::TaskTimeoutError;
using plait::TimeoutError;
using plait::multiprocessing::CallOptions;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace {

int square_or_die(int x) {
    if (x < 0) die_by(-x);
    return square(x);
}

}  // namespace

TEST_CASE("a task whose worker is killed fails with ProcessDied, and the pool goes on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    const int worker = pool.apply(own_pid, 0);
    auto sibling = pool.apply_async(square, 3);
    const auto death = caught<ProcessDied>([&] { pool.apply(die_by, SIGKILL); });
    REQUIRE(death);
    CHECK(death->signal() == SIGKILL);
    CHECK(death->exitcode() == -SIGKILL);
    if (shape.processes == 1) CHECK(death->pid() == worker);
    CHECK_THAT(death->what(), ContainsSubstring("task 2") && ContainsSubstring("SIGKILL") &&
                                  ContainsSubstring("memory") && ContainsSubstring(std::to_string(death->pid())));
    CHECK(sibling.get(30s) == 9);
    CHECK(pool.map(square, std::vector{1, 2, 3}) == std::vector{1, 4, 9});
    CHECK(workers_of(pool).size() == shape.count());
}

TEST_CASE("ProcessDied tells how the worker ended") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK(caught<ProcessDied>([&] { pool.apply(exit_with, 0); }).value().exitcode() == 0);
    CHECK(caught<ProcessDied>([&] { pool.apply(exit_with, 3); }).value().exitcode() == 3);
    CHECK(caught<ProcessDied>([&] { pool.apply(exit_with, 3); }).value().signal() == 0);
    CHECK(caught<ProcessDied>([&] { pool.apply(call_abort, 0); }).value().signal() == SIGABRT);
    CHECK(caught<ProcessDied>([&] { pool.apply(write_to_forbidden_memory, 0); }).value().signal() == SIGSEGV);
    CHECK(caught<ProcessDied>([&] { pool.apply(die_by, SIGTERM); }).value().signal() == SIGTERM);
    CHECK_THAT(caught<ProcessDied>([&] { pool.apply(write_to_forbidden_memory, 0); }).value().what(),
               ContainsSubstring("SIGSEGV"));
    CHECK(pool.apply(square, 5) == 25);
}

TEST_CASE("of a chunk only the item that the worker died at fails") {
    const Shape shape = any_shape();
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{7}, std::size_t{50});
    CAPTURE(shape, chunk_size);
    Pool pool(shape.with());
    auto items = numbers_up_to(50);
    items[20] = -SIGKILL;
    items[40] = -SIGSEGV;
    auto whole = pool.map_async(square_or_die, items, chunk_size);
    // The first error, in the items' order.
    CHECK(caught<ProcessDied>([&] { whole.get(30s); }).value().signal() == SIGKILL);
    CHECK_THAT(caught<ProcessDied>([&] { whole.get(0s); }).value().what(), ContainsSubstring("task 20,"));
}

TEST_CASE("no item is begun twice, and none is left out, when workers die at some of a map") {
    TemporaryFolder folder;
    struct Visit {
        static int mark(const std::string& file, int x) {
            // One byte an item, appended in one write: a count of how often it began.
            const int record =
                ::open((file + std::to_string(x)).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            if (::write(record, "x", 1) != 1) ::_exit(9);
            ::close(record);
            if (x % 10 == 7) die_by(SIGKILL);
            return x;
        }
    };
    std::vector<std::tuple<std::string, int>> items;
    for (int x = 0; x < 60; ++x) items.emplace_back(folder.file("item"), x);
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK_THROWS_AS(pool.starmap(&Visit::mark, items, 15), ProcessDied);
    for (int x = 0; x < 60; ++x) {
        CAPTURE(x);
        CHECK(std::filesystem::file_size(folder.file("item") + std::to_string(x)) == 1);
    }
}

TEST_CASE("a task that kills its worker each time fails each time, and the others finish") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<plait::Future<int>> poison;
    std::vector<plait::Future<int>> others;
    for (int i = 0; i < 20; ++i) {
        poison.push_back(pool.apply_async(die_by, SIGKILL));
        others.push_back(pool.apply_async(square, i));
    }
    for (auto& future : poison) CHECK_THROWS_AS(future.get(30s), ProcessDied);
    for (int i = 0; i < 20; ++i) CHECK(others[static_cast<std::size_t>(i)].get(30s) == i * i);
}

TEST_CASE("a task over its time is killed with TaskTimeoutError, also one that refuses to end") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.task_timeout = 200ms, .termination_grace = 200ms}));
    const auto workers = pids_of(pool);
    // What is to be done in time has all the time that a busy machine may take for it.
    CHECK(pool.apply(CallOptions{.timeout = 30s}, square, 5) == 25);
    const auto begin = std::chrono::steady_clock::now();
    const auto timeout = caught<TaskTimeoutError>([&] { pool.apply(run_for_ever, 0); });
    CHECK(std::chrono::steady_clock::now() - begin >= 200ms);
    REQUIRE(timeout);
    CHECK(std::count(workers.begin(), workers.end(), timeout->pid()) == 1);
    CHECK(timeout->task() == 1);
    CHECK_THROWS_AS(pool.apply(run_for_ever_and_ignore_requests, 0), TaskTimeoutError);
    CHECK(pool.apply(CallOptions{.timeout = 30s}, square, 6) == 36);
    for (const int pid : pids_of(pool)) CHECK(pid != timeout->pid());
}

TEST_CASE("time in the queue does not count for a task's limit") {
    Pool pool(PoolOptions{.processes = 1, .task_timeout = 20s, .start_method = any_start_method()});
    Gate gate;
    auto blocker = pool.apply_async(pass_gate, gate.path());
    auto queued = pool.apply_async(square, 2);
    REQUIRE(gate.reached());
    CHECK_FALSE(queued.wait(50ms));
    gate.open();
    CHECK(queued.get(30s) == 4);
    CHECK(blocker.get(30s) == 1);
}

TEST_CASE("only the item of a chunk that takes too long is lost to the time limit") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.task_timeout = 1s, .termination_grace = 100ms}));
    constexpr auto stuck_at_three = [](int x) { return x == 3 ? run_for_ever(x) : x; };
    auto whole = pool.map_async(stuck_at_three, std::vector{0, 1, 2, 3, 4, 5}, 6);
    const auto timeout = caught<TaskTimeoutError>([&] { whole.get(30s); });
    REQUIRE(timeout);
    CHECK(timeout->task() == 3);
}

TEST_CASE("a get that times out is no TaskTimeoutError, and the task goes on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    Gate gate;
    auto future = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    CHECK_FALSE(future.ready());
    CHECK_FALSE(future.wait(0s));
    CHECK_FALSE(caught<TaskTimeoutError>([&] { CHECK_THROWS_AS(future.get(1ms), TimeoutError); }));
    CHECK_THROWS_AS(future.successful(), plait::UsageError);
    gate.open();
    CHECK(future.get(30s) == 1);
    CHECK(future.successful());
}

TEST_CASE("a cancelled task that queues never runs, and one that runs is ended with its worker") {
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    TemporaryFolder folder;
    const int worker = pool.apply(own_pid, 0);
    Gate gate;
    auto running = pool.apply_async(pass_gate, gate.path());
    auto queued =
        pool.apply_async([](const std::string& file) { std::filesystem::create_directory(file); }, folder.file("ran"));
    REQUIRE(gate.reached());
    CHECK(queued.cancel());
    CHECK(running.cancel());
    CHECK(running.cancelled());
    CHECK_THROWS_AS(running.get(0s), CancelledError);
    CHECK(pool.apply(own_pid, 0) != worker);
    CHECK_FALSE(std::filesystem::exists(folder.file("ran")));
    CHECK_FALSE(pool.apply_async(square, 2).cancelled());
}

TEST_CASE("terminate fails what runs with ProcessDied and what queues with PoolTerminatedError") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    const auto pids = pids_of(pool);
    std::vector<Gate> gates(shape.count());
    std::vector<plait::Future<int>> running;
    for (Gate& gate : gates) running.push_back(pool.apply_async(pass_gate, gate.path()));
    std::vector<plait::Future<int>> queued;
    for (int i = 0; i < 10'000; ++i) queued.push_back(pool.apply_async(square, i));
    for (Gate& gate : gates) REQUIRE(gate.reached());
    pool.terminate();
    pool.terminate();
    REQUIRE(pool.join(30s));
    for (auto& future : running)
        CHECK_THAT(caught<ProcessDied>([&] { future.get(0s); }).value().what(), ContainsSubstring("terminated"));
    int terminated = 0;
    for (auto& future : queued) terminated += caught<PoolTerminatedError>([&] { future.get(0s); }).has_value();
    CHECK(terminated == 10'000);
    CHECK_THROWS_AS(pool.apply_async(square, 1), plait::UsageError);
    CHECK(pool.workers().empty());
    CHECK(none_lives(pids));
}

TEST_CASE("an initializer that throws breaks the pool, with its reason") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.initializer = [] { throw std::runtime_error("no configuration"); }}));
    const auto first = caught<BrokenPoolError>([&] { pool.apply_async(square, 1).get(30s); });
    CHECK_THAT(first.value().what(), ContainsSubstring("no configuration"));
    CHECK_THROWS_AS(pool.apply_async(square, 1), BrokenPoolError);
    pool.close();
    CHECK(pool.join(30s));
}

TEST_CASE("workers that die again and again at their start break the pool instead of being replaced for ever") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.initializer = plait::multiprocessing::Initializer(die_by, SIGKILL)}));
    const auto broken = caught<BrokenPoolError>([&] { pool.apply_async(square, 1).get(30s); });
    CHECK_THAT(broken.value().what(), ContainsSubstring("SIGKILL"));
    CHECK(pool.workers().empty());
}
