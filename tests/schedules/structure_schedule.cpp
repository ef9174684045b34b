// SPDX-License-Identifier: MIT
#include <plait/asyncio/as_completed.hpp>
#include <plait/asyncio/async_generator.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/shield.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task_group.hpp>
#include <plait/asyncio/timeout.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "schedules/work.hpp"
#include "support/catch.hpp"
#include "support/schedule.hpp"

#include <cstddef>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

using plait::TimeoutError;
using plait::asyncio::AsyncGenerator;
using plait::asyncio::Coroutine;
using plait::asyncio::ExceptionGroup;
using plait::asyncio::Lock;
using plait::asyncio::Task;
using plait::asyncio::TaskGroup;
using plait::asyncio::TimeoutScope;
using support::AtEnd;
using support::explore;
using support::Life;
using support::Scenario;
using support::Schedule;
using support::Workers;
using support::WorkFailed;
namespace aio = plait::asyncio;

namespace {

/// A body under a time limit ends before the limit's block does; nobody is cancelled by a limit that is behind him.
struct Limits final : Scenario {
    static Coroutine<void> nested(Schedule& schedule) {
        Workers workers{schedule};
        const auto inner = [&]() -> Coroutine<void> {
            co_await workers.work();
            co_await aio::sleep(schedule.time());
        };
        const auto outer = [&]() -> Coroutine<void> {
            try {
                co_await aio::timeout(schedule.time(), inner);
            } catch (const TimeoutError&) {
            } catch (const WorkFailed&) {
            }
            schedule.point();
            co_await aio::sleep(schedule.time());
        };
        for (int i = 0; i < 2; ++i) {
            try {
                co_await aio::timeout(schedule.time(), outer);
            } catch (const TimeoutError&) {
            }
            co_await aio::sleep(schedule.time());
        }
    }
    static Coroutine<void> rescheduled(Schedule& schedule) {
        Workers workers{schedule};
        const auto body = [&](TimeoutScope& scope) -> Coroutine<void> {
            co_await workers.work();
            if (!scope.expired()) scope.reschedule(schedule.time());
            co_await workers.work();
            if (!scope.expired()) scope.reschedule(plait::Timeout::never());
            co_await aio::sleep(schedule.time());
        };
        try {
            co_await aio::timeout(schedule.time(), body);
        } catch (const TimeoutError&) {
        } catch (const WorkFailed&) {
        }
        co_await aio::sleep(schedule.time());
    }
    static Coroutine<void> around_a_gather(Schedule& schedule) {
        Workers workers{schedule};
        const auto body = [&]() -> Coroutine<void> {
            const auto outcomes = co_await aio::gather(aio::return_exceptions, workers.work(), workers.work());
            static_cast<void>(outcomes);
        };
        try {
            co_await aio::timeout_at(schedule.loop().time() + schedule.time(), body);
        } catch (const TimeoutError&) {
        }
        co_await aio::sleep(schedule.time());
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 2; ++i) schedule.spawn(nested(schedule));
        schedule.spawn(rescheduled(schedule));
        schedule.spawn(around_a_gather(schedule));
    }
};

/// What is shielded is not cancelled by those who wait for it.
struct Shielded final : Scenario {
    std::vector<Task<int>> tasks;

    ~Shielded() override {
        for (const Task<int>& task : tasks) static_cast<void>(task.exception());
    }
    Coroutine<void> wait(Schedule& schedule, std::size_t which) {
        for (int i = 0; i < 2; ++i) {
            try {
                if (schedule.chance(2))
                    co_await aio::shield(tasks[which]);
                else
                    co_await aio::wait_for(aio::shield(tasks[which]), schedule.time());
            } catch (const TimeoutError&) {
            } catch (const WorkFailed&) {
            }
            schedule.point();
            co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> gather(Schedule& schedule) {
        Workers workers{schedule};
        try {
            co_await aio::gather(aio::shield(tasks[0]), workers.work(), aio::shield(tasks[1]));
        } catch (const WorkFailed&) {
        }
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 2; ++i) {
            tasks.push_back(schedule.loop().create_task(support::work(schedule)));
            schedule.shelter(tasks.back());
        }
        schedule.spawn(wait(schedule, 0));
        schedule.spawn(wait(schedule, 0));
        schedule.spawn(wait(schedule, 1));
        schedule.spawn(gather(schedule));
    }
    void check(Schedule& schedule) override {
        for (const Task<int>& task : tasks) schedule.check(!task.cancelled(), "a cancellation went through a shield");
    }
};

/// Each that ends comes once, whoever gives up on the way.
struct Completed final : Scenario {
    std::vector<Task<int>> tasks;

    ~Completed() override {
        for (const Task<int>& task : tasks) static_cast<void>(task.exception());
    }
    Coroutine<void> take(Schedule& schedule) {
        std::size_t came = 0;
        for (const auto& next : aio::as_completed(tasks, schedule.time())) {
            try {
                co_await next;
                ++came;
            } catch (const WorkFailed&) {
                ++came;
            } catch (const TimeoutError&) {
                break;
            }
            schedule.point();
            if (schedule.chance(4)) break;
        }
        schedule.check(came <= tasks.size(), "one came twice");
    }
    Coroutine<void> take_all(Schedule& schedule) {
        std::size_t came = 0;
        bool child_cancelled = false;
        for (const auto& next : aio::as_completed(tasks)) {
            try {
                co_await next;
            } catch (const WorkFailed&) {
            } catch (const plait::CancelledError&) {
                if (aio::current_task().cancelling() != 0) throw;
                child_cancelled = true;
            }
            ++came;
        }
        schedule.check(came == tasks.size(),
                       child_cancelled ? "one did not come, one was cancelled" : "one did not come");
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 3; ++i) tasks.push_back(schedule.loop().create_task(support::work(schedule)));
        for (int i = 0; i < 2; ++i) schedule.spawn(take(schedule));
        schedule.spawn(take_all(schedule));
    }
};

/// No child outlives its group, and each failure comes out of it.
struct Groups final : Scenario {
    /// What failed, and what came out.
    struct Balance {
        int failed = 0;
        int came = 0;
    };

    static Coroutine<void> work(Workers& workers, Balance& balance) {
        try {
            co_await workers.work();
        } catch (const WorkFailed&) {
            ++balance.failed;
            throw;
        }
    }
    static void count(const ExceptionGroup& group, Balance& balance) {
        for (const std::exception_ptr& error : group.exceptions()) {
            try {
                std::rethrow_exception(error);
            } catch (const ExceptionGroup& inner) {
                count(inner, balance);
            } catch (const WorkFailed&) {
                ++balance.came;
            }
        }
    }
    /// A child that starts others.
    static Coroutine<void> parent(Schedule& schedule, TaskGroup& group, Workers& workers, Balance& balance) {
        co_await aio::sleep(schedule.time());
        try {
            group.create_task(work(workers, balance));
        } catch (const plait::UsageError&) {
            // The group is being cancelled.
        }
        co_await work(workers, balance);
    }
    static Coroutine<void> flat(Schedule& schedule, Balance& balance) {
        Workers workers{schedule};
        const auto body = [&](TaskGroup& group) -> Coroutine<void> {
            for (std::uint64_t i = schedule.below(4); i != 0; --i) {
                try {
                    group.create_task(work(workers, balance), {.eager_start = schedule.chance(4)});
                } catch (const plait::UsageError&) {
                    // One that began at once failed at once.
                }
            }
            schedule.point();
            try {
                if (schedule.chance(2)) group.create_task(parent(schedule, group, workers, balance));
            } catch (const plait::UsageError&) {
            }
            if (schedule.chance(2)) co_await work(workers, balance);
        };
        co_await aio::task_group(body);
    }
    static Coroutine<void> nested(Schedule& schedule, Balance& balance) {
        const auto body = [&](TaskGroup& group) -> Coroutine<void> {
            for (int i = 0; i < 2; ++i) group.create_task(flat(schedule, balance));
            co_await flat(schedule, balance);
        };
        co_await aio::task_group(body);
    }
    /// Ends by a failure alone: the others would wait for ever.
    static Coroutine<void> failing(Schedule& schedule, Balance& balance) {
        aio::Event never;
        const auto wait = [&]() -> Coroutine<void> { co_await never.wait(); };
        const auto fail = [&]() -> Coroutine<void> {
            co_await aio::sleep(schedule.time());
            ++balance.failed;
            throw WorkFailed();
        };
        const auto body = [&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(wait());
            if (schedule.chance(2)) schedule.shelter(group.create_task(fail()));
            group.create_task(wait());
            co_await aio::sleep(schedule.time());
            if (schedule.chance(2)) co_await fail();
            schedule.shelter(group.create_task(fail()));
            if (schedule.chance(2)) co_await wait();
        };
        co_await aio::task_group(body);
    }
    /// Ends by a cancellation alone.
    static Coroutine<void> limited(Schedule& schedule) {
        aio::Event never;
        const auto wait = [&]() -> Coroutine<void> { co_await never.wait(); };
        const auto body = [&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(wait());
            group.create_task(wait());
            co_await aio::sleep(schedule.time());
        };
        try {
            co_await aio::wait_for(aio::task_group(body), schedule.time());
        } catch (const TimeoutError&) {
        }
    }
    static Coroutine<void> run(Schedule& schedule, bool nests) {
        Balance balance;
        const AtEnd balanced{
            [&] { schedule.check(schedule.closing() || balance.failed == balance.came, "a failure was lost"); }};
        try {
            if (nests)
                co_await nested(schedule, balance);
            else if (schedule.chance(2))
                co_await failing(schedule, balance);
            else
                co_await flat(schedule, balance);
            co_await limited(schedule);
        } catch (const ExceptionGroup& group) {
            count(group, balance);
        }
        schedule.point();
        co_await aio::sleep(schedule.time());
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 2; ++i) schedule.spawn(run(schedule, false));
        schedule.spawn(run(schedule, true));
    }
};

/// A generator's body ends when the generator goes, wherever it stands, and lets go what it held.
struct Generators final : Scenario {
    Lock lock;
    int bodies = 0;

    AsyncGenerator<int> items(Schedule& schedule) {
        const Life life{bodies};
        for (int i = 0; i < 3; ++i) {
            const auto guard = co_await lock.scoped();
            schedule.point();
            co_await support::work(schedule);
            co_yield i;
        }
    }
    AsyncGenerator<int> doubled(Schedule& schedule) {
        const Life life{bodies};
        auto inner = items(schedule);
        while (const std::optional<int> item = co_await inner.next()) {
            co_yield 2 * *item;
            if (schedule.chance(2)) co_await aio::sleep(schedule.time());
        }
    }
    Coroutine<void> consume(Schedule& schedule) {
        auto generator = doubled(schedule);
        int expected = 0;
        try {
            while (const std::optional<int> item = co_await generator.next()) {
                schedule.check(*item == expected, "an item was lost");
                expected += 2;
                schedule.point();
                if (schedule.chance(4)) break;
            }
        } catch (const WorkFailed&) {
        }
        if (schedule.chance(2)) co_await generator.aclose();
    }
    Coroutine<void> consume_in_time(Schedule& schedule) {
        auto generator = items(schedule);
        for (;;) {
            try {
                const std::optional<int> item = co_await aio::wait_for(generator.next(), schedule.time());
                if (!item) break;
            } catch (const TimeoutError&) {
            } catch (const WorkFailed&) {
            }
            schedule.point();
        }
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 2; ++i) schedule.spawn(consume(schedule));
        for (int i = 0; i < 2; ++i) schedule.spawn(consume_in_time(schedule));
    }
    void always(Schedule& schedule) override {
        schedule.check(lock.locked() || lock.waiting() == 0, "somebody waits for a free lock");
    }
    void check_gone(Schedule& schedule) override {
        schedule.check(!lock.locked(), "the lock was lost");
        schedule.check(bodies == 0, "a body was left behind");
    }
};

}  // namespace

TEST_CASE("schedules: what a time limit is for ends within it, and nothing else does") {
    CHECK(explore<Limits>("timeout") == "");
}

TEST_CASE("schedules: no cancellation goes through a shield") { CHECK(explore<Shielded>("shield") == ""); }

TEST_CASE("schedules: as_completed gives each task once") { CHECK(explore<Completed>("as_completed") == ""); }

TEST_CASE("schedules: no child outlives its task group, and no failure is lost") {
    CHECK(explore<Groups>("task_group") == "");
}

TEST_CASE("schedules: a generator lets go what it holds wherever it is given up") {
    CHECK(explore<Generators>("async generator") == "");
}
