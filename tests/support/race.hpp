// SPDX-License-Identifier: MIT
#pragma once

#include "support/sync_point.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace support {

// A sanitizer makes each round ten times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::uint64_t slowness = 10;
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr std::uint64_t slowness = 10;
#  else
inline constexpr std::uint64_t slowness = 1;
#  endif
#else
inline constexpr std::uint64_t slowness = 1;
#endif

/// How long a race waits for what must come. A round that takes so long has lost a wake-up, whatever came of it.
inline constexpr std::chrono::seconds patience{20};

/// Lets threads run against each other, round after round, with delays at the library's sync points.
///
///     Semaphore semaphore{0};
///     bool acquired = false;
///     Race race{"release against acquire", 20'000};
///     CHECK(race.run(
///         [&] { return semaphore.value() == (acquired ? 0 : 1); },   // after each round: whether it went well
///         [&] { semaphore.release(); },                              // this runs against
///         [&] { acquired = semaphore.acquire(20us); }) == "");       // that
///
/// The threads last for all rounds: to start some for each would cost more than the round, and they would not meet. Where
/// the machine is so busy that half a minute is not enough for all, some are left out.
/// PLAIT_RACE_ROUNDS sets the rounds, however long they take (a million needs PLAIT_TEST_DEADLINE=0, too), PLAIT_RACE_SEED
/// the seed, which is printed: a seed repeats the delays, which makes the same failure likely, not certain.
///
/// What it is good for was tried by bugs put into the headers: a last look left out, a wake too few, a handed over permit
/// lost to a timeout, a compare-exchange made a store. Of 38 these found 36, 34 within 100 rounds, the last in round 877;
/// of the others one does no harm, and one, in the pool, is found by the deque's race.
/// A million rounds without a failure mean, at 95 %, less than three failures in a million.
class Race {
public:
    Race(std::string_view name, std::uint64_t rounds)
        : name_{name},
          rounds_{from_environment("PLAIT_RACE_ROUNDS", rounds / slowness)},
          most_time_{from_environment("PLAIT_RACE_ROUNDS", 0) == 0 ? std::chrono::seconds{30} : std::chrono::hours{24}},
          seed_{from_environment("PLAIT_RACE_SEED", new_seed())} {}

    /// Calls `check()` after each round, in which the `runners` ran against each other, until it returns false. Returns
    /// what went wrong, or nothing.
    template <class Check, class... Runners>
    [[nodiscard]] std::string run(Check check, Runners... runners) {
        static_assert(sizeof...(Runners) >= 2 && sizeof...(Runners) <= 8);
        std::string failure;
        std::vector<std::thread> threads;
        begin_delays(seed_);
        std::size_t number = 0;
        (threads.emplace_back([this, runner = &runners, number = number++] { run_rounds(*runner, number); }), ...);
        std::uint64_t round = 1;
        auto begin = std::chrono::steady_clock::now();
        const auto end = begin + most_time_;
        for (; round <= rounds_ && begin < end; ++round) {
            ended_.store(0, std::memory_order_relaxed);
            round_.store(round, std::memory_order_release);
            while (ended_.load(std::memory_order_acquire) != threads.size()) std::this_thread::yield();
            const auto now = std::chrono::steady_clock::now();
            const bool in_time = now - std::exchange(begin, now) < patience;
            begin_round(round, threads.size());
            if (threw_.load(std::memory_order_relaxed))
                failure = "an exception in round ";
            else if (!check())
                failure = "not as it should be after round ";
            else if (!in_time)
                failure = "somebody waited in vain in round ";
            if (!failure.empty()) break;
        }
        round_.store(over, std::memory_order_release);
        for (std::thread& thread : threads) thread.join();
        end_delays();
        if (!failure.empty()) failure += std::to_string(round);
        std::cout << "race: " << name_ << ": " << (failure.empty() ? round - 1 : round)
                  << " rounds, PLAIT_RACE_SEED=" << seed_ << ' ' << failure << std::endl;
        return failure;
    }

private:
    static constexpr std::uint64_t over = UINT64_MAX;

    static std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
        const char* const text = std::getenv(name);
        return text != nullptr && *text != 0 ? std::strtoull(text, nullptr, 10) : otherwise;
    }
    static std::uint64_t new_seed() {
        return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) % 1'000'000 + 1;
    }

    template <class Runner>
    void run_rounds(Runner& runner, std::size_t number) noexcept {
        std::uint64_t done = 0;
        for (;;) {
            std::uint64_t round = 0;
            while ((round = round_.load(std::memory_order_acquire)) == done) std::this_thread::yield();
            if (round == over) return;
            done = round;
            begin_round(round, number);
            try {
                runner();
            } catch (...) {
                threw_.store(true, std::memory_order_relaxed);
            }
            ended_.fetch_add(1, std::memory_order_acq_rel);
        }
    }

    const std::string name_;
    const std::uint64_t rounds_;
    const std::chrono::seconds most_time_;
    const std::uint64_t seed_;
    std::atomic<std::uint64_t> round_{0};  // the round that runs, or `over`
    std::atomic<std::size_t> ended_{0};    // how many have ended it
    std::atomic<bool> threw_{false};
};

/// A time at random, up to `limit`.
inline std::chrono::nanoseconds random_time(std::chrono::nanoseconds limit) noexcept {
    return std::chrono::nanoseconds{random_below(static_cast<std::uint64_t>(limit.count()))};
}

}  // namespace support
