// SPDX-License-Identifier: MIT
#include <plait/threading/priority_queue.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using plait::threading::PriorityQueue;

namespace {

struct Job {
    int priority;
    std::size_t number;
    friend bool operator<(const Job& a, const Job& b) { return a.priority < b.priority; }
};

/// Compared, it throws as soon as `comparisons` comes to 0.
struct Contrary {
    int value;
    friend bool operator<(const Contrary& a, const Contrary& b) {
        if (comparisons-- == 0) throw std::runtime_error("incomparable");
        return a.value < b.value;
    }
    static inline int comparisons = -1;
};

}  // namespace

TEST_CASE("a priority queue gives the least item first, and of equal ones the first that came") {
    unsigned state = 1;
    for (std::size_t size = 0; size < 70; ++size) {
        PriorityQueue<Job> queue;
        std::vector<Job> jobs;
        for (std::size_t number = 0; number < size; ++number) {
            state = state * 1664525U + 1013904223U;
            jobs.push_back({static_cast<int>(state >> 29), number});
            queue.put(jobs.back());
        }
        std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) {
            return std::pair{a.priority, a.number} < std::pair{b.priority, b.number};
        });
        for (const Job& job : jobs) REQUIRE(queue.get().number == job.number);
        REQUIRE(queue.empty());
    }
}

TEST_CASE("a priority queue keeps its order while items come and go") {
    PriorityQueue<int> queue;
    std::vector<int> model;
    unsigned state = 7;
    for (int i = 0; i < 5000; ++i) {
        state = state * 1664525U + 1013904223U;
        const int value = static_cast<int>(state >> 24);
        if (model.empty() || state >> 22 & 1U) {
            queue.put(value);
            model.insert(std::upper_bound(model.begin(), model.end(), value), value);
        } else {
            REQUIRE(queue.get() == model.front());
            model.erase(model.begin());
        }
    }
}

TEST_CASE("a priority queue takes an order of its own, and what can only be moved") {
    PriorityQueue<int, decltype([](int a, int b) { return a > b; })> greatest;
    greatest.put(1);
    greatest.put(3);
    greatest.put(2);
    CHECK(greatest.get() == 3);

    PriorityQueue<std::pair<int, std::unique_ptr<std::string>>> jobs;
    jobs.put({2, std::make_unique<std::string>("sweep")});
    jobs.put({1, std::make_unique<std::string>("cook")});
    CHECK(*jobs.get().second == "cook");
    CHECK(*jobs.get().second == "sweep");
}

TEST_CASE("a comparison that throws leaves a priority queue unchanged") {
    for (int in_put = 0; in_put < 4; ++in_put)
        for (int in_get = 0; in_get < 8; ++in_get) {
            Contrary::comparisons = -1;
            PriorityQueue<Contrary> queue;
            for (const int value : {5, 1, 4, 2, 6, 3, 7}) queue.put(Contrary{value});
            Contrary::comparisons = in_put;
            bool threw = false;
            try {
                queue.put(Contrary{0});
            } catch (const std::runtime_error&) {
                threw = true;
            }
            REQUIRE(queue.qsize() == (threw ? 7 : 8));
            const int least = threw ? 1 : 0;
            Contrary::comparisons = in_get;
            int next = least;
            try {
                next += queue.get().value == least ? 1 : 100;
            } catch (const std::runtime_error&) {
                threw = true;
            }
            REQUIRE((next == least + 1 || (next == least && threw)));
            Contrary::comparisons = -1;
            for (; next <= 7; ++next) REQUIRE(queue.get().value == next);
            REQUIRE(queue.empty());
        }
}
