// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/asyncio/wait.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "schedules/work.hpp"
#include "support/catch.hpp"
#include "support/schedule.hpp"

#include <vector>

using plait::CancelledError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::explore;
using support::Scenario;
using support::Schedule;
using support::Workers;
using support::WorkFailed;
namespace aio = plait::asyncio;

namespace {

/// What a gather started has ended when the gather has, however that came.
struct Gather final : Scenario {
    static Coroutine<void> parent(Schedule& schedule) {
        Workers workers{schedule};
        const std::uint64_t children = schedule.below(4);
        std::vector<Coroutine<int>> coroutines;
        for (std::uint64_t i = 0; i < children; ++i) coroutines.push_back(workers.work());
        schedule.point();
        try {
            const std::vector<int> values = co_await aio::gather(std::move(coroutines));
            schedule.check(values.size() == children, "a value is missing");
        } catch (const WorkFailed&) {
        }
        schedule.point();
    }
    static Coroutine<void> nested(Schedule& schedule) {
        Workers workers{schedule};
        try {
            auto inner = aio::gather(workers.work(), workers.work());
            co_await aio::gather(std::move(inner), workers.work());
        } catch (const WorkFailed&) {
        }
    }
    /// Ends by a failure, then by a cancellation: the others would wait for ever.
    static Coroutine<void> ended(Schedule& schedule) {
        aio::Event never;
        const auto wait = [&]() -> Coroutine<void> { co_await never.wait(); };
        const auto fail = [&]() -> Coroutine<void> {
            co_await aio::sleep(schedule.time());
            throw WorkFailed();
        };
        try {
            co_await aio::gather(wait(), aio::gather(wait(), fail()), wait());
        } catch (const WorkFailed&) {
        }
        try {
            co_await aio::wait_for(aio::gather(wait(), aio::gather(wait(), wait())), schedule.time());
        } catch (const plait::TimeoutError&) {
        }
    }
    static Coroutine<void> keeping_errors(Schedule& schedule) {
        Workers workers{schedule};
        const auto outcomes = co_await aio::gather(aio::return_exceptions, workers.work(), workers.work());
        static_cast<void>(outcomes);
    }
    void start(Schedule& schedule) override {
        schedule.spawn(parent(schedule));
        schedule.spawn(nested(schedule));
        schedule.spawn(keeping_errors(schedule));
        schedule.spawn(ended(schedule));
        schedule.spawn(parent(schedule));
    }
};

/// Tasks that several gather and wait for at once.
struct SharedTasks final : Scenario {
    std::vector<Task<int>> tasks;

    Coroutine<void> gathering(Schedule& schedule) {
        Workers workers{schedule};
        try {
            co_await aio::gather(tasks[0], tasks[1], workers.work());
        } catch (const WorkFailed&) {
        }
    }
    Coroutine<void> waiting_for(Schedule& schedule, aio::ReturnWhen when) {
        for (int i = 0; i < 2; ++i) {
            const auto result = co_await aio::wait(tasks, {.timeout = schedule.time(), .return_when = when});
            schedule.check(result.done.size() + result.pending.size() == tasks.size(), "wait lost a task");
            for (const Task<int>& task : result.done) schedule.check(task.done(), "wait gave a task that goes on");
            schedule.point();
        }
    }
    Coroutine<void> awaiting(Schedule& schedule) {
        try {
            co_await tasks[1];
        } catch (const WorkFailed&) {
        }
        schedule.point();
    }
    void start(Schedule& schedule) override {
        for (int i = 0; i < 3; ++i) tasks.push_back(schedule.loop().create_task(support::work(schedule)));
        schedule.spawn(gathering(schedule));
        schedule.spawn(waiting_for(schedule, aio::FIRST_COMPLETED));
        schedule.spawn(waiting_for(schedule, aio::FIRST_EXCEPTION));
        schedule.spawn(waiting_for(schedule, aio::ALL_COMPLETED));
        schedule.spawn(awaiting(schedule));
    }
    ~SharedTasks() override {
        for (const Task<int>& task : tasks) static_cast<void>(task.exception());
    }
};

/// Tasks that wait for one another, in rings, end when each of them has been asked to.
struct Ring final : Scenario {
    std::vector<Task<void>> ring;

    ~Ring() override {
        for (const Task<void>& task : ring) static_cast<void>(task.exception());
    }
    Coroutine<void> link(Schedule& schedule, std::size_t next) {
        Workers workers{schedule};
        co_await aio::sleep(schedule.time());
        switch (schedule.below(4)) {
            case 0:
                co_await ring[next];
                break;
            case 1:
                co_await aio::gather(workers.work(), ring[next], ring[next]);
                break;
            case 2:
                co_await aio::wait_for(ring[next], std::chrono::hours{1});
                break;
            default:
                co_await aio::gather(aio::return_exceptions, workers.work(), ring[next],
                                     ring[(next + 1) % ring.size()]);
        }
    }
    Coroutine<void> cancel(Schedule& schedule) {
        for (Task<void>& task : ring) {
            co_await aio::sleep(std::chrono::milliseconds{10});
            task.cancel();
        }
        co_await aio::sleep(std::chrono::milliseconds{10});
        for (const Task<void>& task : ring) schedule.check(task.done(), "a ring cannot be cancelled");
    }
    void start(Schedule& schedule) override {
        const std::size_t size = 2 + schedule.below(3);
        for (std::size_t i = 0; i < size; ++i)
            ring.push_back(schedule.loop().create_task(link(schedule, (i + 1) % size)));
        schedule.spawn_sheltered(cancel(schedule));
    }
};

/// A timeout ends what it waits for, and nothing else; a cancellation from outside is never taken for one.
struct WaitFor final : Scenario {
    static Coroutine<void> limited(Schedule& schedule) {
        Workers workers{schedule};
        for (int i = 0; i < 2; ++i) {
            try {
                co_await aio::wait_for(workers.work(), schedule.time());
            } catch (const plait::TimeoutError&) {
            } catch (const WorkFailed&) {
            }
            schedule.point();
        }
        co_await aio::sleep(schedule.time());
    }
    static Coroutine<void> nested(Schedule& schedule) {
        Workers workers{schedule};
        try {
            co_await aio::wait_for(aio::wait_for(workers.work(), schedule.time()), schedule.time());
        } catch (const plait::TimeoutError&) {
        } catch (const WorkFailed&) {
        }
        co_await aio::sleep(schedule.time());
    }
    static Coroutine<void> of_a_gather(Schedule& schedule) {
        Workers workers{schedule};
        try {
            auto both = aio::gather(workers.work(), aio::wait_for(workers.work(), schedule.time()));
            co_await aio::wait_for(std::move(both), schedule.time());
        } catch (const plait::TimeoutError&) {
        } catch (const WorkFailed&) {
        }
        co_await aio::sleep(schedule.time());
    }
    /// Goes on whenever it is cancelled: by nobody but those who asked it to end.
    static Coroutine<void> stubborn(Schedule& schedule) {
        Workers workers{schedule};
        std::uint32_t struck = 0;
        Task<int> done;
        for (int i = 0; i < 6; ++i) {
            try {
                if (!done.valid()) done = aio::create_task(workers.work(), {.eager_start = schedule.chance(2)});
                if (schedule.chance(2))
                    co_await aio::wait_for(done, schedule.time());
                else if (schedule.chance(2))
                    co_await aio::wait_for(aio::wait_for(workers.work(), schedule.time()), schedule.time());
                else
                    co_await aio::sleep(schedule.time());
            } catch (const plait::TimeoutError&) {
            } catch (const WorkFailed&) {
            } catch (const CancelledError&) {
                // Of the task that it waits for, too.
                if (!done.valid() || !done.cancelled()) ++struck;
            }
            schedule.check(struck <= aio::current_task().cancelling(), "a cancellation struck that nobody asked for");
            schedule.point();
        }
        while (!done.done()) {
            try {
                co_await aio::wait(done);
            } catch (const CancelledError&) {
                ++struck;
            }
        }
        static_cast<void>(done.exception());
        schedule.check(struck <= aio::current_task().cancelling(), "a cancellation struck that nobody asked for");
    }
    void start(Schedule& schedule) override {
        schedule.spawn(limited(schedule));
        schedule.spawn_stubborn(stubborn(schedule));
        schedule.spawn(nested(schedule));
        schedule.spawn(of_a_gather(schedule));
        schedule.spawn(limited(schedule));
    }
};

}  // namespace

TEST_CASE("schedules: nothing that a gather started outlives it") { CHECK(explore<Gather>("gather") == ""); }

TEST_CASE("schedules: tasks that several wait for") { CHECK(explore<SharedTasks>("shared tasks") == ""); }

TEST_CASE("schedules: tasks that wait for one another in a ring can be cancelled") {
    CHECK(explore<Ring>("ring") == "");
}

TEST_CASE("schedules: timeouts and cancellations that meet") { CHECK(explore<WaitFor>("wait_for") == ""); }
