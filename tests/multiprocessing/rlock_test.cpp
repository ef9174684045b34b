// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/rlock.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/forked_child.hpp"
#include "support/travel.hpp"

#include <plait/multiprocessing/lock.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::CodecError;
using plait::OwnerDiedError;
using plait::UsageError;
using plait::multiprocessing::Lock;
using plait::multiprocessing::RLock;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

namespace {

/// A child that holds `lock` three times.
ForkedChild holder_of(const RLock& lock) {
    ForkedChild child{[lock] {
        for (int i = 0; i < 3; ++i) lock.acquire();
        return support::wait_for_ever();
    }};
    while (!lock.locked()) std::this_thread::yield();
    return child;
}

}  // namespace

TEST_CASE("a recursive lock is free once it was released as often as it was acquired") {
    const RLock lock;
    const SharedVariable<std::atomic<int>> step{0};
    ForkedChild other{[&] {
        for (int i = 1; i <= 5; ++i) {
            while (step->load() != 2 * i - 1) std::this_thread::yield();
            const bool free = lock.try_acquire();
            if (free != (i == 5)) return i;
            if (free && lock.locked()) lock.release();
            step->store(2 * i);
        }
        return 0;
    }};
    const auto others_turn = [&] {
        const int now = ++*step;
        return within(30s, [&] { return step->load() == now + 1; });
    };
    lock.acquire();
    CHECK(lock.acquire(1s));
    CHECK(lock.try_acquire());
    lock.recover();
    CHECK(lock.owned());
    for (int i = 0; i < 4; ++i) {
        CHECK(others_turn());
        CHECK(lock.locked());
        lock.release();
    }
    CHECK_FALSE(lock.locked());
    CHECK(others_turn());
    CHECK(other.join() == 0);
    CHECK_THROWS_AS(lock.release(), UsageError);
}

TEST_CASE("a recursive lock lets one thread of one process pass at a time") {
    constexpr int times = 1'000;
    const RLock lock;
    const SharedVariable<long> count{0};
    const auto work = [&] {
        for (int i = 0; i < times; ++i) {
            const std::scoped_lock guard{lock};
            const std::scoped_lock again{lock};
            ++*count;
        }
        return 0;
    };
    std::vector<ForkedChild> children;
    for (int i = 0; i < 3; ++i) children.emplace_back(work);
    work();
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    CHECK(*count == 4 * times);
}

TEST_CASE("a forked child does not own its parent's recursive lock") {
    const RLock lock;
    lock.acquire();
    lock.acquire();
    ForkedChild child{[&] {
        if (lock.owned() || lock.try_acquire() || lock.acquire(1ms)) return 1;
        try {
            lock.release();
            return 2;
        } catch (const UsageError&) {
            return 0;
        }
    }};
    CHECK(child.join() == 0);
    lock.release();
    CHECK(lock.owned());
    lock.release();
}

TEST_CASE("a thread that takes a dead one's place does not own what that held") {
    const RLock lock;
    std::thread{[&] { lock.acquire(); }}.join();
    int code = 0;
    std::thread{[&] {  // often with the dead one's stack and number
        try {
            lock.acquire();
            code = 1;
        } catch (const OwnerDiedError&) {
            code = lock.owned() ? 2 : 3;
        }
    }}
        .join();
    CHECK(code == 3);
}

TEST_CASE("a recursive lock whose owner died is held once after it was recovered") {
    const RLock lock;
    holder_of(lock).kill();
    CHECK_THROWS_AS(lock.acquire(), OwnerDiedError);
    CHECK_THROWS_AS(lock.acquire(1s), OwnerDiedError);
    CHECK_THROWS_AS(lock.try_acquire(), OwnerDiedError);
    CHECK_FALSE(lock.owned());
    CHECK_FALSE(lock.locked());
    lock.recover();
    CHECK(lock.owned());
    lock.release();
    CHECK_FALSE(lock.locked());

    holder_of(lock).kill();
    lock.recover();
    lock.release();
    CHECK_FALSE(lock.locked());
}

TEST_CASE("a recursive lock can be held a million times") {
    const RLock lock;
    for (int i = 0; i < 1'000'000; ++i) lock.acquire();
    for (int i = 1; i < 1'000'000; ++i) lock.release();
    CHECK(lock.owned());
    lock.release();
    CHECK_FALSE(lock.owned());
}

TEST_CASE("a recursive lock crosses to another process, and not as a plain one") {
    const RLock lock;
    CHECK((support::arrived(lock) == lock));
    auto [here, there] = plait::os::make_channel();
    support::send(here, lock);
    CHECK_THROWS_AS(support::receive<Lock>(there), CodecError);
}

TEST_CASE("a recursive lock is a TimedLockable of the standard") {
    const RLock lock;
    std::unique_lock guard{lock, 1s};
    CHECK(guard.owns_lock());
    std::unique_lock again{lock, std::chrono::steady_clock::now() + 1s};
    CHECK(again.owns_lock());
    std::unique_lock third{lock, std::try_to_lock};
    CHECK(third.owns_lock());
}
