// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/condition.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/travel.hpp"

#include <signal.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using plait::Error;
using plait::OwnerDiedError;
using plait::UsageError;
using plait::multiprocessing::Condition;
using plait::multiprocessing::Lock;
using plait::multiprocessing::RLock;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

namespace {

/// A child that waits for a notification: exits with 0 when it got one, with 1 when its time was over, with 2 when it was
/// told of a death.
ForkedChild waiter_at(const Condition& condition, plait::Timeout timeout = 30s) {
    return ForkedChild{[condition, timeout] {
        try {
            const std::scoped_lock guard{condition};
            return condition.wait(timeout) ? 0 : 1;
        } catch (const OwnerDiedError&) {
            return condition.owned() ? 3 : 2;
        }
    }};
}

/// `count` of them, each waiting before the next begins.
std::vector<ForkedChild> waiters_at(const Condition& condition, std::size_t count) {
    std::vector<ForkedChild> waiters;
    const std::size_t before = condition.waiting();
    for (std::size_t i = 1; i <= count; ++i) {
        waiters.push_back(waiter_at(condition));
        if (!within(30s, [&] { return condition.waiting() == before + i; })) throw std::runtime_error("no waiter");
    }
    return waiters;
}

void notify(const Condition& condition, std::ptrdiff_t count) {
    const std::scoped_lock guard{condition};
    condition.notify(count);
}
void notify_all(const Condition& condition) {
    const std::scoped_lock guard{condition};
    condition.notify_all();
}

}  // namespace

TEST_CASE("wait and notify need the lock") {
    const Condition condition;
    CHECK_THROWS_AS(condition.wait(), UsageError);
    CHECK_THROWS_AS(condition.wait(1s), UsageError);
    CHECK_THROWS_AS(condition.wait_for([] { return true; }), UsageError);
    CHECK_THROWS_AS(condition.notify(), UsageError);
    CHECK_THROWS_AS(condition.notify_all(), UsageError);
    CHECK_THROWS_AS(condition.release(), UsageError);
    condition.acquire();
    CHECK_THROWS_AS(condition.notify(-1), std::invalid_argument);
    CHECK(ForkedChild{[&] {
              try {
                  condition.notify();
                  return 1;
              } catch (const UsageError&) {
                  return 0;
              }
          }}.join() == 0);
    condition.notify(0);
    condition.release();
}

TEST_CASE("each notification wakes one who waits, first come, first served") {
    const Condition condition;
    std::vector<ForkedChild> waiters = waiters_at(condition, 5);
    notify(condition, 3);
    for (int i = 0; i < 3; ++i) CHECK(waiters[static_cast<std::size_t>(i)].join() == 0);
    CHECK(condition.waiting() == 2);
    notify(condition, 0);
    CHECK(condition.waiting() == 2);
    // Who comes later waits longer, whose place ever it gets.
    std::vector<ForkedChild> later = waiters_at(condition, 2);
    notify(condition, 2);
    CHECK(waiters[3].join() == 0);
    CHECK(waiters[4].join() == 0);
    CHECK(condition.waiting() == 2);
    notify(condition, 5);
    for (ForkedChild& each : later) CHECK(each.join() == 0);
    // There was nobody for the other three, and they are not kept.
    condition.acquire();
    CHECK_FALSE(condition.wait(1ms));
    condition.release();
    std::vector<ForkedChild> others = waiters_at(condition, 4);
    notify_all(condition);
    for (ForkedChild& other : others) CHECK(other.join() == 0);
    CHECK(condition.waiting() == 0);
}

TEST_CASE("two processes take turns by a condition, and none sleeps until its next look") {
    constexpr int rounds = 2'000;
    const Condition condition;
    const SharedVariable<int> turn{0};
    const auto play = [&](int mine) {
        for (int i = 0; i < rounds; ++i) {
            const std::scoped_lock guard{condition};
            while (*turn % 2 != mine)
                if (!condition.wait(30s)) return 1;
            ++*turn;
            condition.notify();
        }
        return 0;
    };
    ForkedChild child{[&] { return play(1); }};
    CHECK(play(0) == 0);
    CHECK(child.join() == 0);
    CHECK(*turn == 2 * rounds);
}

TEST_CASE("a wait for a notification ends at its time with the lock held") {
    const Condition condition;
    const support::SignalStorm storm;
    const std::scoped_lock guard{condition};
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(condition.wait(150ms));
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 150ms);
    CHECK(time < 30s);
    CHECK(condition.owned());
    CHECK(condition.waiting() == 0);
    CHECK_FALSE(condition.wait(0s));
}

TEST_CASE("a notification is not lost to a waiter whose time is over") {
    const Condition condition;
    for (bool seen = false; !seen;) {
        ForkedChild late = waiter_at(condition, 20ms);
        while (condition.waiting() == 0 && !late.join(0ms)) {
        }
        const std::scoped_lock guard{condition};
        // While the lock is held it cannot take it to say that its time is over, and is still one who waits.
        seen = condition.waiting() == 1;
        const auto its_time = std::chrono::steady_clock::now() + 20ms;
        while (std::chrono::steady_clock::now() < its_time) std::this_thread::yield();
        condition.notify();
        condition.release();
        CHECK(late.join() == (seen ? 0 : 1));
        condition.acquire();
    }
}

TEST_CASE("a wait gives up a recursive lock however often it is held, and takes it as often again") {
    const Condition condition;
    for (int i = 0; i < 3; ++i) condition.acquire();
    ForkedChild notifier{[&] {
        notify(condition, 1);
        return 0;
    }};
    CHECK(condition.wait(30s));
    CHECK(notifier.join() == 0);
    for (int i = 0; i < 3; ++i) {
        CHECK(condition.owned());
        condition.release();
    }
    CHECK_FALSE(condition.owned());
}

TEST_CASE("conditions may share a lock, of either kind, and wait apart") {
    const Lock lock;
    const Condition full{lock};
    const Condition empty{lock};
    std::vector<ForkedChild> at_full = waiters_at(full, 1);
    std::vector<ForkedChild> at_empty = waiters_at(empty, 1);
    {
        const std::scoped_lock guard{lock};
        CHECK(full.owned());
        CHECK_THROWS_AS(empty.try_acquire(), UsageError);  // not recursive
        empty.notify_all();
    }
    CHECK(at_empty[0].join() == 0);
    CHECK(full.waiting() == 1);
    notify(full, 1);
    CHECK(at_full[0].join() == 0);

    const RLock recursive;
    const Condition third{recursive};
    const std::scoped_lock guard{third};
    CHECK(recursive.owned());
    CHECK(third.try_acquire());
    third.release();
}

TEST_CASE("wait_for gives what its predicate gave last") {
    const Condition condition;
    const SharedVariable<std::atomic<int>> value{0};
    condition.acquire();
    CHECK(condition.wait_for([] { return std::string("x").size(); }) == 1);
    int asked = 0;
    CHECK(condition.wait_for([&] { return ++asked, 0; }, 0s) == 0);
    CHECK(asked == 2);  // before, and once more at the end
    CHECK_FALSE(condition.wait_for([&] { return false; }, 20ms));
    ForkedChild setter{[&] {
        for (int i = 1; i <= 3; ++i) {
            const std::scoped_lock guard{condition};
            *value = i;
            condition.notify();
        }
        return 0;
    }};
    CHECK(condition.wait_for([&] { return value->load() == 3 ? 33 : 0; }, 30s) == 33);
    CHECK(setter.join() == 0);

    CHECK_THROWS_AS(condition.wait_for([&]() -> bool { throw std::runtime_error("no"); }), std::runtime_error);
    bool first = true;
    const auto throws_later = [&] {
        if (!std::exchange(first, false)) throw std::runtime_error("no");
        return false;
    };
    CHECK_THROWS_AS(condition.wait_for(throws_later, 1ms), std::runtime_error);
    CHECK(condition.owned());
    CHECK(condition.waiting() == 0);
    condition.release();
}

TEST_CASE("wait_for ends at its time, however often it is woken") {
    const Condition condition;
    const SharedVariable<std::atomic<bool>> over{false};
    ForkedChild notifier{[&] {
        while (!over->load()) {
            notify_all(condition);
            std::this_thread::yield();
        }
        return 0;
    }};
    const std::scoped_lock guard{condition};
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(condition.wait_for([] { return false; }, 100ms));
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 100ms);
    CHECK(time < 30s);
    *over = true;
}

TEST_CASE("wait_for notices what nobody notified") {
    const Condition condition;
    const SharedVariable<std::atomic<bool>> set{false};
    ForkedChild waiter{[&] {
        const std::scoped_lock guard{condition};
        return condition.wait_for([&] { return set->load(); }, 30s) ? 0 : 1;
    }};
    REQUIRE(within(30s, [&] { return condition.waiting() == 1; }));
    *set = true;
    CHECK(waiter.join(20s) == 0);
}

TEST_CASE("a predicate that notifies tells others, not its own thread") {
    const Condition condition;
    const std::scoped_lock guard{condition};
    int asked = 0;
    std::size_t waiting = 0;
    const auto notifies = [&] {
        if (++asked == 2) {
            condition.notify();
            waiting = condition.waiting();
        }
        return asked == 3;
    };
    const auto begin = std::chrono::steady_clock::now();
    CHECK(condition.wait_for(notifies, 30s));
    // Asked the third time because a tenth of a second had passed, not because it told itself.
    CHECK(std::chrono::steady_clock::now() - begin >= 200ms);
    CHECK(waiting == 1);
}

TEST_CASE("a notification is not spent on a waiter that was killed before it") {
    const Condition condition;
    std::vector<ForkedChild> waiters = waiters_at(condition, 4);
    waiters[0].kill();
    waiters[1].signal(SIGSTOP);
    waiters[1].kill();
    notify(condition, 1);
    CHECK(waiters[2].join(20s) == 0);
    CHECK(condition.waiting() == 1);
    notify(condition, 1);
    CHECK(waiters[3].join(20s) == 0);
    CHECK(condition.waiting() == 0);
}

TEST_CASE("after waiters were killed and all were notified, a new waiter is woken") {
    const Condition condition;
    for (int round = 0; round < 5; ++round) {
        std::vector<ForkedChild> dead = waiters_at(condition, 2);
        for (ForkedChild& each : dead) each.kill();
        notify_all(condition);
        std::vector<ForkedChild> alive = waiters_at(condition, 1);
        notify_all(condition);
        CHECK(alive[0].join(20s) == 0);
    }
}

TEST_CASE("a waiter that stops is not dead, and keeps what it was told") {
    const Condition condition;
    std::vector<ForkedChild> waiters = waiters_at(condition, 2);
    waiters[0].signal(SIGSTOP);
    notify(condition, 1);
    CHECK(condition.waiting() == 1);
    waiters[0].signal(SIGCONT);
    CHECK(waiters[0].join(20s) == 0);
    notify(condition, 1);
    CHECK(waiters[1].join(20s) == 0);
}

TEST_CASE("those who wait are told when the lock's owner dies, though nobody notifies") {
    const Condition condition;
    std::vector<ForkedChild> waiters = waiters_at(condition, 3);
    ForkedChild owner{[&] {
        condition.acquire();
        return support::wait_for_ever();
    }};
    REQUIRE(within(30s, [&] { return condition.locked(); }));
    owner.kill();
    for (ForkedChild& waiter : waiters) CHECK(waiter.join(20s).value_or(-1) == 2);
    CHECK_THROWS_AS(condition.acquire(), OwnerDiedError);
    CHECK_THROWS_AS(condition.try_acquire(), OwnerDiedError);
    CHECK_THROWS_AS(condition.notify(), UsageError);

    condition.recover();
    CHECK(condition.owned());
    condition.release();
    CHECK(condition.waiting() == 0);
    std::vector<ForkedChild> others = waiters_at(condition, 2);
    notify_all(condition);
    for (ForkedChild& other : others) CHECK(other.join(20s) == 0);
}

TEST_CASE("a wait that lost its lock to a death excuses the releases of the guards around it, and no others") {
    const RLock lock;
    const Condition condition{lock};
    const SharedVariable<std::atomic<int>> deaths{0};
    ForkedChild waiter{[&] {
        try {
            const std::scoped_lock outer{lock};
            const std::scoped_lock inner{condition};
            condition.wait();
        } catch (const OwnerDiedError&) {
            try {
                lock.release();
                return 1;
            } catch (const UsageError&) {
            }
        }
        lock.recover();
        lock.release();
        lock.acquire();
        *deaths = 1;
        try {
            condition.wait();
        } catch (const OwnerDiedError&) {
            lock.recover();
            lock.release();
            try {
                lock.release();
                return 2;
            } catch (const UsageError&) {
                return 0;
            }
        }
        return 3;
    }};
    for (int i = 0; i < 2; ++i) {
        REQUIRE(within(30s, [&] { return deaths->load() == i && condition.waiting() == 1; }));
        ForkedChild{[&] {
            condition.acquire();
            return 0;
        }}.join();
    }
    CHECK(waiter.join() == 0);
}

TEST_CASE("there is room for a thousand waiters at once") {
    constexpr std::size_t processes = 20;
    constexpr std::size_t threads = 50;
    const Condition condition;
    const auto wait_once = [&] {
        const std::scoped_lock guard{condition};
        return condition.wait(50s);
    };
    std::vector<ForkedChild> children;
    for (std::size_t i = 0; i < processes; ++i)
        children.emplace_back([&] {
            std::atomic<int> missed{0};
            std::vector<std::thread> waiters;
            for (std::size_t n = 0; n < threads; ++n) waiters.emplace_back([&] { missed += wait_once() ? 0 : 1; });
            for (std::thread& waiter : waiters) waiter.join();
            return missed.load();
        });
    REQUIRE(within(50s, [&] { return condition.waiting() == processes * threads; }));
    {
        const std::scoped_lock guard{condition};
        CHECK_THROWS_AS(condition.wait(1s), Error);
        CHECK(condition.owned());
    }
    // Whose places are had again.
    children.back().kill();
    children.pop_back();
    {
        const std::scoped_lock guard{condition};
        CHECK_FALSE(condition.wait(1ms));
    }
    notify_all(condition);
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    CHECK(condition.waiting() == 0);
}

TEST_CASE("producers and consumers hand over all there is") {
    constexpr int items = 3'000;
    struct Store {
        int stock = 0;
        int made = 0;
        long taken = 0;
    };
    const Condition changed;
    const SharedVariable<Store> store;
    const auto produce = [&] {
        for (;;) {
            const std::scoped_lock guard{changed};
            if (store->made == items) return 0;
            ++store->made;
            ++store->stock;
            changed.notify();
        }
    };
    const auto consume = [&] {
        for (int i = 0;; ++i) {
            const std::scoped_lock guard{changed};
            const auto some = [&] { return store->stock > 0 || store->taken == items; };
            if (!changed.wait_for(some, i % 3 == 0 ? plait::Timeout{std::chrono::microseconds{i % 100}} : 30s))
                continue;
            if (store->taken == items) return 0;
            --store->stock;
            if (++store->taken == items) changed.notify_all();
        }
    };
    std::vector<ForkedChild> children;
    for (int i = 0; i < 2; ++i) {
        children.emplace_back(consume);
        children.emplace_back(produce);
    }
    for (ForkedChild& child : children) CHECK(child.join() == 0);
    CHECK(store->taken == items);
    CHECK(store->stock == 0);
}

TEST_CASE("a condition that crosses to another process is the same, with its lock") {
    auto [here, there] = plait::os::make_channel();
    ForkedChild child{[&, theirs = &there] {
        const auto [own, given, lock] = support::receive<std::tuple<Condition, Condition, Lock>>(*theirs);
        {
            const std::scoped_lock guard{lock};
            if (!given.owned()) return 1;
            given.notify();
        }
        const std::scoped_lock guard{own};
        return own.wait(30s) ? 0 : 2;
    }};
    const Lock lock;
    const Condition given{lock};
    const Condition own;
    given.acquire();
    support::send(here, std::tuple{own, given, lock});
    CHECK(given.wait(30s));
    given.release();
    REQUIRE(within(30s, [&] { return own.waiting() == 1; }));
    notify(own, 1);
    CHECK(child.join() == 0);
    CHECK((support::arrived(own) == own));
    CHECK_FALSE((own == given));
}
