// SPDX-License-Identifier: MIT
#include <plait/multiprocessing.hpp>
#include <plait/threading/event.hpp>

#include "support/deadline.hpp"
#include "support/forked_child.hpp"
#include "support/pool_load.hpp"
#include "support/process_state.hpp"
#include "support/session.hpp"

#include <malloc.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// Several pools for a long time, with everything at once that may happen to a pool: see docs/soak.md.
//
//     pool_soak [minutes [seed]]

using namespace std::chrono_literals;
using namespace support::pool_load;
using mp::Initializer;
using mp::Pool;
using mp::PoolOptions;
using mp::StartMethod;
using plait::threading::Event;
using support::Program;
using support::SharedVariable;
using support::within;

namespace {

constexpr auto longest_stall = 15s;  // generous: the machine has others to serve
constexpr std::uint64_t most_growth = 64 << 20;

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

/// One pool after the other, each with its submitters and its killer, until `over`.
class Lane {
public:
    struct Plan {
        PoolOptions options;
        Mix mix;
        bool kills_makers = false;
        bool starts_anew = false;  // a new pool now and then, in place of one that is closed or terminated
    };

    /// The first pool is made here: with `fork` it must be while the program has a single thread.
    Lane(Plan plan, Tally& tally, std::uint64_t seed) : plan_{std::move(plan)}, tally_{tally}, random_{seed} {
        renew();
    }

    void run(Event& over) {
        while (!over.is_set() && !tally_.is_wrong) {
            if (pool_ == nullptr) renew();
            live(over, plan_.starts_anew ? Clock::now() + std::chrono::milliseconds{500 + random_() % 20'000}
                                         : Clock::time_point::max());
            pool_.reset();
        }
    }

private:
    static constexpr std::uint32_t submitters = 2;

    void renew() {
        ledger_.emplace(1 + submitters * Submitter::slots);
        PoolOptions options = plan_.options;
        options.initializer = Initializer(open_ledger, *ledger_);
        pool_ = std::make_unique<Pool>(std::move(options));
    }
    /// Until the program is over or the pool has lived for long enough.
    void live(Event& over, Clock::time_point end) {
        Killer killer{*pool_, tally_, random_(), plan_.kills_makers};
        std::atomic<bool> enough{false};
        std::vector<std::thread> threads;
        for (std::uint32_t i = 0; i < submitters; ++i)
            threads.emplace_back([&, i, seed = random_()] {
                Submitter submitter{*pool_, killer, tally_, *ledger_, 1 + i * Submitter::slots, plan_.mix, seed};
                while (submitter.burst() && !enough) {
                }
                // The pool's end might hang as the task did.
                if (tally_.is_wrong) ::_exit(1);
            });
        while (!over.wait(std::chrono::milliseconds{random_() % 100}) && Clock::now() < end && !tally_.is_wrong)
            killer.strike();
        killer.finish();
        if (!over.is_set() && random_() % 2 == 0) {
            killer.note_end();
            pool_->terminate();
        }
        enough = true;
        for (std::thread& thread : threads) thread.join();
        pool_.reset();  // before the killer, which its callbacks tell the news
    }

    Plan plan_;
    Tally& tally_;
    std::mt19937_64 random_;
    std::optional<Ledger> ledger_;
    std::unique_ptr<Pool> pool_;
};

std::vector<Lane::Plan> plans() {
    Mix everything{.large = true, .forked = true, .throwing = true, .hanging = true, .cancelled = true};
    Mix no_hangs = everything;
    no_hangs.hanging = false;
    return {
        {.options = {.processes = 2, .start_method = StartMethod::fork}, .mix = no_hangs},
        {.options = {.processes = 4, .task_timeout = 300ms, .start_method = StartMethod::forkserver},
         .mix = everything,
         .kills_makers = true,
         .starts_anew = true},
        {.options = {.processes = 2, .max_tasks_per_child = 50, .start_method = StartMethod::spawn},
         .mix = no_hangs,
         .kills_makers = true,
         .starts_anew = true},
        {.options = {.processes = 1, .max_tasks_per_child = 7, .start_method = StartMethod::forkserver},
         .mix = no_hangs},
    };
}

void print_head() {
    std::printf("%8s %12s %12s %8s %8s %8s %9s %8s %8s %6s %9s %7s %6s %5s\n", "seconds", "submitted", "completed",
                "threw", "died", "timeout", "cancelled", "dropped", "kills", "makers", "stall ms", "MiB", "files",
                "procs");
}
void print_line(const Tally& tally, std::chrono::seconds time, std::uint64_t memory) {
    const auto number = [](const std::atomic<std::uint64_t>& value) {
        return static_cast<unsigned long long>(value.load());
    };
    std::printf("%8lld %12llu %12llu %8llu %8llu %8llu %9llu %8llu %8llu %6llu %9lld %7llu %6zu %5zu\n",
                static_cast<long long>(time.count()), number(tally.submitted), number(tally.completed),
                number(tally.threw), number(tally.died), number(tally.timed_out), number(tally.cancelled),
                number(tally.dropped), number(tally.kills), number(tally.kills_of_makers),
                static_cast<long long>(tally.longest_stall / 1'000'000), static_cast<unsigned long long>(memory >> 20),
                support::open_descriptors().size(), support::processes_of_session(::getsid(0)).size());
    std::fflush(stdout);
}

/// The program: runs the lanes, and looks at what it holds before and after.
int soak(std::chrono::seconds duration, std::uint64_t seed, Tally& tally) {
    const std::size_t descriptors = support::open_descriptors().size();
    std::uint64_t memory = 0;
    {
        std::vector<std::unique_ptr<Lane>> lanes;
        for (Lane::Plan& plan : plans()) lanes.push_back(std::make_unique<Lane>(std::move(plan), tally, seed += 1000));
        Event over;
        std::vector<std::thread> threads;
        for (const auto& lane : lanes) threads.emplace_back([&] { lane->run(over); });
        print_head();
        const auto begin = Clock::now();
        const auto part = (std::min)(std::chrono::seconds{60}, (std::max)(duration / 5, std::chrono::seconds{1}));
        for (auto time = part; time <= duration; time += part) {
            // The soak's own clock, and an early end where something is wrong.
            while (Clock::now() < begin + time && !tally.is_wrong) static_cast<void>(over.wait(100ms));
            const std::uint64_t now = own_memory();
            if (memory == 0) memory = now;  // when the load is there
            print_line(tally, std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begin), now);
            if (now > memory + most_growth) tally.complain("the program grows: what is done with is kept");
            if (std::chrono::nanoseconds{tally.longest_stall} > longest_stall)
                tally.complain("somebody waited too long for the news of a death");
            if (tally.is_wrong) break;
        }
        over.set();
        for (std::thread& thread : threads) thread.join();
    }
    if (support::open_descriptors().size() != descriptors) tally.complain("a descriptor is left open");
    if (!support::children().empty()) tally.complain("a child is left, or was not reaped");
    if (tally.ended() != tally.submitted) tally.complain("some tasks came to nothing");
    return tally.is_wrong ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    const double minutes = argc > 1 ? std::atof(argv[1]) : 30;
    const std::uint64_t seed = argc > 2
                                   ? std::strtoull(argv[2], nullptr, 10)
                                   : static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()) % 1'000'000;
    if (argc > 3 || !(minutes > 0)) {
        std::fprintf(stderr, "usage: pool_soak [minutes [seed]]\n");
        return 2;
    }
    const std::chrono::seconds duration{static_cast<std::int64_t>(minutes * 60)};
    std::printf("%g minutes, seed %llu\n", minutes, static_cast<unsigned long long>(seed));
    std::fflush(stdout);

    // The judge is another process than the program: it also sees what that leaves behind, and a program that hangs.
    const SharedVariable<Tally> tally;
    Program program{[&] { return soak(duration, seed, *tally); }};
    pollfd ending{static_cast<int>(::syscall(SYS_pidfd_open, program.child.pid(), 0)), POLLIN, 0};
    const bool ended = ::poll(&ending, 1, static_cast<int>(std::chrono::milliseconds{duration + 2min}.count())) == 1;
    ::close(ending.fd);
    if (!ended)
        tally->complain("the program does not end");
    else if (const int code = program.child.join(); code != 0)
        tally->complain("the program ended with " + std::to_string(code));
    if (!within(20s, [&] { return program.rest().empty() || !ended; })) tally->complain("a process is left");
    std::printf("verdict: %s\n", tally->is_wrong ? tally->problem : "every task came to its end once, nothing is left");
    return tally->is_wrong ? 1 : 0;
}
