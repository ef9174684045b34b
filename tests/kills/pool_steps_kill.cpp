// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "kills/campaign.hpp"
#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/pool_load.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// A pool's worker that is killed at each of its steps: idle, reading a task, at its begin mark, in the task, while its
// result is written, when that is whole, going to sleep and being woken.

using namespace std::chrono_literals;
using namespace support::pool_load;
using kills::Campaign;
using kills::Try;
using plait::Future;
using plait::ProcessDied;
using plait::multiprocessing::Initializer;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;
using support::within;

namespace {

constexpr auto patience = 20s;

/// What the first worker is told, and says: the step at which it is killed, whether it was, and its pid.
using Orders = mp::Array<std::uint64_t>;
enum : std::size_t { its_step, was_killed, its_pid, orders_size };

/// The initializer: arms the first worker, and nobody who comes after it.
void obey(const Ledger& ledger, const Orders& orders) {
    open_ledger(ledger);
    static const Orders kept = orders;
    std::uint64_t nobody = 0;
    if (!std::atomic_ref{kept[its_pid]}.compare_exchange_strong(nobody, static_cast<std::uint64_t>(::getpid()))) return;
    if (const std::uint64_t step = kept[its_step]; step != 0) kills::arm(step, &kept[was_killed]);
}

std::uint32_t take_a_step(std::uint32_t slot) {
    note_begin(slot);
    plait::detail::sync_point();
    return answer_to(slot);
}
std::string echo(std::uint32_t slot, std::string text) {
    note_begin(slot);
    plait::detail::sync_point();
    return text;
}
std::uint32_t refuse(std::uint32_t slot) {
    note_begin(slot);
    plait::detail::sync_point();
    throw std::out_of_range("it refuses");
}

/// What is given to the pool of one try, and what came of it.
class Work {
public:
    Work(Pool& pool, const Ledger& ledger, Try& run) : pool_{pool}, ledger_{ledger}, run_{run} {}

    void one_by_one() {
        for (std::uint32_t slot = 0; slot < 3; ++slot) settle(pool_.apply_async(take_a_step, slot), answer_to(slot));
    }
    void several_at_once() {
        std::vector<Future<std::uint32_t>> futures;
        for (std::uint32_t slot = 0; slot < 4; ++slot) futures.push_back(pool_.apply_async(take_a_step, slot));
        for (std::uint32_t slot = 0; slot < 4; ++slot) settle(futures[slot], answer_to(slot));
    }
    void chunks() {
        std::vector<std::uint32_t> answers;
        for (std::uint32_t slot = 0; slot < 6; ++slot) answers.push_back(answer_to(slot));
        settle(pool_.map_async(take_a_step, std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5}, 3), answers);
    }
    void large_values() {
        const std::string text(300'000, 'x');  // more than a ring holds
        for (std::uint32_t slot = 0; slot < 2; ++slot) settle(pool_.apply_async(echo, slot, text), text);
    }
    void errors() {
        for (std::uint32_t slot = 0; slot < 2; ++slot) settle(pool_.apply_async(refuse, slot), refusal);
    }

    /// After all of these the worker may not have come to its step: it has it in the first of two more, or at the end.
    void two_more() {
        for (const std::uint32_t slot : {6U, 7U}) settle(pool_.apply_async(take_a_step, slot), answer_to(slot));
    }

    /// What is wrong, or nothing.
    [[nodiscard]] std::string verdict(bool killed) const {
        if (!problem_.empty()) return problem_;
        for (const std::uint32_t begun : ledger_)
            if (begun > 1) return "a task began twice";
        return deaths_ > (killed ? 1U : 0U) ? "more tasks died than workers" : "";
    }

private:
    template <class T>
    void settle(const Future<T>& future, const T& right) {
        if (!problem_.empty()) return;
        if (!run_.promptly([&] { return future.wait(patience); })) return complain("a task is not answered");
        try {
            if (future.get() != right) complain("a task has the wrong value");
        } catch (const std::out_of_range&) {
            if (static_cast<const void*>(&right) != &refusal) complain("a task threw that does not");
        } catch (const ProcessDied& death) {
            ++deaths_;
            if (death.signal() != SIGKILL) complain(death.what());
        }
    }
    void complain(const std::string& what) {
        if (problem_.empty()) problem_ = what;
    }

    static constexpr std::uint32_t refusal = 0;  // no task's answer

    Pool& pool_;
    const Ledger& ledger_;
    Try& run_;
    std::uint32_t deaths_ = 0;
    std::string problem_;
};

/// One try: a pool whose first worker is killed somewhere, and some work for it.
void attempt(Try& run, StartMethod method, int processes, void (Work::*give)()) {
    const Ledger ledger(8);
    const Orders orders(orders_size);
    orders[its_step] = run.step();
    std::optional<Pool> pool(
        PoolOptions{.processes = processes, .initializer = Initializer(obey, ledger, orders), .start_method = method});
    const std::atomic_ref<std::uint64_t> pid{orders[its_pid]};
    std::string failure;
    if (!within(patience, [&] { return pid != 0; })) failure = "no worker comes up";

    std::thread killer;
    if (run.step() == 0)
        killer = std::thread{[&] {
            const auto end = Clock::now() + run.time();
            while (Clock::now() < end) std::this_thread::yield();
            if (support::pool_load::signal_grandchild(static_cast<int>(pid), SIGKILL)) orders[was_killed] = 1;
        }};
    Work work{*pool, ledger, run};
    (work.*give)();
    work.two_more();
    if (killer.joinable()) killer.join();
    run.promptly([&] { pool.reset(); });
    const bool killed = std::atomic_ref{orders[was_killed]} != 0;
    if (failure.empty()) failure = work.verdict(killed);
    run.finish(killed, failure);
}

std::string survive(const std::string& name, StartMethod method, void (Work::*give)()) {
    for (const int processes : {1, 2}) {
        Campaign campaign{"pool of " + std::to_string(processes) + ", " + name};
        const std::string failure = campaign.run([&](Try& run) { attempt(run, method, processes, give); });
        if (!failure.empty()) return failure;
    }
    return {};
}

}  // namespace

TEST_CASE(
    "a worker that does one task after another, killed at any step, fails the task that it runs and nothing else") {
    CHECK(survive("one task after another", GENERATE(StartMethod::forkserver, StartMethod::fork), &Work::one_by_one) ==
          "");
}

TEST_CASE("a worker that has several tasks, killed at any step, fails the task that it runs and nothing else") {
    CHECK(survive("several tasks at once", GENERATE(StartMethod::forkserver, StartMethod::fork),
                  &Work::several_at_once) == "");
}

TEST_CASE("a worker that does chunks, killed at any step, fails the task that it runs and nothing else") {
    CHECK(survive("chunks", GENERATE(StartMethod::forkserver, StartMethod::fork), &Work::chunks) == "");
}

TEST_CASE(
    "a worker that has large values to read and to write, killed at any step, fails the task that it runs and nothing "
    "else") {
    CHECK(survive("large values", GENERATE(StartMethod::forkserver, StartMethod::fork), &Work::large_values) == "");
}

TEST_CASE("a worker whose tasks throw, killed at any step, fails the task that it runs and nothing else") {
    CHECK(survive("errors", GENERATE(StartMethod::forkserver, StartMethod::fork), &Work::errors) == "");
}
