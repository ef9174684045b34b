// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/forked_child.hpp"
#include "support/pool_load.hpp"
#include "support/process_state.hpp"
#include "support/session.hpp"

#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

// A pool whose workers are killed at random while several threads submit to it. PLAIT_KILL_ROUNDS sets how many are killed
// (450), over all start methods and sizes, and PLAIT_KILL_SEED the order of things, which is printed. Many take longer
// than a case's deadline: PLAIT_TEST_DEADLINE=0.

using namespace std::chrono_literals;
using namespace support::pool_load;
using plait::multiprocessing::Initializer;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;
using support::Program;
using support::SharedVariable;
using support::within;

namespace {

constexpr auto longest_stall = 15s;  // generous: the machine has others to serve
constexpr std::uint64_t most_growth = 48 << 20;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr && *text != 0 ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// What only this process holds, in bytes.
std::uint64_t own_memory() {
    ::malloc_trim(0);
    std::ifstream status{"/proc/self/status"};
    std::string word;
    std::uint64_t kibibytes = 0;
    while (status >> word)
        if (word == "RssAnon:") status >> kibibytes;
    return kibibytes << 10;
}

/// The program: submits and kills, until there have been `kills`, and looks at what it holds before and after.
void bear(int processes, StartMethod method, std::uint64_t kills, std::uint64_t seed, Tally& tally) {
    constexpr std::uint32_t submitters = 3;
    const Ledger ledger(1 + submitters * Submitter::slots);
    const std::size_t descriptors = support::open_descriptors().size();
    std::uint64_t memory = 0;
    {
        Pool pool(PoolOptions{
            .processes = processes, .initializer = Initializer(open_ledger, ledger), .start_method = method});
        // A copy of the program as it was cannot be made again: with `fork` the end of the maker is the pool's.
        Killer killer{pool, tally, seed, method != StartMethod::fork};
        std::atomic<bool> enough{false};
        std::vector<std::thread> threads;
        for (std::uint32_t i = 0; i < submitters; ++i)
            threads.emplace_back([&, i] {
                Submitter submitter{pool, killer, tally, ledger, 1 + i * Submitter::slots, Mix{}, seed + i + 1};
                while (submitter.burst() && !enough) {
                }
                if (tally.is_wrong) ::_exit(1);  // the pool's end might hang as the task did
            });
        std::mt19937_64 random{seed};
        while (tally.kills < kills) {
            killer.strike();
            if (memory == 0 && tally.kills >= kills / 4) memory = own_memory();
            const auto next = Clock::now() + std::chrono::microseconds{random() % 3000};
            while (Clock::now() < next) std::this_thread::yield();
        }
        killer.finish();
        enough = true;
        for (std::thread& thread : threads) thread.join();
        const std::uint64_t now = own_memory();
        if (!plait::detail::address_sanitizer && now > memory + most_growth)
            tally.complain("the program grew from " + std::to_string(memory >> 20) + " to " +
                           std::to_string(now >> 20) + " MiB");
    }
    if (support::open_descriptors().size() != descriptors) tally.complain("a descriptor is left open");
    if (!support::children().empty()) tally.complain("a child is left, or was not reaped");
}

/// What is wrong, or nothing.
std::string verdict(const Tally& tally, std::uint64_t processes) {
    if (tally.is_wrong) return tally.problem;
    const std::uint64_t deaths = tally.kills + processes * tally.kills_of_makers;
    if (tally.ended() != tally.submitted) return "some tasks came to nothing";
    if (tally.died > deaths || tally.unbegun > deaths) return "more tasks failed than workers were killed";
    if (std::chrono::nanoseconds{tally.longest_stall} > longest_stall) return "somebody waited too long for the news";
    return {};
}

}  // namespace

TEST_CASE("every task of a pool whose workers are killed at random comes to its end once") {
    const StartMethod method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const int processes = GENERATE(1, 2, 8);
    const std::uint64_t kills = from_environment("PLAIT_KILL_ROUNDS", 450) / 9 + 1;
    const std::uint64_t seed = from_environment(
        "PLAIT_KILL_SEED", static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()) % 1'000'000);
    const SharedVariable<Tally> tally;

    Program program{[&] {
        bear(processes, method, kills, seed, *tally);
        return 0;
    }};
    const std::chrono::seconds limit{90 + kills / 10};
    const auto code = program.child.join(limit);
    std::string problem = verdict(*tally, static_cast<std::uint64_t>(processes));
    if (!code) program.child.kill();
    if (problem.empty() && code != 0) problem = code ? "the program ended with " + std::to_string(*code) : "it hangs";
    if (!within(20s, [&] { return program.rest().empty(); }) && problem.empty()) problem = "a process is left";

    std::cout << "kills: pool of " << processes << ", start method " << static_cast<int>(method) << ": " << tally->kills
              << " workers and " << tally->kills_of_makers << " makers, " << tally->submitted
              << " submitted = " << tally->completed << " completed + " << tally->died << " died (" << tally->unbegun
              << " before their first instruction), longest stall " << tally->longest_stall / 1'000'000
              << " ms, PLAIT_KILL_SEED=" << seed << ' ' << problem << std::endl;
    CHECK(problem == "");
}
