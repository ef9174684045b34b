// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/maker.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pool.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

// The process between a program and its workers, killed, and what it does when the program is.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::BrokenPoolError;
using plait::ProcessDied;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::WorkerInfo;

namespace {

/// A program with a pool, as a copy of this one: three workers, one busy, one stopped, one idle. It writes their numbers
/// and its maker's to a pipe and lives until it is killed.
struct Program {
    explicit Program(StartMethod start_method) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
        pid = ::fork();
        if (pid == 0) {
            try {
                run(start_method, gate.path(), ends[1]);
            } catch (...) {
                ::_exit(1);
            }
        }
        ::close(ends[1]);
        int numbers[4];
        const bool told = ::read(ends[0], numbers, sizeof numbers) == static_cast<ssize_t>(sizeof numbers);
        ::close(ends[0]);
        if (told) processes.assign(numbers, numbers + 4);
    }
    ~Program() {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
    }

    [[noreturn]] static void run(StartMethod start_method, const std::string& gate, int out) {
        Pool pool(PoolOptions{.processes = 3, .start_method = start_method});
        auto busy = pool.apply_async(pass_gate, gate);
        std::vector<int> numbers = pids_of(pool);
        std::vector<WorkerInfo> workers;
        const auto is_busy = [](const WorkerInfo& worker) { return worker.state == WorkerInfo::State::busy; };
        const auto some_are_busy = [&] { return std::any_of(workers.begin(), workers.end(), is_busy); };
        while (!some_are_busy()) workers = pool.workers();
        ::kill(static_cast<int>(std::find_if_not(workers.begin(), workers.end(), is_busy)->pid), SIGSTOP);
        numbers.push_back(maker_of(pool));
        if (::write(out, numbers.data(), numbers.size() * sizeof(int)) < 0) ::_exit(1);
        for (;;) ::pause();
    }

    Gate gate;
    pid_t pid = 0;
    std::vector<int> processes;
};

}  // namespace

TEST_CASE("when the program is killed its workers go within a second, busy, idle and stopped ones") {
    const StartMethod start_method = any_start_method();
    CHECK(is_quick(1s, [&] {
        Program program(start_method);
        REQUIRE(program.processes.size() == 4);
        REQUIRE(program.gate.reached());
        const auto begin = std::chrono::steady_clock::now();
        ::kill(program.pid, SIGKILL);
        REQUIRE(within(30s, [&] { return none_lives(program.processes); }));
        return begin;
    }));
}

TEST_CASE("when the program is killed its workers go, though a child of its own holds all it had open") {
    // The host's own fork: it keeps both ends of everything that was not close-on-exec, and does not execute.
    Gate gate;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t program = ::fork();
    if (program == 0) {
        try {
            Pool pool(2);
            const auto pids = pids_of(pool);
            const pid_t bystander = ::fork();
            if (bystander == 0)
                for (;;) ::pause();
            const int numbers[] = {pids.at(0), pids.at(1), bystander};
            if (::write(ends[1], numbers, sizeof numbers) < 0) ::_exit(1);
            for (;;) ::pause();
        } catch (...) {
            ::_exit(1);
        }
    }
    ::close(ends[1]);
    int numbers[3] = {};
    const bool told = ::read(ends[0], numbers, sizeof numbers) == static_cast<ssize_t>(sizeof numbers);
    ::close(ends[0]);
    ::kill(program, SIGKILL);
    ::waitpid(program, nullptr, 0);
    REQUIRE(told);
    CHECK(within(30s, [&] { return none_lives({numbers[0], numbers[1]}); }));
    CHECK(is_alive(numbers[2]));
    ::kill(numbers[2], SIGKILL);
}

TEST_CASE("when the maker is killed the running tasks fail, and another takes its place") {
    const int processes = GENERATE(1, 2, 8);
    Pool pool(
        PoolOptions{.processes = processes, .start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn)});
    for (int round = 0; round < 3; ++round) {
        // Every worker runs something: a free one could begin one of the queued tasks in the moment of its death.
        std::vector<Gate> gates(static_cast<std::size_t>(processes));
        std::vector<plait::Future<int>> running;
        for (Gate& gate : gates) running.push_back(pool.apply_async(pass_gate, gate.path()));
        for (Gate& gate : gates) REQUIRE(gate.reached());
        auto queued = pool.map_async(square, std::vector{1, 2, 3}, 1);
        const auto workers = pids_of(pool);
        const int maker = maker_of(pool);
        REQUIRE(::kill(maker, SIGKILL) == 0);
        for (const auto& each : running)
            CHECK_THAT(caught<ProcessDied>([&] { each.get(30s); }).value().what(),
                       ContainsSubstring("process that made it"));
        CHECK(queued.get(30s) == std::vector{1, 4, 9});
        CHECK(within(30s, [&] { return none_lives(workers); }));
        CHECK(maker_of(pool) != maker);
    }
}

TEST_CASE("a maker that is a copy of the program cannot be had again: the pool is broken and says so") {
    Pool pool(PoolOptions{.processes = 2, .start_method = StartMethod::fork});
    Gate gate;
    auto running = pool.apply_async(pass_gate, gate.path());
    auto waiting = pool.map_async(square, std::vector{1, 2, 3}, 1);
    REQUIRE(gate.reached());
    const auto workers = pids_of(pool);
    REQUIRE(::kill(maker_of(pool), SIGKILL) == 0);
    CHECK_THROWS_AS(running.get(30s), plait::Error);
    waiting.wait();
    const auto broken = caught<BrokenPoolError>([&] {
        for (int i = 0; i < 1000; ++i) pool.apply_async(square, i).get(30s);
    });
    CHECK_THAT(broken.value().what(), ContainsSubstring("StartMethod::fork"));
    CHECK(within(30s, [&] { return none_lives(workers); }));
}

TEST_CASE("an interrupt to a worker and to the maker changes nothing") {
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    const int worker = pool.apply(own_pid, 0);
    Gate gate;
    auto running = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    ::kill(worker, SIGINT);
    ::kill(maker_of(pool), SIGINT);
    gate.open();
    CHECK(running.get(30s) == 1);
    CHECK(pool.apply(own_pid, 0) == worker);
}

TEST_CASE("makers and workers lead process groups of their own") {
    Pool pool(PoolOptions{.processes = 2, .start_method = any_start_method()});
    for (const int pid : pool.map(own_pid, std::vector<int>(4), 1)) CHECK(process_state(pid).value().group == pid);
    CHECK(process_state(maker_of(pool)).value().group == maker_of(pool));
}

TEST_CASE("what a worker started goes with it") {
    constexpr auto start_and_stay = [](const std::string& gate) {
        const pid_t child = ::fork();
        if (child == 0) {
            pass_gate(gate);
            ::_exit(0);
        }
        return child;
    };
    Pool pool(1);
    Gate gate;
    const int child = pool.apply(start_and_stay, gate.path());
    REQUIRE(gate.reached());
    REQUIRE(is_alive(child));
    CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), ProcessDied);
    CHECK(within(30s, [&] { return !is_alive(child); }));
}

TEST_CASE("a worker inherits standard streams and what it needs of the pool, and nothing of the program") {
    constexpr auto count_descriptors = [](int) { return static_cast<int>(open_descriptors().size()); };
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn);
    int before = 0;
    {
        Pool pool(PoolOptions{.processes = 1, .start_method = start_method});
        before = pool.apply(count_descriptors, 0);
    }
    // And what freeze_support_test.cpp has this program open before its main.
    const int own = plait::os::spawn_closes_other_handles ? 1 : 0;
    constexpr int bell = 1;  // beside its channel, which every child has
    CHECK(before == 3 + plait::os::inherited_handles() + own + bell);
    std::vector<int> opened;
    for (int i = 0; i < 50; ++i) opened.push_back(::open("/dev/null", i % 2 == 0 ? O_RDONLY : O_RDONLY | O_CLOEXEC));
    {
        Pool pool(PoolOptions{.processes = 1, .start_method = start_method});
        CHECK(pool.apply(count_descriptors, 0) == before);
        CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), ProcessDied);
        CHECK(pool.apply(count_descriptors, 0) == before);
    }
    for (const int descriptor : opened) ::close(descriptor);
}
