// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/lock.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/process_state.hpp"
#include "support/travel.hpp"

#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using plait::CodecError;
using plait::OwnerDiedError;
using plait::UsageError;
using plait::multiprocessing::Lock;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

namespace {

/// A child that holds `lock`, and then runs `rest`.
template <class Rest>
ForkedChild holder_of(const Lock& lock, Rest rest) {
    ForkedChild child{[lock, rest] {
        lock.acquire();
        return rest();
    }};
    while (!lock.locked()) std::this_thread::yield();
    return child;
}

ForkedChild holder_of(const Lock& lock) {
    return holder_of(lock, [] { return support::wait_for_ever(); });
}

/// Whether every way to acquire it says that an owner died.
bool is_lost(const Lock& lock) {
    int said = 0;
    const auto count = [&](auto acquire) {
        try {
            acquire();
        } catch (const OwnerDiedError&) {
            ++said;
        }
    };
    count([&] { lock.acquire(); });
    count([&] { static_cast<void>(lock.acquire(1s)); });
    count([&] { static_cast<void>(lock.acquire(0s)); });
    count([&] { static_cast<void>(lock.try_acquire()); });
    count([&] { const std::scoped_lock guard{lock}; });
    count([&] { const std::unique_lock guard{lock, 1s}; });
    return said == 6 && !lock.locked();
}

}  // namespace

static_assert(plait::multiprocessing::Encodable<Lock> && plait::multiprocessing::Decodable<Lock>);

TEST_CASE("a lock lets one thread of one process pass at a time") {
    constexpr int times = 1'000;
    const Lock lock;
    const SharedVariable<long> count{0};
    const auto work = [&] {
        for (int i = 0; i < times; ++i) {
            const std::scoped_lock guard{lock};
            ++*count;
        }
        return 0;
    };
    std::vector<ForkedChild> children;
    for (int i = 0; i < 3; ++i) children.emplace_back(work);
    std::thread thread{work};
    work();
    thread.join();
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    CHECK(*count == 5 * times);
    CHECK_FALSE(lock.locked());
    CHECK(lock.waiting() == 0);
}

TEST_CASE("a lock knows its owner") {
    const Lock lock;
    CHECK_FALSE(lock.locked());
    CHECK(lock.try_acquire());
    CHECK(lock.locked());
    CHECK(lock.owned());
    CHECK_THROWS_AS(lock.acquire(), UsageError);
    CHECK_THROWS_AS(lock.acquire(1s), UsageError);
    CHECK_THROWS_AS(lock.acquire(0s), UsageError);
    CHECK_THROWS_AS(lock.try_acquire(), UsageError);
    CHECK_THROWS_AS(lock.recover(), UsageError);
    lock.release();
    CHECK_THROWS_AS(lock.release(), UsageError);
    CHECK(lock.acquire(1s));
    lock.release();
    CHECK_FALSE(lock.owned());
}

TEST_CASE("only the owner releases a lock, and a forked child is not the owner") {
    const Lock lock;
    lock.acquire();
    bool refused = false;
    std::thread{[&] {
        try {
            lock.release();
        } catch (const UsageError&) {
            refused = !lock.owned() && lock.locked();
        }
    }}.join();
    CHECK(refused);
    ForkedChild child{[&] {
        if (lock.owned()) return 1;
        try {
            lock.release();
            return 2;
        } catch (const UsageError&) {
        }
        return lock.acquire(1ms) || lock.try_acquire() ? 3 : 0;
    }};
    CHECK(child.join() == 0);
    CHECK(lock.owned());
    lock.release();
}

TEST_CASE("a timed acquire gives up at its time, and leaves nothing half taken") {
    const Lock lock;
    const SharedVariable<std::atomic<bool>> may_end{false};
    ForkedChild holder = holder_of(lock, [&] {
        while (!may_end->load()) std::this_thread::yield();
        lock.release();
        return 0;
    });
    CHECK_FALSE(lock.try_acquire());
    CHECK_FALSE(lock.acquire(-1s));
    const support::SignalStorm storm;
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(lock.acquire(150ms));
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 150ms);
    CHECK(time < 30s);
    *may_end = true;
    CHECK(lock.acquire(std::chrono::hours::max()));
    lock.release();
    CHECK(holder.join() == 0);
}

TEST_CASE("a lock is a TimedLockable of the standard") {
    const Lock lock;
    const Lock other;
    {
        const std::scoped_lock both{lock, other};
        CHECK((lock.owned() && other.owned()));
    }
    std::unique_lock guard{lock, std::defer_lock};
    CHECK(guard.try_lock_for(1s));
    guard.unlock();
    CHECK(guard.try_lock_until(std::chrono::system_clock::now() + 1s));
    guard.unlock();
    CHECK(guard.try_lock_until(std::chrono::steady_clock::now() - 1s));
    guard.unlock();
    try {
        const std::scoped_lock inner{lock};
        throw 1;
    } catch (int) {
    }
    CHECK_FALSE(lock.locked());
}

TEST_CASE("the death of a lock's owner is told to everybody, until one recovers it") {
    const Lock lock;
    holder_of(lock).kill();
    CHECK(lock.locked());
    CHECK(is_lost(lock));
    CHECK(ForkedChild{[&] { return is_lost(lock) ? 0 : 1; }}.join() == 0);
    CHECK(is_lost(lock));
    CHECK(lock.recover());
    CHECK(lock.owned());
    CHECK_FALSE(ForkedChild{[&] { return lock.try_acquire() ? 1 : 0; }}.join());
    lock.release();
    CHECK(lock.try_acquire());
    lock.release();
}

TEST_CASE("who recovers a lock first needs not have been told") {
    const Lock lock;
    holder_of(lock).kill();
    CHECK(lock.recover());
    lock.release();
    CHECK(lock.try_acquire());
    lock.release();
    CHECK_FALSE(lock.recover());  // where nothing is wrong it acquires
    CHECK(lock.owned());
    lock.release();
}

TEST_CASE("who dies while it repairs leaves the lock as it was") {
    const Lock lock;
    holder_of(lock).kill();
    CHECK(ForkedChild{[&] {
              lock.recover();
              return 0;  // without a release
          }}.join() == 0);
    CHECK(is_lost(lock));
    lock.recover();
    lock.release();
    CHECK(lock.try_acquire());
    lock.release();
}

TEST_CASE("all who wait for a lock are told when its owner dies") {
    const Lock lock;
    ForkedChild holder = holder_of(lock);
    std::vector<ForkedChild> waiters;
    for (int i = 0; i < 5; ++i)
        waiters.emplace_back([&] {
            try {
                return lock.acquire(30s) ? 1 : 2;
            } catch (const OwnerDiedError&) {
                return lock.owned() ? 3 : 0;
            }
        });
    REQUIRE(within(30s, [&] { return lock.waiting() == 5; }));
    holder.kill();
    for (ForkedChild& waiter : waiters) CHECK(waiter.join() == 0);
    lock.recover();
    lock.release();
}

TEST_CASE("an owner that exits, or a thread that ends, is a death like others") {
    const Lock lock;
    CHECK(holder_of(lock, [] { return 7; }).join() == 7);
    CHECK(is_lost(lock));
    lock.recover();
    lock.release();
    std::thread{[&] { lock.acquire(); }}.join();
    CHECK(is_lost(lock));
}

TEST_CASE("an owner that is stopped is not dead") {
    const Lock lock;
    ForkedChild holder = holder_of(lock);
    holder.signal(SIGSTOP);
    CHECK_FALSE(lock.acquire(150ms));
    CHECK_FALSE(lock.try_acquire());
    holder.signal(SIGCONT);
    CHECK_FALSE(lock.acquire(1ms));
}

TEST_CASE("a waiter that is killed is in nobody's way") {
    const Lock lock;
    lock.acquire();
    ForkedChild dead{[&] {
        lock.acquire();
        return 1;
    }};
    REQUIRE(within(30s, [&] { return lock.waiting() == 1; }));
    dead.kill();
    lock.release();
    CHECK(lock.acquire(30s));
    lock.release();
}

TEST_CASE("who drops its last handle of a lock that it holds has died with it") {
    std::optional<Lock> lock{std::in_place};
    auto [here, there] = plait::os::make_channel();
    ForkedChild other{[&, theirs = &there] {
        const auto lock_there = support::receive<Lock>(*theirs);
        try {
            return lock_there.acquire(30s) ? 1 : 2;
        } catch (const OwnerDiedError&) {
            return 0;
        }
    }};
    lock->acquire();
    support::send(here, *lock);
    REQUIRE(within(30s, [&] { return lock->waiting() == 1; }));
    lock.reset();
    CHECK(other.join() == 0);

    // Held by another thread: it stays, and with it the system's word on the deaths of that thread.
    std::optional<Lock> kept{std::in_place};
    const Lock second;
    std::atomic<int> step{0};
    std::thread thread{[&] {
        second.acquire();
        kept->acquire();
        step = 1;
        while (step != 2) std::this_thread::yield();
    }};
    while (step != 1) std::this_thread::yield();
    kept.reset();
    step = 2;
    thread.join();
    CHECK(is_lost(second));
}

TEST_CASE("a lock that crosses to another process is the same lock, wherever it lies there") {
    auto [here, there] = plait::os::make_channel();
    ForkedChild child{[&, theirs = &there] {  // begun before there was a lock
        const auto [lock, done] = support::receive<std::tuple<Lock, Lock>>(*theirs);
        const Lock copy = lock;
        if (!(copy == lock) || copy == done || lock.try_acquire()) return 1;
        // A grandchild has it too.
        if (ForkedChild{[&copy] { return copy.acquire(30s) ? 0 : 1; }}.join() != 0) return 2;
        return 0;
    }};
    const Lock lock;
    const Lock other;
    lock.acquire();
    support::send(here, std::tuple{lock, other});
    REQUIRE(within(30s, [&] { return lock.waiting() == 1; }));
    lock.release();
    CHECK(child.join() == 0);
    CHECK(is_lost(lock));
    CHECK((support::arrived(lock) == lock));
    CHECK_FALSE((lock == other));
}

TEST_CASE("a lock outlives the process that made it, and has no name") {
    auto [here, there] = plait::os::make_channel();
    ForkedChild creator{[&, ours = &there] {
        support::send(*ours, Lock{});
        return 0;
    }};
    const Lock lock = support::receive<Lock>(here);
    CHECK(creator.join() == 0);
    {
        const std::scoped_lock guard{lock};
        CHECK(lock.owned());
    }
    // Other programs' names come and go meanwhile.
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
        for (const pid_t pid : {::getpid(), creator.pid()})
            CHECK(entry.path().filename().string().find("plait-" + std::to_string(pid) + "-") == std::string::npos);
}

TEST_CASE("a lock does not go where only bytes go, and bytes are no lock") {
    const Lock lock;
    CHECK_THROWS_AS(plait::multiprocessing::encode(lock), CodecError);
    CHECK_THROWS_AS(plait::multiprocessing::decode<Lock>(std::vector<std::byte>(12)), CodecError);
}

TEST_CASE("locks leave nothing open") {
    const auto open = support::open_descriptors();
    {
        const Lock lock;
        const Lock copy = support::arrived(lock);
        copy.acquire();
        lock.release();
    }
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("sections that end are never lost, whoever is killed in between") {
    // Each section is counted twice: by the worker for itself, and in what the lock guards. A worker that is killed in a
    // section leaves them apart by one, or a section begun; who recovers repairs that from the log of steps.
    const char* const from_environment = std::getenv("PLAIT_KILL_ROUNDS");
    const int kills = from_environment != nullptr ? std::atoi(from_environment) / 10 + 1 : 20;
    constexpr int workers = 4;
    struct Guarded {
        std::atomic<long> begun = 0;     // sections that began
        std::atomic<long> count = 0;     // what they count
        std::atomic<long> repaired = 0;  // sections that a kill cut short
        std::atomic<long> longest = 0;   // milliseconds that somebody waited
    };
    const Lock lock;
    const SharedVariable<Guarded> guarded;
    const auto work = [&] {
        for (;;) {
            const auto begin = std::chrono::steady_clock::now();
            try {
                lock.acquire();
            } catch (const OwnerDiedError&) {
                lock.recover();
                const long missing = guarded->begun - guarded->count;
                guarded->repaired += missing;
                guarded->count += missing;
            }
            const long waited =
                std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
            if (waited > guarded->longest) guarded->longest = waited;
            ++guarded->begun;
            ++guarded->count;
            lock.release();
        }
        return 0;
    };
    std::vector<ForkedChild> children;
    for (int i = 0; i < workers; ++i) children.emplace_back(work);
    std::minstd_rand random{20'261'121};
    for (int i = 0; i < kills; ++i) {
        const long before = guarded->begun;
        const long more = 1 + static_cast<long>(random() % 3'000);
        REQUIRE(within(30s, [&] { return guarded->begun >= before + more; }));
        ForkedChild next{work};
        const auto victim = children.begin() + static_cast<std::ptrdiff_t>(random() % workers);
        victim->kill();
        children.erase(victim);
        children.push_back(std::move(next));
    }
    for (ForkedChild& child : children) child.kill();
    lock.recover();
    CHECK(guarded->begun - guarded->count <= 1);
    CHECK(guarded->begun - guarded->count >= 0);
    CHECK(guarded->repaired <= kills);
    CHECK(guarded->longest < 20'000);
    lock.release();
}
