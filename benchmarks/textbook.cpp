// SPDX-License-Identifier: MIT
//
// The textbook's question: two jobs, one after the other or at once, by threads, by processes, by coroutines. Who gains
// when they compute, and who when they wait?

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/threading/pool.hpp>
#include <plait/threading/thread.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "python_peer.hpp"
#include "table.hpp"

namespace {

namespace th = plait::threading;
namespace mp = plait::multiprocessing;
namespace aio = plait::asyncio;
using std::chrono::milliseconds;

int count_primes(int limit) {
    int primes = 0;
    for (int n = 2; n < limit; ++n) {
        bool is_prime = true;
        for (int d = 2; d * d <= n && is_prime; ++d) is_prime = n % d != 0;
        primes += is_prime;
    }
    return primes;
}

constexpr int naps = 3;

int doze(int nap) {
    for (int i = 0; i < naps; ++i) std::this_thread::sleep_for(milliseconds{nap});
    return naps;
}

aio::Coroutine<int> doze_async(int nap) {
    for (int i = 0; i < naps; ++i) co_await aio::sleep(milliseconds{nap});
    co_return naps;
}

aio::Coroutine<int> doze_both(int nap) {
    const auto [first, second] = co_await aio::gather(doze_async(nap), doze_async(nap));
    co_return first + second;
}

/// Two jobs, and what both of them together come to.
struct Jobs {
    int (*job)(int);
    int size;
    int result;

    void check(int sum) const {
        if (sum != result) std::abort();
    }
};

void serially(const Jobs& jobs) { jobs.check(jobs.job(jobs.size) + jobs.job(jobs.size)); }

void in_two_std_threads(const Jobs& jobs) {
    int results[2];
    std::thread first{[&] { results[0] = jobs.job(jobs.size); }};
    std::thread second{[&] { results[1] = jobs.job(jobs.size); }};
    first.join();
    second.join();
    jobs.check(results[0] + results[1]);
}

void in_two_forks(const Jobs& jobs) {
    int results[2];
    pid_t children[2];
    if (pipe(results) != 0) std::abort();
    for (pid_t& child : children) {
        child = fork();
        if (child < 0) std::abort();
        if (child == 0) {
            const int result = jobs.job(jobs.size);
            _exit(write(results[1], &result, sizeof result) == sizeof result ? 0 : 1);
        }
    }
    int sum = 0;
    for (const pid_t child : children) {
        int result = 0;
        if (read(results[0], &result, sizeof result) != sizeof result) std::abort();
        sum += result;
        waitpid(child, nullptr, 0);
    }
    close(results[0]);
    close(results[1]);
    jobs.check(sum);
}

void in_two_threads(const Jobs& jobs) {
    int results[2];
    th::Thread first{[&] { results[0] = jobs.job(jobs.size); }};
    th::Thread second{[&] { results[1] = jobs.job(jobs.size); }};
    first.start();
    second.start();
    first.join();
    second.join();
    jobs.check(results[0] + results[1]);
}

void end_unless_right(int (*job)(int), int size, int result) {
    if (job(size) != result) std::abort();
}
void count_primes_there(int size, int result) { end_unless_right(count_primes, size, result); }
void doze_there(int size, int result) { end_unless_right(doze, size, result); }

void in_two_processes(const Jobs& jobs) {
    const auto there = jobs.job == count_primes ? count_primes_there : doze_there;
    mp::Process first{there, jobs.size, jobs.result / 2};
    mp::Process second{there, jobs.size, jobs.result / 2};
    first.start();
    second.start();
    first.join();
    second.join();
    if (first.exitcode() != 0 || second.exitcode() != 0) std::abort();
}

template <class Pool>
void in_pool(Pool& pool, const Jobs& jobs) {
    int sum = 0;
    for (const int result : pool.map(jobs.job, std::vector{jobs.size, jobs.size}, 1)) sum += result;
    jobs.check(sum);
}

/// Ours and by hand in one table, Python's in another, for its jobs are not as large; all take turns.
class Contest {
public:
    Contest(const std::string& title, const std::string& target)
        : here_{title, benchmark::ms, target}, there_{title + ", in Python", benchmark::ms, "none"} {}

    template <class Work>
    void by_hand(const char* name, Work work) {
        here_.size() == 0 ? here_.bare(name) : here_.peer(name);
        works_.push_back([=] { return benchmark::nanoseconds(work); });
    }
    template <class Work>
    void plait(const char* name, Work work) {
        here_.plait(name);
        works_.push_back([=] { return benchmark::nanoseconds(work); });
    }
    void python(const benchmark::PythonPeer& peer, const std::string& job, const std::vector<std::string>& ways,
                int size) {
        for (const std::string& way : ways) {
            there_.peer(way);
            rounds_.push_back([&peer, round = job + ' ' + way + ' ' + std::to_string(size)] { return peer(round); });
        }
    }
    void run() {
        const std::size_t mine = works_.size();
        benchmark::take_turns(mine + rounds_.size(), [&](std::size_t i, bool counts) {
            const double time = i < mine ? works_[i]() : rounds_[i - mine]();
            if (counts && i < mine) here_.record(i, time);
            if (counts && i >= mine) there_.record(i - mine, time);
        });
        here_.print();
        if (there_.size() != 0) there_.print();
    }

private:
    benchmark::Table here_;
    benchmark::Table there_;
    std::vector<std::function<double()>> works_;
    std::vector<std::function<double()>> rounds_;
};

void add_ways(Contest& contest, const Jobs& jobs, th::ThreadPool& threads, mp::Pool& processes) {
    contest.by_hand("one after the other", [&] { serially(jobs); });
    contest.by_hand("two std::threads", [&] { in_two_std_threads(jobs); });
    contest.by_hand("two forks and a pipe", [&] { in_two_forks(jobs); });
    contest.plait("two Threads", [&] { in_two_threads(jobs); });
    contest.plait("ThreadPool(2)::map", [&] { in_pool(threads, jobs); });
    contest.plait("two Processes", [&] { in_two_processes(jobs); });
    contest.plait("Pool(2)::map", [&] { in_pool(processes, jobs); });
}

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    std::optional<benchmark::PythonPeer> python;
    if (benchmark::PythonPeer::is_installed())
        python.emplace("textbook_peer.py", std::vector<std::string>{});
    else
        benchmark::missing("python3");
    th::ThreadPool threads(2);
    mp::Pool processes(2);
    {
        const int limit = benchmark::quick() ? 50'000 : 1'000'000;
        const Jobs jobs{count_primes, limit, 2 * count_primes(limit)};
        Contest contest{"E: two jobs that count primes", "at most 0.51 of one after the other (1.95 times as fast)"};
        add_ways(contest, jobs, threads, processes);
        if (python)
            contest.python(*python, "compute", {"serial", "Thread", "ThreadPool", "Process", "Pool"},
                           benchmark::quick() ? 5'000 : 30'000);
        contest.run();
    }
    {
        const int nap = benchmark::quick() ? 2 : 50;
        const Jobs jobs{doze, nap, 2 * naps};
        Contest contest{"E: two jobs that sleep three times " + std::to_string(nap) + " ms",
                        "coroutines at most 1.02 times " + std::to_string(naps * nap) + " ms"};
        add_ways(contest, jobs, threads, processes);
        contest.plait("asyncio::gather of two coroutines", [&] { jobs.check(aio::run(doze_both(nap))); });
        if (python)
            contest.python(*python, "sleep", {"serial", "Thread", "ThreadPool", "Process", "Pool", "asyncio"}, nap);
        contest.run();
    }
}
