// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// What the benchmarks share: they take turns, round by round, in one process, and print a table.

namespace benchmark {

/// With PLAIT_BENCHMARK_QUICK set, a hundredth of the work in three rounds: to see that a benchmark runs.
inline bool quick() {
    static const bool is_quick = std::getenv("PLAIT_BENCHMARK_QUICK") != nullptr;
    return is_quick;
}
inline int rounds() { return quick() ? 3 : 11; }
inline std::size_t scaled(std::size_t operations) { return quick() ? operations / 100 + 1 : operations; }

/// How long `work()` takes, in nanoseconds.
template <class Work>
double nanoseconds(Work&& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}

/// How long it takes until `work(number)` has ended in each of `count` threads, which begin together.
template <class Work>
double nanoseconds_in_threads(std::size_t count, Work work) {
    std::atomic<std::size_t> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (std::size_t number = 0; number < count; ++number)
        threads.emplace_back([&, number] {
            ++ready;
            while (!go) std::this_thread::yield();
            work(number);
        });
    while (ready != count) std::this_thread::yield();
    return nanoseconds([&] {
        go = true;
        for (auto& thread : threads) thread.join();
    });
}

/// Calls `measure(contender, counts)` for each contender once a round, every other round in reverse order. The first
/// round is the warm-up, and does not count.
template <class Measure>
void take_turns(std::size_t contenders, Measure measure) {
    for (int round = -1; round < rounds(); ++round)
        for (std::size_t i = 0; i < contenders; ++i) measure(round % 2 == 0 ? i : contenders - 1 - i, round >= 0);
}

/// Makes the compiler believe that `value` is used, and that all memory may have changed.
template <class T>
void keep(const T& value) {
    asm volatile("" : : "r"(&value) : "memory");
}

struct Unit {
    const char* name;
    double nanoseconds;
};
inline constexpr Unit ns{"ns", 1};
inline constexpr Unit us{"µs", 1e3};
inline constexpr Unit ms{"ms", 1e6};
inline constexpr Unit bytes{"bytes", 1};

/// Contenders that do the same work, each with a function that measures one operation in nanoseconds.
class Table {
public:
    using Measure = std::function<double()>;

    Table(std::string title, Unit unit, std::string target)
        : title_{std::move(title)}, unit_{unit}, target_{std::move(target)} {}

    /// What everything is compared with: the standard's primitive, the system call, or plain code.
    void bare(std::string name, Measure measure = {}) {
        bare_ = contenders_.size();
        peer(std::move(name), std::move(measure));
    }
    /// The first one is what peers are compared with.
    void plait(std::string name, Measure measure = {}) {
        if (plait_ == none) plait_ = contenders_.size();
        peer("plait " + std::move(name), std::move(measure));
    }
    void peer(std::string name, Measure measure = {}) {
        contenders_.push_back({std::move(name), std::move(measure), {}});
    }

    /// Measures all contenders in turn, and prints.
    void run() {
        take_turns(contenders_.size(), [&](std::size_t contender, bool counts) {
            const double value = contenders_[contender].measure();
            if (counts) record(contender, value);
        });
        print();
    }
    [[nodiscard]] std::size_t size() const { return contenders_.size(); }
    /// For work that gives several figures at once: a figure of a round, by the order in which contenders were added.
    void record(std::size_t contender, double value) { contenders_[contender].values.push_back(value); }
    void print() {
        std::printf("%s [%s]\n", title_.c_str(), unit_.name);
        std::printf("    target: %s\n", target_.c_str());
        std::printf("    %-44s %9s %9s %9s %8s%s\n", "", "median", "least", "most", "/bare",
                    plait_ != none ? "   /plait" : "");
        for (Contender& each : contenders_) {
            const auto [least, most] = std::minmax_element(each.values.begin(), each.values.end());
            std::printf("    %-44s %9.2f %9.2f %9.2f %8.2f", each.name.c_str(), each.median() / unit_.nanoseconds,
                        *least / unit_.nanoseconds, *most / unit_.nanoseconds,
                        each.median() / contenders_[bare_].median());
            if (plait_ != none) std::printf(" %8.2f", each.median() / contenders_[plait_].median());
            std::printf("\n");
        }
        std::printf("\n");
        std::fflush(stdout);
    }

private:
    struct Contender {
        [[nodiscard]] double median() const {
            std::vector<double> sorted = values;
            std::sort(sorted.begin(), sorted.end());
            return sorted[sorted.size() / 2];
        }
        std::string name;
        Measure measure;
        std::vector<double> values;
    };
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    std::string title_;
    Unit unit_;
    std::string target_;
    std::vector<Contender> contenders_;
    std::size_t bare_ = 0;
    std::size_t plait_ = none;
};

inline void missing(const char* peer) { std::printf("    (%s is not installed: left out)\n", peer); }

}  // namespace benchmark
