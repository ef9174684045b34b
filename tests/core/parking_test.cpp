// SPDX-License-Identifier: MIT
#include <plait/core/parking.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
namespace parking = plait::detail::parking;
using parking::Place;
using parking::Result;
using plait::detail::Deadline;
using support::within;

namespace {

const auto always = [] { return true; };

/// Threads that sleep under one address, each begun when the one before sleeps; notes who woke, in order, and why.
class SleepingThreads {
public:
    ~SleepingThreads() {
        for (auto& thread : threads_) thread.join();
    }
    void add(Place place = Place::last, const void* self = nullptr) {
        const std::size_t before = parking::waiting(this);
        threads_.emplace_back([this, place, self, number = static_cast<int>(threads_.size())] {
            const Result result = parking::sleep(this, Deadline{30s}, always, place, self);
            const std::scoped_lock lock{mutex_};
            woken_.push_back(number);
            results_.push_back(result);
        });
        ready_ = ready_ && within(20s, [&] { return parking::waiting(this) == before + 1; });
    }
    [[nodiscard]] bool ready() const { return ready_; }
    [[nodiscard]] std::vector<int> woken(std::size_t count) {
        static_cast<void>(within(20s, [&] {
            const std::scoped_lock lock{mutex_};
            return woken_.size() >= count;
        }));
        const std::scoped_lock lock{mutex_};
        return woken_;
    }
    [[nodiscard]] std::vector<Result> results() {
        const std::scoped_lock lock{mutex_};
        return results_;
    }

private:
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::vector<int> woken_;
    std::vector<Result> results_;
    bool ready_ = true;
};

}  // namespace

TEST_CASE("who slept first is woken first") {
    SleepingThreads threads;
    for (int i = 0; i < 3; ++i) threads.add();
    CHECK(threads.ready());
    for (std::size_t i = 1; i <= 3; ++i) {
        CHECK(parking::wake(&threads, 1) == 1);
        CHECK(threads.woken(i).back() == static_cast<int>(i) - 1);
    }
    CHECK(parking::wake(&threads, 1) == 0);
    CHECK(threads.results() == std::vector(3, Result::woken));
}

TEST_CASE("who asks for the first place is woken before all others") {
    SleepingThreads threads;
    threads.add();
    threads.add(Place::first);
    CHECK(parking::wake(&threads, 1) == 1);
    CHECK(threads.woken(1) == std::vector{1});
    CHECK(parking::wake_all(&threads) == 1);
    CHECK(threads.woken(2) == std::vector{1, 0});
}

TEST_CASE("sleepers under other addresses sleep on") {
    SleepingThreads threads;
    threads.add();
    int other = 0;
    CHECK(parking::wake_all(&other) == 0);
    CHECK(parking::waiting(&threads) == 1);
    CHECK(parking::wake_all(&threads) == 1);
}

TEST_CASE("a sleep that is not wanted any more does not begin") {
    int address = 0;
    CHECK(parking::sleep(&address, Deadline::never(), [] { return false; }) == Result::unwanted);
}

TEST_CASE("a sleep that times out leaves nothing behind") {
    int address = 0;
    CHECK(parking::sleep(&address, Deadline{1ms}, always) == Result::timed_out);
    CHECK(parking::waiting(&address) == 0);
    CHECK(parking::wake_all(&address) == 0);
}

TEST_CASE("wake_one is told who sleeps, and tells the sleeper what it decided") {
    SleepingThreads threads;
    std::vector<parking::Sleepers> told;
    const auto hand_over = [&](parking::Sleepers sleepers) {
        told.push_back(sleepers);
        return Result::handed_over;
    };
    threads.add();
    threads.add();
    for (std::size_t i = 1; i <= 2; ++i) {
        parking::wake_one(&threads, hand_over);
        CHECK(threads.woken(i).size() == i);
    }
    parking::wake_one(&threads, hand_over);
    CHECK(told == std::vector{parking::Sleepers::several, parking::Sleepers::one, parking::Sleepers::none});
    CHECK(threads.results() == std::vector(2, Result::handed_over));
}

TEST_CASE("an interrupt wakes the one sleep that it names") {
    SleepingThreads threads;
    int first = 0;
    int second = 0;
    threads.add(Place::last, &first);
    threads.add(Place::last, &second);
    parking::interrupt(&threads, &second);
    CHECK(threads.woken(1) == std::vector{1});
    CHECK(threads.results() == std::vector{Result::interrupted});
    parking::interrupt(&threads, &second);
    CHECK(parking::waiting(&threads) == 1);
    CHECK(parking::wake_all(&threads) == 1);
}

TEST_CASE("wake_all calls what it is given first, also where nobody sleeps") {
    SleepingThreads threads;
    int calls = 0;
    const auto count = [&] { ++calls; };
    CHECK(parking::wake_all(&threads, count) == 0);
    threads.add();
    threads.add();
    CHECK(parking::wake_all(&threads, count) == 2);
    CHECK(calls == 2);
    CHECK(threads.woken(2).size() == 2);
}

TEST_CASE("wake asks first with how many sleep, and tells those whom it wakes what it was told") {
    SleepingThreads threads;
    std::vector<std::size_t> told;
    const auto say = [&](Result result) {
        return [&told, result](std::size_t sleepers) {
            told.push_back(sleepers);
            return result;
        };
    };
    parking::wake(&threads, 2, say(Result::woken));
    for (int i = 0; i < 4; ++i) threads.add();
    parking::wake(&threads, 2, say(Result::unwanted));
    CHECK(parking::waiting(&threads) == 4);
    parking::wake(&threads, 2, say(Result::handed_over));
    CHECK(threads.woken(2).size() == 2);
    CHECK(parking::waiting(&threads) == 2);
    parking::wake(&threads, SIZE_MAX, say(Result::woken));
    CHECK(threads.woken(4).size() == 4);
    CHECK(told == std::vector<std::size_t>{0, 3, 3, 2});
    const auto results = threads.results();
    CHECK(std::count(results.begin(), results.end(), Result::handed_over) == 2);
    CHECK(std::count(results.begin(), results.end(), Result::woken) == 2);
}

TEST_CASE("who sleeps after something is listed before it, and can be woken by it") {
    int address = 0;
    std::size_t listed = 0;
    const auto wake_itself = [&] {
        listed = parking::waiting(&address);
        parking::wake_all(&address);
    };
    CHECK(parking::sleep_after(&address, Deadline::never(), wake_itself) == Result::woken);
    CHECK(listed == 1);
    CHECK(parking::sleep_after(&address, Deadline{1ms}, [] {}) == Result::timed_out);
    CHECK(parking::waiting(&address) == 0);
}

TEST_CASE("what threads slept on is used again when they have ended") {
    const auto idle = [] {
        parking::Table& table = parking::table();
        const std::scoped_lock lock{table.idle_mutex};
        std::size_t count = 0;
        for (const parking::Sleeper* each = table.idle; each != nullptr; each = each->next) ++count;
        return count;
    };
    const int address = 0;
    const std::size_t before = idle();
    for (int i = 0; i < 50; ++i)
        std::thread{[&] { static_cast<void>(parking::sleep(&address, Deadline{1us}, [] { return true; })); }}.join();
    CHECK(idle() <= before + 1);
    CHECK(parking::waiting(&address) == 0);
}
