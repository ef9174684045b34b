// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // what only POSIX can do to a thread that waits
#  include <plait/threading/condition.hpp>
#  include <plait/threading/lock.hpp>
#  include <plait/threading/semaphore.hpp>

#  include "support/catch.hpp"
#  include "support/deadline.hpp"
#  include "support/disturbance.hpp"

#  include <chrono>
#  include <mutex>
#  include <thread>

using namespace std::chrono_literals;
using namespace plait::threading;
using support::SignalStorm;
using support::within;

namespace {

/// How long `wait()` takes, in a thread of its own, while signals come.
template <class Wait>
std::chrono::nanoseconds time_in_storm(Wait wait) {
    std::chrono::nanoseconds time{};
    const SignalStorm storm;
    std::thread thread{[&] {
        const auto begin = std::chrono::steady_clock::now();
        wait();
        time = std::chrono::steady_clock::now() - begin;
    }};
    thread.join();
    return time;
}

}  // namespace

TEST_CASE("signals neither shorten nor prolong a wait") {
    Lock lock;
    Semaphore semaphore{0};
    Condition condition;
    const std::scoped_lock guard{lock};
    bool got = false;
    // Longer than forty signals; prolonged by each of them, it would not end.
    const auto on_lock = [&] { got = got || lock.acquire(20ms); };
    const auto on_semaphore = [&] { got = got || semaphore.acquire(20ms); };
    const auto on_condition = [&] {
        const std::scoped_lock held{condition};
        got = got || condition.wait(20ms);
    };
    CHECK(time_in_storm(on_lock) >= 20ms);
    CHECK(time_in_storm(on_semaphore) >= 20ms);
    CHECK(time_in_storm(on_condition) >= 20ms);
    CHECK_FALSE(got);
}

TEST_CASE("a thread that signals interrupt gets the lock when it is free") {
    Lock lock;
    lock.acquire();
    bool acquired = false;
    const SignalStorm storm;
    std::thread waiter{[&] {
        const std::scoped_lock guard{lock};
        acquired = true;
    }};
    CHECK(within(20s, [&] { return lock.waiting() == 1 && storm.count() > 20; }));
    lock.release();
    waiter.join();
    CHECK(acquired);
}
#endif
