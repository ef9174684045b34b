// SPDX-License-Identifier: MIT
#include <plait/threading/rlock.hpp>

#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::threading::RLock;

namespace {

/// Whether another thread can have it just now.
bool free_elsewhere(RLock& lock) {
    bool acquired = false;
    std::thread thread{[&] {
        acquired = lock.try_acquire();
        if (acquired) lock.release();
    }};
    thread.join();
    return acquired;
}

}  // namespace

TEST_CASE("as many releases as acquires make it free, and not one less") {
    RLock lock;
    lock.acquire();
    CHECK(lock.acquire(1s));
    CHECK(lock.acquire(0s));
    CHECK(lock.try_acquire());
    for (int i = 0; i < 4; ++i) {
        CHECK(lock.locked());
        CHECK(lock.owned());
        CHECK_FALSE(free_elsewhere(lock));
        lock.release();
    }
    CHECK_FALSE(lock.locked());
    CHECK(free_elsewhere(lock));
}

TEST_CASE("an RLock is acquired a million times") {
    RLock lock;
    constexpr int depth = 1'000'000;
    for (int i = 0; i < depth; ++i) lock.acquire();
    for (int i = 1; i < depth; ++i) lock.release();
    CHECK(lock.locked());
    lock.release();
    CHECK_FALSE(lock.locked());
}

TEST_CASE("only the owner releases, however often it holds it, and misuse changes nothing") {
    RLock lock;
    CHECK_THROWS_AS(lock.release(), UsageError);
    for (int held = 1; held <= 2; ++held) {
        lock.acquire();
        bool refused = false;
        std::thread stranger{[&] {
            try {
                lock.release();
            } catch (const UsageError&) {
                refused = true;
            }
        }};
        stranger.join();
        CHECK(refused);
        CHECK(lock.owned());
    }
    lock.release();
    CHECK(lock.owned());
    lock.release();
    CHECK_THROWS_AS(lock.release(), UsageError);
}

TEST_CASE("a thread that waits for it times out, or gets it when the owner is done") {
    RLock lock;
    lock.acquire();
    lock.acquire();
    std::atomic<bool> tried{false};
    bool timed_out = false;
    bool acquired = false;
    std::thread other{[&] {
        timed_out = !lock.acquire(1ms) && !lock.try_lock_for(1ms) &&
                    !lock.try_lock_until(std::chrono::system_clock::now() + 1ms);
        tried = true;
        const std::scoped_lock guard{lock};
        acquired = true;
    }};
    while (!tried || lock.waiting() == 0) std::this_thread::yield();
    lock.release();
    lock.release();
    other.join();
    CHECK(timed_out);
    CHECK(acquired);
}

TEST_CASE("an RLock guards a counter that several threads raise, recursively") {
    RLock lock;
    int counter = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] {
            for (int k = 0; k < 2000; ++k) {
                const std::scoped_lock outer{lock};
                const std::scoped_lock inner{lock};
                ++counter;
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(counter == 6000);
}

TEST_CASE("an RLock is ready before main and needs no destruction") {
    static constinit RLock lock;
    const std::scoped_lock guard{lock};
    STATIC_REQUIRE(std::is_trivially_destructible_v<RLock>);
}
