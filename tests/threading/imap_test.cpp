// SPDX-License-Identifier: MIT
#include <plait/threading/imap.hpp>

#include "support/catch.hpp"

#include <plait/threading/event.hpp>
#include <plait/threading/lock.hpp>
#include <plait/threading/pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::threading;
using plait::PoolTerminatedError;
using plait::TimeoutError;
using plait::UsageError;

namespace {

int square(int x) { return x * x; }

std::vector<int> numbers(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
}

template <class R>
std::vector<R> all_of(Imap<R> imap) {
    std::vector<R> results;
    for (R& result : imap) results.push_back(std::move(result));
    return results;
}

/// Counts to three, then throws.
class Faulty {
public:
    struct Iterator {
        using value_type = int;
        using difference_type = std::ptrdiff_t;
        int operator*() const { return at; }
        Iterator& operator++() {
            if (++at == 3) throw std::runtime_error("no more");
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const Iterator&, std::default_sentinel_t) { return false; }
        int at = 0;
    };
    Iterator begin() const { return {}; }
    std::default_sentinel_t end() const { return {}; }
};

}  // namespace

TEST_CASE("imap gives the results in the items' order, whatever the chunks") {
    for (const int workers : {1, 2, 3}) {
        ThreadPool pool(workers);
        for (const std::size_t chunk : {0U, 1U, 7U, 100U, 101U}) {
            auto squares = numbers(100);
            for (int& x : squares) x *= x;
            CHECK(all_of(pool.imap(square, numbers(100), chunk)) == squares);
            auto unordered = all_of(pool.imap_unordered(square, numbers(100), chunk));
            std::sort(unordered.begin(), unordered.end());
            CHECK(unordered == squares);
        }
    }
}

TEST_CASE("imap of nothing ends at once") {
    ThreadPool pool(2);
    CHECK(all_of(pool.imap(square, std::vector<int>{})).empty());
    CHECK(all_of(pool.imap_unordered(square, std::vector<int>{})).empty());
}

TEST_CASE("a result is given while later ones are still being computed") {
    ThreadPool pool(2);
    Event go_on;
    auto results = pool.imap(
        [&](int x) {
            if (x == 1) go_on.wait();
            return x;
        },
        numbers(3));
    CHECK(results.next(30s) == 0);
    CHECK_THROWS_AS(results.next(1ms), TimeoutError);
    CHECK_THROWS_AS(results.next(0s), TimeoutError);
    go_on.set();
    CHECK(results.next(30s) == 1);
    CHECK(results.next(30s) == 2);
    CHECK(results.next(30s) == std::nullopt);
    CHECK(results.next() == std::nullopt);
}

TEST_CASE("imap_unordered gives first what comes first") {
    ThreadPool pool(2);
    Event go_on;
    auto results = pool.imap_unordered(
        [&](int x) {
            if (x == 0) go_on.wait();
            return x;
        },
        numbers(3));
    const auto first = results.next(30s);
    const auto second = results.next(30s);
    CHECK(first == 1);
    CHECK(second == 2);
    go_on.set();
    CHECK(results.next(30s) == 0);
}

TEST_CASE("an item that fails throws when it is its turn, and the next can be read") {
    ThreadPool pool(2);
    auto results = pool.imap(
        [](int x) {
            if (x == 1) throw std::runtime_error("one");
            return x;
        },
        numbers(3));
    CHECK(results.next() == 0);
    CHECK_THROWS_AS(results.next(), std::runtime_error);
    CHECK(results.next() == 2);
    CHECK(results.next() == std::nullopt);
}

TEST_CASE("where the range throws, what came before is given, then its error, once") {
    ThreadPool pool(2);
    auto results = pool.imap(square, Faulty{}, 2);
    CHECK(results.next() == 0);
    CHECK(results.next() == 1);
    CHECK(results.next() == 4);
    CHECK_THROWS_AS(results.next(), std::runtime_error);
    CHECK(results.next() == std::nullopt);
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("results that only move, and functions that return nothing") {
    ThreadPool pool(2);
    int sum = 0;
    for (const auto& each : pool.imap([](int x) { return std::make_unique<int>(x); }, numbers(4))) sum += *each;
    CHECK(sum == 6);
    std::atomic<int> calls{0};
    std::size_t results = 0;
    for ([[maybe_unused]] const auto& nothing : pool.imap([&](int) { ++calls; }, numbers(4))) ++results;
    CHECK(calls == 4);
    CHECK(results == 4);
}

TEST_CASE("the items are read in the call, so that the range may go") {
    ThreadPool pool(2);
    std::istringstream stream("1 2 3");
    auto results = [&] {
        const auto range = numbers(3);
        return pool.imap(square, range);
    }();
    CHECK(all_of(std::move(results)) == std::vector{0, 1, 4});
}

TEST_CASE("a call may go through an imap of its own pool, with one worker too") {
    for (const int workers : {1, 2}) {
        ThreadPool pool(workers);
        const auto sum = [&] {
            int total = 0;
            for (const int x : pool.imap(square, numbers(20))) total += x;
            for (const int x : pool.imap_unordered(square, numbers(20), 3)) total -= x;
            return total;
        };
        CHECK(pool.apply_async(sum).get(30s) == 0);
        CHECK(pool.map([&](int) { return sum(); }, numbers(10)) == std::vector<int>(10, 0));
    }
}

TEST_CASE("after an imap is gone nothing of it begins, and the pool closes") {
    ThreadPool pool(1);
    Event go_on;
    Event begun;
    std::atomic<int> calls{0};
    {
        auto results = pool.imap(
            [&](int) {
                ++calls;
                begun.set();
                go_on.wait();
            },
            numbers(1000));
        begun.wait();
    }
    go_on.set();
    pool.close();
    pool.join();
    CHECK(calls == 1);
}

TEST_CASE("close lets an imap end; terminate fails what has not begun; a closed pool takes none") {
    ThreadPool pool(2);
    auto results = pool.imap(square, numbers(100));
    pool.close();
    CHECK_THROWS_AS(pool.imap(square, numbers(3)), UsageError);
    CHECK_THROWS_AS(pool.imap(square, numbers(0)), UsageError);
    pool.join();
    CHECK(all_of(std::move(results)).size() == 100);

    ThreadPool another(1);
    Event begun;
    Event go_on;
    auto failing = another.imap(
        [&](int x) {
            begun.set();
            go_on.wait();
            return x;
        },
        numbers(3));
    begun.wait();
    another.terminate();
    go_on.set();
    another.join();
    // The one that ran is whole; its worker may have taken up the next before it was told.
    CHECK(failing.next(30s) == 0);
    std::size_t terminated = 0;
    std::size_t rest = 0;
    for (; rest < 2; ++rest) {
        try {
            static_cast<void>(failing.next(30s));
        } catch (const PoolTerminatedError&) {
            ++terminated;
        }
    }
    CHECK(terminated == 2);
}

TEST_CASE("an imap that was moved from says so") {
    ThreadPool pool(1);
    auto results = pool.imap(square, numbers(1));
    auto others = std::move(results);
    CHECK_THROWS_AS(results.next(), UsageError);
    CHECK(others.next() == 0);
}

TEST_CASE("no result is missed, round after round") {
    ThreadPool pool(2);
    for (int round = 0; round < 500; ++round) {
        int sum = 0;
        for (const int x : pool.imap_unordered(square, numbers(4))) sum += x;
        for (const int x : pool.imap(square, numbers(4))) sum += x;
        REQUIRE(sum == 28);
    }
}

TEST_CASE("an item that is run by who reads runs nothing of the reader's while it waits") {
    ThreadPool pool(1);
    Lock lock;
    plait::Promise<int> promise;
    Event item_waits;
    std::thread giver{[&] {
        item_waits.wait();
        promise.set_value(1);
    }};
    const auto call = pool.apply_async([&] {
        // Were it run on the stack of the item, which holds the lock, it would be told so.
        const auto sibling = pool.apply_async([&] { const std::scoped_lock guard{lock}; });
        const auto later = promise.future();
        const auto item = [&](int) {
            const std::scoped_lock guard{lock};
            item_waits.set();
            return later.get(30s);
        };
        int sum = 0;
        for (const int x : pool.imap(item, numbers(1))) sum += x;
        sibling.get(30s);
        return sum;
    });
    CHECK(call.get(60s) == 1);
    giver.join();
}

TEST_CASE("a chunk larger than any range is one chunk") {
    ThreadPool pool(2);
    CHECK(all_of(pool.imap(square, numbers(3), SIZE_MAX)) == std::vector{0, 1, 4});
    CHECK(pool.apply([&] { return all_of(pool.imap(square, numbers(3), std::size_t{1} << 63)); }) ==
          std::vector{0, 1, 4});
}

TEST_CASE("imap takes pointers to members, as map does") {
    struct Job {
        int number;
        int twice() const { return 2 * number; }
    };
    ThreadPool pool(2);
    const std::vector<Job> jobs{{1}, {2}};
    CHECK(all_of(pool.imap(&Job::twice, jobs)) == std::vector{2, 4});
    CHECK(pool.map(&Job::twice, jobs) == std::vector{2, 4});
}
