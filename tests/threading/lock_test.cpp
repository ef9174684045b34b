// SPDX-License-Identifier: MIT
#include <plait/threading/lock.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::threading::Lock;
using support::within;

namespace {

/// What `f()` gives on another thread.
template <class F>
auto elsewhere(F f) {
    decltype(f()) result{};
    std::thread thread{[&] { result = f(); }};
    thread.join();
    return result;
}

/// Whether `f()` throws a UsageError on another thread.
template <class F>
bool misuse_elsewhere(F f) {
    return elsewhere([&] {
        try {
            f();
            return false;
        } catch (const UsageError&) {
            return true;
        }
    });
}

}  // namespace

TEST_CASE("a lock is free, then held, then free") {
    Lock lock;
    CHECK_FALSE(lock.locked());
    lock.acquire();
    CHECK(lock.locked());
    CHECK(lock.owned());
    CHECK_FALSE(elsewhere([&] { return lock.owned(); }));
    CHECK_FALSE(elsewhere([&] { return lock.try_acquire(); }));
    CHECK_FALSE(elsewhere([&] { return lock.acquire(1ms); }));
    CHECK_FALSE(elsewhere([&] { return lock.acquire(0s); }));
    lock.release();
    CHECK_FALSE(lock.locked());
    CHECK(lock.try_acquire());
    lock.release();
    CHECK(lock.acquire(-1h));
    lock.release();
    CHECK(lock.waiting() == 0);
}

TEST_CASE("a second acquire by the owner throws instead of deadlocking") {
    Lock lock;
    const std::scoped_lock guard{lock};
    CHECK_THROWS_AS(lock.acquire(), UsageError);
    CHECK_THROWS_AS(lock.acquire(1h), UsageError);
    CHECK_THROWS_AS(lock.acquire(0s), UsageError);
    CHECK_FALSE(lock.try_acquire());
    CHECK(lock.owned());
}

TEST_CASE("only the owner releases") {
    Lock lock;
    CHECK_THROWS_AS(lock.release(), UsageError);
    const std::scoped_lock guard{lock};
    CHECK(misuse_elsewhere([&] { lock.release(); }));
    CHECK(lock.owned());
}

TEST_CASE("a lock whose acquire timed out is wholly free once it is released") {
    Lock lock;
    lock.acquire();
    CHECK_FALSE(elsewhere([&] { return lock.acquire(1ms); }));
    lock.release();
    CHECK_FALSE(lock.locked());
    CHECK(elsewhere([&] {
        if (!lock.acquire(0s)) return false;
        lock.release();
        return true;
    }));
}

TEST_CASE("all who wait get it in turn") {
    Lock lock;
    int passed = 0;
    lock.acquire();
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i)
        threads.emplace_back([&] {
            const std::scoped_lock guard{lock};
            ++passed;
        });
    CHECK(within(20s, [&] { return lock.waiting() == 5; }));
    CHECK(passed == 0);
    lock.release();
    for (auto& thread : threads) thread.join();
    CHECK(passed == 5);
    CHECK_FALSE(lock.locked());
}

TEST_CASE("a lock works with every standard guard, and guards release when an exception passes") {
    Lock lock;
    Lock other;
    {
        const std::scoped_lock both{lock, other};
    }
    {
        std::unique_lock guard{lock, std::defer_lock};
        CHECK(guard.try_lock_for(1ms));
        guard.unlock();
        CHECK(guard.try_lock_until(std::chrono::steady_clock::now() + 1s));
        guard.unlock();
        CHECK(guard.try_lock_until(std::chrono::system_clock::time_point::min()));
        guard.unlock();
        CHECK(guard.try_lock_until(std::chrono::system_clock::time_point::max()));
    }
    try {
        const std::scoped_lock guard{lock};
        throw std::runtime_error("broken");
    } catch (const std::runtime_error&) {
        CHECK_FALSE(lock.locked());
    }
    const std::scoped_lock guard{lock};
    CHECK_FALSE(elsewhere([&] { return lock.try_lock_until(std::chrono::system_clock::now() + 2ms); }));
    CHECK_FALSE(elsewhere([&] { return lock.try_lock_for(std::chrono::duration<double, std::milli>{0.5}); }));
    CHECK_FALSE(elsewhere([&] { return lock.try_lock_for(-1h); }));
}

TEST_CASE("a lock is ready before main and needs no destruction") {
    static constinit Lock lock;
    const std::scoped_lock guard{lock};
    STATIC_REQUIRE(std::is_trivially_destructible_v<Lock>);
    STATIC_REQUIRE(sizeof(Lock) == sizeof(void*));
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Lock>);
}

TEST_CASE("whatever way it is acquired, one thread holds it at a time") {
    Lock lock;
    std::atomic<int> holders{0};
    std::atomic<int> together{0};
    int counter = 0;
    int expected = 0;
    std::mutex expected_mutex;
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= 8; ++seed)
        threads.emplace_back([&, state = seed * 2654435761U]() mutable {
            int got = 0;
            for (int i = 0; i < 1000; ++i) {
                state = state * 1664525U + 1013904223U;
                bool acquired = true;
                switch (state >> 30) {
                    case 0:
                        acquired = lock.try_acquire();
                        break;
                    case 1:
                        acquired = lock.acquire(std::chrono::microseconds{state >> 26 & 15U});
                        break;
                    default:
                        lock.acquire();
                }
                if (!acquired) continue;
                if (++holders != 1) ++together;
                ++counter;
                if (state % 64 == 0) std::this_thread::yield();
                --holders;
                lock.release();
                ++got;
            }
            const std::scoped_lock guard{expected_mutex};
            expected += got;
        });
    for (auto& thread : threads) thread.join();
    CHECK(together == 0);
    CHECK(counter == expected);
    CHECK_FALSE(lock.locked());
    CHECK(lock.waiting() == 0);
}

TEST_CASE("a waiter that is overtaken again and again gets its turn") {
    Lock lock;
    std::atomic<bool> stop{false};
    std::thread greedy{[&] {
        while (!stop) {
            const std::scoped_lock guard{lock};
            for (int i = 0; i < 100; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
        }
    }};
    for (int i = 0; i < 200; ++i) {
        lock.acquire();
        lock.release();
    }
    stop = true;
    greedy.join();
    SUCCEED();
}

TEST_CASE("the next owner may destroy the lock while release is still returning") {
    struct Shared {
        Lock lock;
        int owners = 2;
    };
    const auto leave = [](Shared* shared) {
        shared->lock.acquire();
        const bool last = --shared->owners == 0;
        shared->lock.release();
        if (last) delete shared;
    };
    for (int round = 0; round < 2000; ++round) {
        auto* const shared = new Shared;
        std::thread other{[&] { leave(shared); }};
        leave(shared);
        other.join();
    }
    SUCCEED();
}
