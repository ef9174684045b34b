// SPDX-License-Identifier: MIT
#include <plait/asyncio/lifo_queue.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/priority_queue.hpp>
#include <plait/asyncio/queue.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task_group.hpp>
#include <plait/asyncio/timeout.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "schedules/work.hpp"
#include "support/catch.hpp"
#include "support/schedule.hpp"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

using plait::QueueShutDown;
using plait::TimeoutError;
using plait::asyncio::Coroutine;
using plait::asyncio::ExceptionGroup;
using plait::asyncio::LifoQueue;
using plait::asyncio::Lock;
using plait::asyncio::PriorityQueue;
using plait::asyncio::Queue;
using plait::asyncio::TaskGroup;
using support::AtEnd;
using support::explore;
using support::Life;
using support::Scenario;
using support::Schedule;
using support::WorkFailed;
namespace aio = plait::asyncio;

namespace {

/// A queue, and what went in and came out.
template <class Q>
class Ledger {
public:
    explicit Ledger(std::ptrdiff_t maxsize) : queue{maxsize} {}

    Coroutine<void> put(Schedule& schedule) {
        const int item = number();
        {
            const Life life{putting_};
            if (schedule.chance(2))
                co_await queue.put(item);
            else
                co_await aio::wait_for(queue.put(item), schedule.time());
        }
        entered(item);
    }
    Coroutine<void> get(Schedule& schedule) {
        int item = 0;
        {
            const Life life{getting_};
            if (schedule.chance(2))
                item = co_await queue.get();
            else
                item = co_await aio::wait_for(queue.get(), schedule.time());
        }
        took(schedule, item);
    }
    void put_nowait() {
        const int item = number();
        queue.put_nowait(item);
        entered(item);
    }
    void get_nowait(Schedule& schedule) { took(schedule, queue.get_nowait()); }
    void shut_down(bool immediate) {
        queue.shutdown(immediate);
        if (!immediate) return;
        dropped_ = inside_.size();
        inside_.clear();
        note_completion();
    }
    void task_done() {
        queue.task_done();
        ++done_;
        note_completion();
    }
    Coroutine<void> join(Schedule& schedule) {
        const int before = completions_;
        const bool complete = done_ + dropped_ == put_;
        co_await queue.join();
        schedule.check(complete || completions_ != before, "join did not wait for all");
    }

    void always(Schedule& schedule) {
        if (!schedule.settled()) return;
        schedule.check(queue.qsize() == 0 || getting_ == 0, "somebody waits beside an item");
        const bool room = queue.maxsize() == 0 || queue.qsize() < static_cast<std::size_t>(queue.maxsize());
        schedule.check(!(room || queue.is_shutdown()) || putting_ == 0, "somebody waits beside room for his item");
        schedule.check(!queue.is_shutdown() || getting_ == 0, "somebody waits for items after the shutdown");
    }
    void check(Schedule& schedule) {
        schedule.check(inside_.size() == queue.qsize(), "an item was lost");
        schedule.check(queue.waiting() == 0, "who is gone still waits");
        schedule.check(queue.empty() == (queue.qsize() == 0), "an item is kept for who is gone");
    }

    Q queue;

private:
    void took(Schedule& schedule, int item) {
        const auto place = std::find(inside_.begin(), inside_.end(), item);
        if (place == inside_.end()) return schedule.fail("an item came that was not in");
        if constexpr (std::is_same_v<Q, Queue<int>>)
            schedule.check(place == inside_.begin(), "the first was not the first to come");
        if constexpr (std::is_same_v<Q, LifoQueue<int>>)
            schedule.check(place == inside_.end() - 1, "the last was not the first to come");
        if constexpr (std::is_same_v<Q, PriorityQueue<int>>)
            schedule.check(place == std::min_element(inside_.begin(), inside_.end()),
                           "the least was not the first to come");
        inside_.erase(place);
    }
    /// A new one, not in ascending order.
    int number() { return ++next_ * 1'021 % 4'096; }
    /// Everything that was put may have been dealt with: a moment that join waits for.
    void note_completion() { completions_ += done_ + dropped_ == put_ ? 1 : 0; }
    void entered(int item) {
        inside_.push_back(item);
        ++put_;
    }

    int next_ = 0;
    std::vector<int> inside_;
    std::size_t put_ = 0;
    std::size_t done_ = 0;
    std::size_t dropped_ = 0;
    int completions_ = 0;
    int putting_ = 0;
    int getting_ = 0;
};

/// Each item that is put comes out once and in order, until somebody shuts the queue down.
template <class Q, std::ptrdiff_t maxsize>
struct Items final : Scenario {
    Ledger<Q> ledger{maxsize};

    Coroutine<void> produce(Schedule& schedule) {
        for (int i = 0; i < 4; ++i) {
            schedule.point();
            try {
                co_await ledger.put(schedule);
            } catch (const TimeoutError&) {
            } catch (const QueueShutDown&) {
                break;
            }
            if (schedule.chance(2)) co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> consume(Schedule& schedule) {
        for (;;) {
            schedule.point();
            try {
                co_await ledger.get(schedule);
            } catch (const TimeoutError&) {
                continue;
            } catch (const QueueShutDown&) {
                break;
            }
            const AtEnd done{[&] { ledger.task_done(); }};
            if (schedule.chance(2)) co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> hurry(Schedule& schedule) {
        for (int i = 0; i < 3; ++i) {
            co_await aio::sleep(schedule.time());
            if (!ledger.queue.is_shutdown() && !ledger.queue.full()) ledger.put_nowait();
            co_await aio::sleep(schedule.time());
            if (ledger.queue.empty()) continue;
            ledger.get_nowait(schedule);
            ledger.task_done();
        }
    }
    Coroutine<void> join(Schedule& schedule) {
        co_await aio::sleep(schedule.time());
        co_await ledger.join(schedule);
    }
    Coroutine<void> end(Schedule& schedule) {
        co_await aio::sleep(std::chrono::milliseconds{8});
        ledger.shut_down(schedule.chance(2));
        co_await aio::sleep(std::chrono::milliseconds{20});
        // The consumers may all have been cancelled.
        while (!ledger.queue.empty()) {
            ledger.get_nowait(schedule);
            ledger.task_done();
        }
        co_await ledger.join(schedule);
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 3; ++i) schedule.spawn(produce(schedule));
        for (int i = 0; i < 2; ++i) schedule.spawn(consume(schedule));
        schedule.spawn(hurry(schedule));
        schedule.spawn(join(schedule));
        schedule.spawn_sheltered(end(schedule));
    }
    void always(Schedule& schedule) override { ledger.always(schedule); }
    void check_gone(Schedule& schedule) override { ledger.check(schedule); }
};

/// Everything at once: a group of workers on a queue, with a lock, under a time limit.
struct Workshop final : Scenario {
    Ledger<Queue<int>> ledger{1};
    Lock lock;
    int holders = 0;

    Coroutine<void> use(Schedule& schedule) {
        const auto guard = co_await lock.scoped();
        const Life life{holders};
        schedule.check(holders == 1, "two hold the lock");
        co_await support::work(schedule);
    }
    Coroutine<void> work(Schedule& schedule, int& alive) {
        const Life life{alive};
        for (;;) {
            try {
                co_await ledger.get(schedule);
            } catch (const TimeoutError&) {
                continue;
            } catch (const QueueShutDown&) {
                break;
            }
            const AtEnd done{[&] { ledger.task_done(); }};
            co_await use(schedule);
        }
    }
    Coroutine<void> shift(Schedule& schedule) {
        int alive = 0;
        const AtEnd all_gone{[&] { schedule.check(alive == 0, "a worker outlived its group"); }};
        const auto body = [&](TaskGroup& group) -> Coroutine<void> {
            for (int i = 0; i < 2; ++i) group.create_task(work(schedule, alive));
            for (int i = 0; i < 3; ++i) {
                try {
                    co_await ledger.put(schedule);
                } catch (const TimeoutError&) {
                }
            }
        };
        const auto limited = [&]() -> Coroutine<void> { co_await aio::task_group(body); };
        try {
            co_await aio::timeout(2 * schedule.time(), limited);
        } catch (const TimeoutError&) {
        } catch (const QueueShutDown&) {
        } catch (const ExceptionGroup&) {
        }
        schedule.point();
        co_await aio::sleep(schedule.time());
    }
    Coroutine<void> end() {
        co_await aio::sleep(std::chrono::milliseconds{12});
        ledger.shut_down(true);
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 2; ++i) schedule.spawn(shift(schedule));
        schedule.spawn_sheltered(end());
    }
    void always(Schedule& schedule) override {
        ledger.always(schedule);
        schedule.check(lock.locked() || lock.waiting() == 0, "somebody waits for a free lock");
    }
    void check_gone(Schedule& schedule) override {
        ledger.check(schedule);
        schedule.check(!lock.locked(), "the lock was lost");
    }
};

}  // namespace

TEST_CASE("schedules: each item of a queue comes out once and in order") {
    CHECK(explore<Items<Queue<int>, 2>>("queue") == "");
}

TEST_CASE("schedules: each item of a queue without bound comes out once and in order") {
    CHECK(explore<Items<Queue<int>, 0>>("queue without bound") == "");
}

TEST_CASE("schedules: each item of a LifoQueue comes out once and in order") {
    CHECK(explore<Items<LifoQueue<int>, 2>>("LifoQueue") == "");
}

TEST_CASE("schedules: each item of a PriorityQueue comes out once and in order") {
    CHECK(explore<Items<PriorityQueue<int>, 2>>("PriorityQueue") == "");
}

TEST_CASE("schedules: a group of workers on a queue, with a lock, under a time limit") {
    CHECK(explore<Workshop>("workshop") == "");
}
