// SPDX-License-Identifier: MIT
#include "kills/campaign.hpp"

#include "support/deadline.hpp"
#include "support/process_state.hpp"

#include <plait/core/config.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <utility>

namespace kills {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 30s;       // until somebody is said to hang
constexpr auto longest_stall = 20s;  // generous: the machine has others to serve

std::atomic<std::uint64_t> steps_left{0};  // until this process is killed; 0: it is not
std::uint64_t* told_of_death = nullptr;    // set before `steps_left`

// Where this process stops once, and whom it tells: set by the one thread that steps.
const Try* stands_in = nullptr;
std::atomic<bool>* told_of_it = nullptr;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr && *text != 0 ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::uint64_t new_seed() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) % 1'000'000 + 1;
}

void step() noexcept {
    if (const Try* const run = std::exchange(stands_in, nullptr)) {
        told_of_it->store(true);
        run->await_death();
    }
    if (steps_left.load(std::memory_order_relaxed) == 0) return;
    if (steps_left.fetch_sub(1, std::memory_order_relaxed) == 1) {
        if (told_of_death != nullptr) std::atomic_ref<std::uint64_t>{*told_of_death}.store(1);
        ::kill(::getpid(), SIGKILL);
        for (;;) ::pause();
    }
}

}  // namespace

void arm(std::uint64_t step, std::uint64_t* told) noexcept {
    told_of_death = told;
    steps_left.store(step, std::memory_order_relaxed);
}

void stand_at_next_step(const Try& run, std::atomic<bool>& stands) noexcept {
    told_of_it = &stands;
    stands_in = &run;
}

Try::Stopwatch::~Stopwatch() {
    const std::int64_t time = (std::chrono::steady_clock::now() - begin).count();
    std::int64_t longest = run.shared_->longest_stall.load();
    while (time > longest && !run.shared_->longest_stall.compare_exchange_weak(longest, time)) {
    }
}

void Try::await_death() const noexcept {
    while (!is_over()) std::this_thread::yield();
}

void Try::finish() {
    if (step_ == 0) {
        static_cast<void>(support::within(patience, [&] { return shared_->begun.load(std::memory_order_acquire); }));
        const auto end = std::chrono::steady_clock::now() + time_;
        while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
        victim_->signal(SIGKILL);
    }
    const auto code = victim_->join(patience);
    killed_ = code == -SIGKILL;
    if (!code)
        failure_ = "the victim hangs";
    else if (!killed_ && *code != 0)
        failure_ = "the victim ended by itself, with " + std::to_string(*code);
    if (!code) victim_->kill();
    shared_->over.store(true, std::memory_order_release);
    for (support::ForkedChild& survivor : survivors_) {
        const auto survivors_code = survivor.join(patience);
        if (!failure_.empty()) continue;
        if (!survivors_code)
            failure_ = "a survivor hangs";
        else if (*survivors_code != 0)
            failure_ = "a survivor ended with " + std::to_string(*survivors_code);
    }
    survivors_.clear();
}

Campaign::Campaign(std::string_view name)
    : name_{name},
      rounds_{from_environment("PLAIT_KILL_ROUNDS", 100)},
      seed_{from_environment("PLAIT_KILL_SEED", new_seed())},
      random_{seed_} {}

std::chrono::nanoseconds Campaign::random_time() noexcept {
    random_ = random_ * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;  // Knuth's MMIX
    return std::chrono::nanoseconds{(random_ >> 33) % 400'000};
}

void Campaign::settle(const Try& run) {
    if (run.killed_) ++kills_;
    longest_stall_ = (std::max)(longest_stall_, run.shared_->longest_stall.load());
    lost_ += run.shared_->lost;
    duplicated_ += run.shared_->duplicated;
    orphans_ += support::descendants(::getpid()).size();
    failure_ = run.failure_;
    if (!failure_.empty()) {
    } else if (run.shared_->lost != 0) {
        failure_ = "something was lost";
    } else if (run.shared_->duplicated != 0) {
        failure_ = "something was there twice";
    } else if (orphans_ != 0) {
        failure_ = "somebody is left";
    } else if (std::chrono::nanoseconds{longest_stall_} > longest_stall) {
        failure_ = "somebody was held up";
    }
    if (failure_.empty()) return;
    failure_ += run.step_ != 0 ? ", after a kill at step " + std::to_string(run.step_)
                               : ", after a kill at random, number " + std::to_string(kills_);
}

std::string Campaign::report() const {
    std::cout << "kills: " << name_ << ": " << steps_ << " steps, " << kills_ << " kills, longest stall "
              << longest_stall_ / 1'000'000 << " ms, " << lost_ << " lost, " << duplicated_ << " duplicated, "
              << orphans_ << " orphans, PLAIT_KILL_SEED=" << seed_ << ' ' << failure_ << std::endl;
    return failure_;
}

}  // namespace kills

// Defined where the library declares it: in its namespace of this kind of build.
namespace plait::inline PLAIT_ABI::detail {

void sync_point() noexcept { kills::step(); }

}  // namespace plait::inline PLAIT_ABI::detail
