// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/detail/wait_point.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::Timeout;
using plait::detail::Deadline;
using Point = plait::multiprocessing::detail::WaitPoint<>;

namespace {

const Deadline never = Deadline::never();
Deadline in(std::chrono::milliseconds time) { return Deadline{Timeout{time}}; }

}  // namespace

TEST_CASE("who need not wait does not sleep") {
    Point point;
    CHECK(point.sleep(never, [] { return true; }) == Point::Result::ready);
    CHECK(point.waiting() == 0);
}

TEST_CASE("a sleep ends with its deadline, or for a look at what was waited for") {
    Point point;
    const auto begin = std::chrono::steady_clock::now();
    CHECK(point.sleep(in(20ms), [] { return false; }) == Point::Result::timed_out);
    CHECK(std::chrono::steady_clock::now() - begin >= 20ms);
    CHECK(point.sleep(never, [] { return false; }) == Point::Result::slice_over);
    CHECK(std::chrono::steady_clock::now() - begin >= 120ms);
    int looks = 0;
    CHECK(point.sleep(in(1ms), [&] { return ++looks == 2; }) == Point::Result::ready);
}

TEST_CASE("each item that comes wakes one who sleeps, until all have gone") {
    constexpr int count = 4;
    Point point;
    std::atomic<int> items{0};
    std::atomic<int> taken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i)
        threads.emplace_back([&] {
            for (;;) {
                int there = items.load();
                if (there > 0 && items.compare_exchange_strong(there, there - 1)) break;
                static_cast<void>(point.sleep(never, [&] { return items.load() > 0; }));
            }
            ++taken;
        });
    for (int i = 1; i <= count; ++i) {
        REQUIRE(support::within(30s, [&] { return point.waiting() == static_cast<std::size_t>(count - i + 1); }));
        ++items;
        point.wake_one();
        REQUIRE(support::within(30s, [&] { return taken == i; }));
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(point.waiting() == 0);
}

TEST_CASE("a wake for all wakes all") {
    Point point;
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] {
            while (point.sleep(never, [&] { return over.load(); }) != Point::Result::ready) {
            }
        });
    REQUIRE(support::within(30s, [&] { return point.waiting() == 3; }));
    over = true;
    point.wake_all();
    for (std::thread& thread : threads) thread.join();
    CHECK(point.waiting() == 0);
}
