// SPDX-License-Identifier: MIT
#include <plait/asyncio/barrier.hpp>
#include <plait/asyncio/condition.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/semaphore.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "schedules/work.hpp"
#include "support/catch.hpp"
#include "support/schedule.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

using plait::BrokenBarrierError;
using plait::TimeoutError;
using plait::asyncio::Barrier;
using plait::asyncio::BoundedSemaphore;
using plait::asyncio::Condition;
using plait::asyncio::Coroutine;
using plait::asyncio::Event;
using plait::asyncio::Lock;
using plait::asyncio::Semaphore;
using support::AtEnd;
using support::explore;
using support::Life;
using support::Scenario;
using support::Schedule;
namespace aio = plait::asyncio;

namespace {

/// One holds a lock at a time, and it is free when all have ended.
struct LockHolders final : Scenario {
    Lock lock;
    int holders = 0;

    Coroutine<void> use(Schedule& schedule) {
        const Life life{holders};
        schedule.check(holders == 1, "two hold the lock");
        schedule.check(lock.owned(), "who holds the lock does not own it");
        schedule.point();
        if (schedule.chance(2)) co_await aio::sleep(schedule.time());
    }
    Coroutine<void> guarded(Schedule& schedule) {
        for (int i = 0; i < 2; ++i) {
            schedule.point();
            auto guard = co_await lock.scoped();
            co_await use(schedule);
            if (schedule.chance(2)) guard.release();
        }
    }
    Coroutine<void> in_time(Schedule& schedule) {
        for (int i = 0; i < 3; ++i) {
            schedule.point();
            try {
                co_await aio::wait_for(lock.acquire(), schedule.time());
            } catch (const TimeoutError&) {
                continue;
            }
            const AtEnd release{[this] { lock.release(); }};
            co_await use(schedule);
        }
    }
    Coroutine<void> trying(Schedule& schedule) {
        for (int i = 0; i < 3; ++i) {
            if (lock.try_acquire()) {
                const AtEnd release{[this] { lock.release(); }};
                co_await use(schedule);
            }
            co_await aio::sleep(schedule.time());
        }
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 2; ++i) schedule.spawn(guarded(schedule));
        for (int i = 0; i < 2; ++i) schedule.spawn(in_time(schedule));
        schedule.spawn(trying(schedule));
    }
    void always(Schedule& schedule) override {
        schedule.check(lock.locked() || lock.waiting() == 0, "somebody waits for a free lock");
    }
    void check_gone(Schedule& schedule) override {
        schedule.check(!lock.locked(), "the lock was lost");
        schedule.check(lock.waiting() == 0, "who is gone still waits");
    }
};

/// Permits are neither lost nor made.
template <class S>
struct Permits final : Scenario {
    static constexpr std::ptrdiff_t all = 2;
    S semaphore{all};
    int used = 0;

    Coroutine<void> use(Schedule& schedule) {
        const Life life{used};
        schedule.check(used <= all, "there are more permits than there were");
        schedule.point();
        if (schedule.chance(2)) co_await aio::sleep(schedule.time());
    }
    Coroutine<void> guarded(Schedule& schedule) {
        for (int i = 0; i < 2; ++i) {
            schedule.point();
            const auto permit = co_await semaphore.scoped();
            co_await use(schedule);
        }
    }
    Coroutine<void> in_time(Schedule& schedule) {
        for (int i = 0; i < 2; ++i) {
            schedule.point();
            try {
                co_await aio::wait_for(semaphore.acquire(), schedule.time());
            } catch (const TimeoutError&) {
                continue;
            }
            const AtEnd release{[this] { semaphore.release(); }};
            co_await use(schedule);
        }
    }
    /// Collects all of them, and gives them back together.
    Coroutine<void> greedy(Schedule& schedule) {
        co_await semaphore.acquire();
        std::ptrdiff_t held = 1;
        const AtEnd release{[this, &held] { semaphore.release(held); }};
        if (schedule.chance(4)) co_await aio::sleep(schedule.time());
        if (semaphore.try_acquire()) ++held;
        co_await use(schedule);
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 3; ++i) schedule.spawn(guarded(schedule));
        for (int i = 0; i < 2; ++i) schedule.spawn(in_time(schedule));
        schedule.spawn(greedy(schedule));
    }
    void always(Schedule& schedule) override {
        schedule.check(semaphore.value() == 0 || semaphore.waiting() == 0, "somebody waits for a free permit");
    }
    void check_gone(Schedule& schedule) override {
        schedule.check(semaphore.value() == all, "a permit was lost");
        schedule.check(!semaphore.locked(), "who is gone is still to have his turn");
        schedule.check(semaphore.waiting() == 0, "who is gone still waits");
    }
};

/// A set reaches all who wait, whatever is cleared after it.
struct Flag final : Scenario {
    Event event;
    std::uint64_t sets = 0;

    Coroutine<void> waiter(Schedule& schedule) {
        for (int i = 0; i < 2; ++i) {
            const std::uint64_t before = sets;
            const bool was_set = event.is_set();
            co_await event.wait();
            schedule.check(was_set || sets != before, "a wait ended without a set");
            schedule.point();
            co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> in_time(Schedule& schedule) {
        for (int i = 0; i < 2; ++i) {
            try {
                co_await aio::wait_for(event.wait(), schedule.time());
            } catch (const TimeoutError&) {
            }
            schedule.point();
        }
    }
    Coroutine<void> setter(Schedule& schedule) {
        for (int i = 0; i < 3; ++i) {
            co_await aio::sleep(schedule.time());
            set();
            schedule.point();
            if (schedule.chance(2)) event.clear();
        }
    }
    /// After the setter has cleared it for the last time.
    Coroutine<void> last() {
        co_await aio::sleep(std::chrono::milliseconds{20});
        set();
    }
    void set() {
        ++sets;
        event.set();
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 3; ++i) schedule.spawn(waiter(schedule));
        schedule.spawn(in_time(schedule));
        schedule.spawn(setter(schedule));
        schedule.spawn_sheltered(last());
    }
    void always(Schedule& schedule) override {
        schedule.check(!event.is_set() || event.waiting() == 0, "somebody waits for an event that is set");
    }
    void check_gone(Schedule& schedule) override { schedule.check(event.waiting() == 0, "who is gone still waits"); }
};

/// Each item has one notification: no consumer waits beside an item, and after each wait the lock is held.
struct Notifications final : Scenario {
    Lock lock;
    Condition changed{lock};
    int items = 0;
    int put = 0;
    int taken = 0;
    bool closed = false;

    Coroutine<void> produce(Schedule& schedule) {
        for (int i = 0; i < 3; ++i) {
            co_await aio::sleep(schedule.time());
            const auto guard = co_await changed.scoped();
            const int more = 1 + static_cast<int>(schedule.below(2));
            items += more;
            put += more;
            changed.notify(more);
            schedule.point();
            if (schedule.chance(2)) co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> wait(Schedule& schedule) {
        const AtEnd owned{
            [&] { schedule.check(schedule.closing() || changed.owned(), "a wait ended without the lock"); }};
        co_await changed.wait();
    }
    Coroutine<void> consume(Schedule& schedule) {
        const auto guard = co_await changed.scoped();
        while (!closed) {
            while (items == 0 && !closed) co_await wait(schedule);
            take();
            schedule.point();
            if (schedule.chance(2)) co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> consume_in_time(Schedule& schedule) {
        while (!closed) {
            const auto guard = co_await changed.scoped();
            try {
                if (items == 0) co_await aio::wait_for(wait(schedule), schedule.time());
            } catch (const TimeoutError&) {
            }
            schedule.check(changed.owned(), "a wait that timed out ended without the lock");
            take();
            if (schedule.chance(2)) co_await aio::sleep(schedule.time());
        }
    }
    void take() {
        if (items == 0) return;
        --items;
        ++taken;
    }
    Coroutine<void> close() {
        co_await aio::sleep(std::chrono::milliseconds{12});
        const auto guard = co_await changed.scoped();
        closed = true;
        changed.notify_all();
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 2; ++i) schedule.spawn(produce(schedule));
        for (int i = 0; i < 3; ++i) schedule.spawn(consume(schedule));
        schedule.spawn(consume_in_time(schedule));
        schedule.spawn_sheltered(close());
    }
    void always(Schedule& schedule) override {
        schedule.check(lock.locked() || lock.waiting() == 0, "somebody waits for a free lock");
        if (schedule.settled() && items != 0 && !lock.locked())
            schedule.check(changed.waiting() == 0, "a notification was lost");
    }
    void check_gone(Schedule& schedule) override {
        schedule.check(!lock.locked(), "the lock was lost");
        schedule.check(put == taken + items, "an item was lost");
        schedule.check(changed.waiting() + lock.waiting() == 0, "who is gone still waits");
    }
};

/// A round needs all of its parties, and lets all of them go.
struct Rounds final : Scenario {
    static constexpr std::size_t parties = 3;
    Barrier barrier{parties};
    int passed[parties] = {};
    int gave_up = 0;  // in whatever way, after the round was full or before
    int walkers = 0;

    Coroutine<void> meet(Schedule& schedule) {
        bool arrived = true;
        const AtEnd left{[&] { gave_up += arrived ? 1 : 0; }};
        std::size_t index = 0;
        if (schedule.chance(2))
            index = co_await barrier.wait();
        else
            index = co_await aio::wait_for(barrier.wait(), schedule.time());
        arrived = false;
        schedule.check(index < parties, "who waited has no place in its round");
        ++passed[index];
    }
    Coroutine<void> walk(Schedule& schedule) {
        for (int i = 0; i < 3; ++i) {
            try {
                co_await meet(schedule);
            } catch (const BrokenBarrierError&) {
                if (schedule.chance(4)) barrier.reset();
            } catch (const TimeoutError&) {
            }
            schedule.point();
            co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> close(Schedule& schedule) {
        co_await aio::sleep(std::chrono::milliseconds{5});
        barrier.reset();
        while (walkers != 0) {
            co_await aio::sleep(std::chrono::milliseconds{1});
            barrier.abort();
        }
        schedule.check(barrier.waiting() == 0, "who has gone still waits");
    }
    Coroutine<void> counted_walk(Schedule& schedule) {
        const Life life{walkers};
        co_await walk(schedule);
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 5; ++i) schedule.spawn(counted_walk(schedule));
        schedule.spawn_sheltered(close(schedule));
    }
    void always(Schedule& schedule) override {
        schedule.check(barrier.waiting() < parties, "a full round waits");
        schedule.check(!barrier.broken() || barrier.waiting() == 0, "somebody waits at a broken barrier");
    }
    void check(Schedule& schedule) override {
        // The last of each round does not wait, and so cannot be cancelled.
        const int rounds = passed[parties - 1];
        for (const int count : passed) schedule.check(count <= rounds, "somebody passed without a full round");
        schedule.check(passed[0] + passed[1] + gave_up >= 2 * rounds, "a round did not let all go");
    }
    void check_gone(Schedule& schedule) override { schedule.check(barrier.waiting() == 0, "who is gone still waits"); }
};

}  // namespace

TEST_CASE("schedules: a lock has one holder, and is free in the end") { CHECK(explore<LockHolders>("lock") == ""); }

TEST_CASE("schedules: a semaphore neither loses nor makes permits") {
    CHECK(explore<Permits<Semaphore>>("semaphore") == "");
}

TEST_CASE("schedules: a bounded semaphore neither loses nor makes permits") {
    CHECK(explore<Permits<BoundedSemaphore>>("bounded semaphore") == "");
}

TEST_CASE("schedules: nobody waits for an event that is set") { CHECK(explore<Flag>("event") == ""); }

TEST_CASE("schedules: no notification of a condition is lost, and each wait ends with the lock") {
    CHECK(explore<Notifications>("condition") == "");
}

TEST_CASE("schedules: a round of a barrier needs all of its parties, and lets all of them go") {
    CHECK(explore<Rounds>("barrier") == "");
}
