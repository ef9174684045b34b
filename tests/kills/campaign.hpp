// SPDX-License-Identifier: MIT
#pragma once

#include "support/forked_child.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kills {

/// From now on this process is killed at its `step`-th sync point, counted from 1. Just before, `told` becomes 1, if given.
void arm(std::uint64_t step, std::uint64_t* told = nullptr) noexcept;

class Try;

/// At its next sync point this process says that it `stands` there, and waits for the victim's death.
void stand_at_next_step(const Try& run, std::atomic<bool>& stands) noexcept;

/// One try of a scenario: the victim, which is killed somewhere, and the survivors, which nothing may hold up.
class Try {
public:
    /// Begins the victim, in a process of its own. Where the kill comes at random it does `work()` again and again.
    template <class Work>
    void victim(Work work) {
        victim_.emplace([this, work] {
            if (step_ != 0) arm(step_);
            shared_->begun.store(true, std::memory_order_release);
            do work();
            while (step_ == 0);
            return 0;
        });
    }
    /// Begins a survivor, in a process of its own. `work()` returns 0 if all went well.
    template <class Work>
    void survivor(Work work) {
        survivors_.emplace_back(work);
    }

    /// Where somebody else makes the victim, a pool's worker: at which of its steps it is to be killed, or, for 0, after
    /// how long.
    [[nodiscard]] std::uint64_t step() const noexcept { return step_; }
    [[nodiscard]] std::chrono::nanoseconds time() const noexcept { return time_; }
    /// And then, in place of `finish`: whether it was killed, and what went wrong, or nothing.
    void finish(bool killed, std::string failure) {
        killed_ = killed;
        failure_ = std::move(failure);
    }

    /// For a survivor, and for who wrote the scenario: does something that nobody's death may hold up.
    template <class Operation>
    auto promptly(Operation operation) {
        const Stopwatch watch{*this};
        return operation();
    }
    /// For a survivor: whether the victim is dead by now.
    [[nodiscard]] bool is_over() const noexcept { return shared_->over.load(std::memory_order_acquire); }
    /// The same for one that waits for it, and goes on after that.
    void await_death() const noexcept;

    /// For who wrote the scenario: whether the victim has ended.
    [[nodiscard]] bool has_victim_ended() { return victim_->join(std::chrono::milliseconds{0}).has_value(); }
    /// For who wrote the scenario: waits for the victim's death, and then for the survivors.
    void finish();
    /// What was lost, or there twice, or wrong otherwise. What a scenario allows is not counted.
    void count_lost(std::uint64_t count = 1) noexcept { shared_->lost += count; }
    void count_duplicated(std::uint64_t count = 1) noexcept { shared_->duplicated += count; }

private:
    friend class Campaign;
    struct Shared {
        std::atomic<bool> begun{false};
        std::atomic<bool> over{false};
        std::atomic<std::int64_t> longest_stall{0};  // in nanoseconds
        std::atomic<std::uint64_t> lost{0};
        std::atomic<std::uint64_t> duplicated{0};
    };
    struct Stopwatch {
        Try& run;
        std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
        ~Stopwatch();
    };

    /// At step `step`, or, for 0, after so long.
    Try(std::uint64_t step, std::chrono::nanoseconds time) : step_{step}, time_{time} {}

    const std::uint64_t step_;
    const std::chrono::nanoseconds time_;
    support::SharedVariable<Shared> shared_;
    std::optional<support::ForkedChild> victim_;
    std::vector<support::ForkedChild> survivors_;
    bool killed_ = false;
    std::string failure_;
};

/// Kills a process in the midst of a scenario, once at each of its sync points, and then at random instructions.
///
///     Campaign campaign{"lock"};
///     CHECK(campaign.run([](Try& run) {
///         const Lock lock;
///         run.victim([&] { lock.acquire(); lock.release(); });
///         run.survivor([&] {
///             while (!run.is_over()) run.promptly([&] { use(lock); });
///             return 0;
///         });
///         run.finish();
///     }) == "");
///
/// A scenario is called anew for each try and makes its own objects. PLAIT_KILL_ROUNDS sets the kills at random (100),
/// PLAIT_KILL_SEED their seed, which is printed. A stall of five seconds is a failure; what is usual is printed.
class Campaign {
public:
    explicit Campaign(std::string_view name);

    /// Returns what went wrong, or nothing.
    template <class Scenario>
    [[nodiscard]] std::string run(Scenario scenario) {
        // As others interfere it takes a shorter way sometimes: over is what several tries in a row do not reach.
        for (int tries = 0; tries < 4 && failure_.empty(); ++tries) {
            Try run{steps_ + 1, {}};
            if (!attempt(run, scenario)) continue;
            ++steps_;
            tries = -1;
        }
        for (std::uint64_t i = 0; i < rounds_ && failure_.empty(); ++i) {
            Try run{0, random_time()};
            attempt(run, scenario);
        }
        return report();
    }

private:
    template <class Scenario>
    bool attempt(Try& run, Scenario& scenario) {
        scenario(run);
        settle(run);
        return run.killed_;
    }
    std::chrono::nanoseconds random_time() noexcept;
    void settle(const Try& run);
    [[nodiscard]] std::string report() const;

    const std::string name_;
    const std::uint64_t rounds_;
    const std::uint64_t seed_;
    std::uint64_t random_;
    std::uint64_t steps_ = 0;
    std::uint64_t kills_ = 0;
    std::int64_t longest_stall_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t duplicated_ = 0;
    std::uint64_t orphans_ = 0;
    std::string failure_;
};

}  // namespace kills
