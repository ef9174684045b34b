// SPDX-License-Identifier: MIT
#include <plait/os/mutex.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using plait::detail::Deadline;
using plait::os::Mutex;
using plait::os::MutexResult;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

namespace {

/// A child that owns `mutex`, and then runs `rest`.
template <class Rest>
ForkedChild owner_of(Mutex& mutex, Rest rest) {
    ForkedChild child{[&mutex, rest] {
        if (mutex.lock(Deadline{30s}) != MutexResult::acquired) return 1;
        return rest();
    }};
    while (!mutex.locked()) std::this_thread::yield();
    return child;
}

}  // namespace

static_assert(std::is_standard_layout_v<Mutex> && std::is_trivially_destructible_v<Mutex>);

TEST_CASE("one thread of one process at a time owns a mutex") {
    constexpr int times = 2'000;
    struct Guarded {
        Mutex mutex;
        long count = 0;
    };
    const SharedVariable<Guarded> guarded;
    const auto work = [&] {
        for (int i = 0; i < times; ++i) {
            if (guarded->mutex.lock(Deadline{30s}) != MutexResult::acquired) return 1;
            ++guarded->count;
            if (!guarded->mutex.unlock()) return 2;
        }
        return 0;
    };
    std::vector<ForkedChild> children;
    for (int i = 0; i < 3; ++i) children.emplace_back(work);
    CHECK(work() == 0);
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    CHECK(guarded->count == 4 * times);
}

TEST_CASE("a mutex knows its owner") {
    const SharedVariable<Mutex> mutex;
    CHECK_FALSE(mutex->locked());
    CHECK_FALSE(mutex->unlock());
    REQUIRE(mutex->try_lock() == MutexResult::acquired);
    CHECK(mutex->locked());
    CHECK(mutex->owned());
    CHECK(mutex->owned_by_this_process());
    CHECK(mutex->lock(Deadline::never()) == MutexResult::already_mine);
    CHECK(mutex->try_lock() == MutexResult::already_mine);
    bool anothers = true;
    bool ours = false;
    bool unlocked = true;
    MutexResult result = MutexResult::acquired;
    std::thread{[&] {
        anothers = mutex->owned();
        ours = mutex->owned_by_this_process();
        unlocked = mutex->unlock();
        result = mutex->try_lock();
    }}.join();
    CHECK_FALSE(anothers);
    CHECK(ours);
    CHECK_FALSE(unlocked);
    CHECK(result == MutexResult::timed_out);
    CHECK(mutex->unlock());
    CHECK_FALSE(mutex->locked());
    CHECK_FALSE(mutex->owned());
}

TEST_CASE("a forked child does not own the mutexes of its parent") {
    const SharedVariable<Mutex> mutex;
    REQUIRE(mutex->try_lock() == MutexResult::acquired);
    ForkedChild child{[&] {
        if (mutex->owned() || mutex->owned_by_this_process() || mutex->unlock()) return 1;
        return mutex->lock(Deadline{1ms}) == MutexResult::timed_out ? 0 : 2;
    }};
    CHECK(child.join() == 0);
    CHECK(mutex->owned());
    CHECK(mutex->unlock());
}

TEST_CASE("a wait for a mutex ends at its deadline, and not before, whatever signals come") {
    const SharedVariable<Mutex> mutex;
    ForkedChild owner = owner_of(*mutex, [] { return support::wait_for_ever(); });
    const support::SignalStorm storm;
    const auto begin = std::chrono::steady_clock::now();
    CHECK(mutex->lock(Deadline{150ms}) == MutexResult::timed_out);
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 150ms);
    CHECK(time < 30s);
    CHECK(mutex->lock(Deadline{0ms}) == MutexResult::timed_out);
}

TEST_CASE("the next owner is told once that the last one was killed") {
    const SharedVariable<Mutex> mutex;
    ForkedChild owner = owner_of(*mutex, [] { return support::wait_for_ever(); });
    CHECK(mutex->try_lock() == MutexResult::timed_out);
    owner.kill();
    CHECK(mutex->locked());
    CHECK(mutex->try_lock() == MutexResult::owner_died);
    CHECK(mutex->owned());
    CHECK(mutex->unlock());
    CHECK(mutex->lock(Deadline::never()) == MutexResult::acquired);
    CHECK(mutex->unlock());
}

TEST_CASE("who sleeps for a mutex gets it when the owner is killed") {
    const SharedVariable<Mutex> mutex;
    const SharedVariable<std::atomic<bool>> about_to_wait{false};
    ForkedChild owner = owner_of(*mutex, [] { return support::wait_for_ever(); });
    ForkedChild next{[&] {
        about_to_wait->store(true);
        return mutex->lock(Deadline{30s}) == MutexResult::owner_died ? 0 : 1;
    }};
    REQUIRE(within(30s, [&] { return about_to_wait->load(); }));
    owner.kill();
    CHECK(next.join(25s) == 0);
    // And that one ended while it owned it: by itself.
    CHECK(mutex->lock(Deadline{30s}) == MutexResult::owner_died);
    CHECK(mutex->unlock());
}

TEST_CASE("who is killed right after it was told of a death hides nothing") {
    const SharedVariable<Mutex> mutex;
    owner_of(*mutex, [] { return support::wait_for_ever(); }).kill();
    const SharedVariable<std::atomic<bool>> told{false};
    ForkedChild second{[&] {
        told->store(mutex->lock(Deadline{30s}) == MutexResult::owner_died);
        return support::wait_for_ever();
    }};
    REQUIRE(within(30s, [&] { return told->load(); }));
    second.kill();
    CHECK(mutex->lock(Deadline{30s}) == MutexResult::owner_died);
    CHECK(mutex->unlock());
    CHECK(mutex->try_lock() == MutexResult::acquired);
    CHECK(mutex->unlock());
}

TEST_CASE("a thread that ends as a mutex's owner is a death like others") {
    const SharedVariable<Mutex> mutex;
    std::thread{[&] { static_cast<void>(mutex->try_lock()); }}.join();
    CHECK(mutex->locked());
    bool unlocked = true;
    std::thread{[&] { unlocked = mutex->unlock(); }}.join();
    CHECK_FALSE(unlocked);
    CHECK(mutex->lock(Deadline{30s}) == MutexResult::owner_died);
    CHECK(mutex->unlock());

    // One that owned others too, and gave some back out of order.
    const SharedVariable<std::array<Mutex, 3>> several;
    std::thread{[&] {
        for (Mutex& each : *several) static_cast<void>(each.try_lock());
        (*several)[1].unlock();
    }}.join();
    CHECK((*several)[0].try_lock() == MutexResult::owner_died);
    CHECK((*several)[1].try_lock() == MutexResult::acquired);
    CHECK((*several)[2].try_lock() == MutexResult::owner_died);
    for (Mutex& each : *several) CHECK(each.unlock());
}

TEST_CASE("an owner that is stopped is not dead") {
    const SharedVariable<Mutex> mutex;
    ForkedChild owner = owner_of(*mutex, [&] {
        ::raise(SIGSTOP);
        return mutex->unlock() ? 0 : 1;
    });
    CHECK(mutex->lock(Deadline{150ms}) == MutexResult::timed_out);
    owner.signal(SIGCONT);
    // The signal may come before the stop.
    while (!owner.join(10ms)) owner.signal(SIGCONT);
    CHECK(owner.join() == 0);
    CHECK(mutex->try_lock() == MutexResult::acquired);
    CHECK(mutex->unlock());
}
