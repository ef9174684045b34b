// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/forked_child.hpp"
#include "support/gate.hpp"
#include "support/process_state.hpp"
#include "support/session.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

// A program that is killed while it has a pool. PLAIT_KILL_ROUNDS sets how often (30), over all start methods and
// moments, and PLAIT_KILL_SEED the exact moments, which is printed; PLAIT_TEST_DEADLINE=0 for many.

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;
using support::Program;
using support::SharedVariable;
using support::TemporaryFolder;
using support::within;

namespace mp = plait::multiprocessing;

namespace {

constexpr int processes = 2;

/// What its workers are at when the program is killed.
enum class Moment { starting, idle, busy, writing, stopped };

int run_for_ever(int) {
    for (;;) ::pause();
}
/// With a child of the task's own.
int run_for_ever_with_a_child(int) {
    if (::fork() < 0) return 1;
    for (;;) ::pause();
}
std::string give_much(int) { return std::string(std::size_t{16} << 20, 'x'); }

bool all_are(const Pool& pool, mp::WorkerInfo::State state) {
    return within(20s, [&] {
        const auto workers = pool.workers();
        return workers.size() == processes &&
               std::all_of(workers.begin(), workers.end(), [&](const auto& worker) { return worker.state == state; });
    });
}

/// The program, until it is killed. `there` becomes true when the moment has come.
int reach(Moment moment, StartMethod method, std::atomic<bool>& there) {
    if (moment == Moment::starting) there = true;
    Pool pool(PoolOptions{.processes = processes, .start_method = method});
    if (moment == Moment::busy || moment == Moment::stopped) {
        auto first = pool.apply_async(run_for_ever, 0);
        auto second = pool.apply_async(run_for_ever_with_a_child, 0);
        if (!all_are(pool, mp::WorkerInfo::State::busy)) return 1;
        if (moment == Moment::stopped)
            for (const mp::WorkerInfo& worker : pool.workers()) ::kill(static_cast<int>(worker.pid), SIGSTOP);
        there = true;
        return support::wait_for_ever();
    }
    if (!all_are(pool, mp::WorkerInfo::State::idle)) return 1;
    there = true;
    if (moment == Moment::writing)
        for (;;) pool.map(give_much, std::vector{1, 2, 3, 4}, 1);
    return support::wait_for_ever();
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr && *text != 0 ? std::strtoull(text, nullptr, 10) : otherwise;
}

void spin_for(std::chrono::nanoseconds time) {
    const auto end = Clock::now() + time;
    while (Clock::now() < end) std::this_thread::yield();
}

}  // namespace

TEST_CASE("soon after a program was killed nothing is left of its pool") {
    const StartMethod method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const Moment moment = GENERATE(Moment::starting, Moment::idle, Moment::busy, Moment::writing, Moment::stopped);
    const std::uint64_t rounds = from_environment("PLAIT_KILL_ROUNDS", 30) / 15 + 1;
    const std::uint64_t seed = from_environment(
        "PLAIT_KILL_SEED", static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()) % 1'000'000);
    std::mt19937_64 random{seed};
    std::chrono::nanoseconds longest{};
    std::uint64_t kills = 0;
    std::string problem;

    for (; kills < rounds && problem.empty(); ++kills) {
        const TemporaryFolder temporary;  // a name in it would be found
        const SharedVariable<std::atomic<bool>> there{false};
        Program program{[&] {
            ::setenv("TMPDIR", temporary.file("").c_str(), 1);
            return reach(moment, method, *there);
        }};
        if (!within(30s, [&] { return there->load(); })) problem = "the moment does not come";
        const bool is_short = moment == Moment::starting || moment == Moment::writing;
        if (is_short) spin_for(std::chrono::microseconds{random() % 30'000});
        const auto killed = Clock::now();
        program.child.kill();
        if (!within(20s, [&] { return program.rest().empty(); })) {
            problem = "left:";
            for (const auto& process : program.rest())
                problem += ' ' + process.name + ' ' + std::to_string(process.pid) + ' ' + process.state;
        }
        longest = (std::max)(longest, std::chrono::nanoseconds{Clock::now() - killed});
        if (!std::filesystem::is_empty(temporary.file(""))) problem = "a file is left";
    }

    std::cout << "kills: a program with a pool, start method " << static_cast<int>(method) << ", moment "
              << static_cast<int>(moment) << ": " << kills << " kills, the last process gone after " << longest / 1ms
              << " ms at most, PLAIT_KILL_SEED=" << seed << ' ' << problem << std::endl;
    CHECK(problem == "");
}
