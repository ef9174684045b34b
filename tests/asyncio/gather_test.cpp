// SPDX-License-Identifier: MIT
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    co_return x;
}
Coroutine<int> fails(const char* text, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    throw std::runtime_error(text);
}
Coroutine<std::unique_ptr<int>> move_only(int x) { co_return std::make_unique<int>(x); }
Coroutine<void> nothing() { co_await aio::sleep(1s); }
/// Takes a second to clean up after a cancellation, then counts itself.
Coroutine<int> cleans_up(int& cleaned) {
    bool cancelled = false;
    try {
        co_await aio::sleep(1h);
    } catch (const CancelledError&) {
        cancelled = true;
    }
    if (cancelled) {
        co_await aio::sleep(1s);
        ++cleaned;
        throw CancelledError("cleaned up");
    }
    co_return 0;
}

std::chrono::seconds now() {
    return std::chrono::duration_cast<std::chrono::seconds>(aio::get_running_loop().time().time_since_epoch());
}

template <class A>
Coroutine<std::string> ending(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const CancelledError& error) {
        co_return std::string("cancelled: ") + error.message();
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("gather runs side by side, and gives values in the order of the arguments") {
    run_virtual([]() -> Coroutine<void> {
        auto [a, b, c] = co_await aio::gather(late(1, 3s), late(2, 1s), late(3, 2s));
        CHECK(std::vector<int>{a, b, c} == std::vector<int>{1, 2, 3});
        CHECK(now() == 3s);
    });
}

TEST_CASE("gather of a range gives a vector, and of coroutines without a value nothing") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Coroutine<int>> coroutines;
        for (int i = 0; i < 10; ++i) coroutines.push_back(late(i, std::chrono::seconds(10 - i)));
        const std::vector<int> all = co_await aio::gather(std::move(coroutines));
        CHECK(all == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});

        std::vector<Coroutine<void>> rest;
        rest.push_back(nothing());
        rest.push_back(nothing());
        co_await aio::gather(std::move(rest));
        CHECK(now() == 11s);

        std::vector<Task<int>> tasks{aio::create_task(late(1)), aio::create_task(late(2))};
        const std::vector<int> of_tasks = co_await aio::gather(tasks);
        CHECK(of_tasks == std::vector<int>{1, 2});
        CHECK(tasks[0].done());
    });
}

TEST_CASE("gather of nothing is empty at once") {
    run_virtual([]() -> Coroutine<void> {
        const std::tuple<> none = co_await aio::gather();
        static_cast<void>(none);
        const std::vector<int> empty = co_await aio::gather(std::vector<Coroutine<int>>{});
        CHECK(empty.empty());
        CHECK(now() == 0s);
    });
}

TEST_CASE("gather takes values of any type, and anything that can be awaited") {
    run_virtual([]() -> Coroutine<void> {
        auto [moved, none, slept, task, nested] =
            co_await aio::gather(move_only(7), nothing(), aio::sleep(1s, std::string("slept")),
                                 aio::create_task(late(3)), aio::gather(late(1), late(2)));
        STATIC_REQUIRE(std::is_same_v<decltype(none), aio::Unit>);
        CHECK(*moved == 7);
        CHECK(slept == "slept");
        CHECK(task == 3);
        CHECK(std::get<1>(nested) == 2);
        co_await aio::gather(aio::sleep(1s), aio::sleep(2s));
        CHECK(now() == 3s);
    });
}

TEST_CASE("a task that is given twice runs once, and its value is given twice") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(4));
        auto [a, b] = co_await aio::gather(task, task);
        CHECK(a == 4);
        CHECK(b == 4);
    });
}

TEST_CASE("gather's first failure cancels the coroutines, waits for their end, and is thrown; tasks go on") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        int cleaned = 0;
        auto task = aio::create_task(late(5, 10s));
        const std::string end =
            co_await ending(aio::gather(cleans_up(cleaned), fails("first"), task, fails("second", 30s)));
        CHECK(end == "error: first");
        CHECK(cleaned == 1);
        CHECK(now() == 2s);  // the failure, and a second of cleaning up
        CHECK_FALSE(task.done());
        const int value = co_await task;
        CHECK(value == 5);
        CHECK(aio::all_tasks().size() == 1);
    });
    CHECK(log.messages.empty());
}

TEST_CASE("errors after gather's first are not reported as unseen") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        const std::string end = co_await ending(aio::gather(fails("first"), fails("second")));
        CHECK(end == "error: first");
    });
    CHECK(log.messages.empty());
}

TEST_CASE("gather with return_exceptions gives errors and cancellations in their places, and waits for all") {
    run_virtual([]() -> Coroutine<void> {
        auto cancelled = aio::create_task(late(1, 1h));
        cancelled.cancel("not this one");
        auto [value, error, cancellation, none] =
            co_await aio::gather(aio::return_exceptions, late(1, 5s), fails("in place"), cancelled, nothing());
        CHECK(now() == 5s);
        CHECK(value.value() == 1);
        CHECK_THROWS_WITH(error.value(), "in place");
        CHECK_THROWS_AS(cancellation.value(), CancelledError);
        CHECK(none.has_value());

        std::vector<Coroutine<int>> range;
        range.push_back(late(1));
        range.push_back(fails("in the range"));
        const auto outcomes = co_await aio::gather(aio::return_exceptions, std::move(range));
        CHECK(outcomes[0].value() == 1);
        CHECK_THROWS_WITH(outcomes[1].value(), "in the range");
    });
}

TEST_CASE("a cancelled child makes gather throw, but does not cancel the task that gathers") {
    run_virtual([]() -> Coroutine<void> {
        auto child = aio::create_task(late(1, 1h));
        auto gathering = aio::create_task([&]() -> Coroutine<int> {
            bool caught = false;
            try {
                co_await aio::gather(child, late(2, 2h));
            } catch (const CancelledError&) {
                caught = true;
            }
            co_await aio::sleep(1s);
            co_return caught ? 1 : 0;
        });
        co_await aio::sleep(1s);
        child.cancel();
        const int caught = co_await gathering;
        CHECK(caught == 1);
        CHECK(gathering.cancelling() == 0);
    });
}

TEST_CASE("cancelling a gather cancels all of them and waits for their end") {
    run_virtual([]() -> Coroutine<void> {
        int cleaned = 0;
        auto task = aio::create_task(cleans_up(cleaned));
        auto gathering = aio::create_task(aio::gather(cleans_up(cleaned), task, late(1)));
        co_await aio::sleep(2s);
        CHECK(gathering.cancel("stop"));
        const std::string end = co_await ending(gathering);
        CHECK(end == "cancelled: stop");
        CHECK(cleaned == 2);
        CHECK(now() == 3s);
        CHECK(task.cancelled());
        CHECK(gathering.cancelled());
    });
}

TEST_CASE("children that make a value of their cancellation do not hide that the gather was cancelled") {
    run_virtual([]() -> Coroutine<void> {
        const auto stubborn = []() -> Coroutine<int> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
            }
            co_return 42;
        };
        auto gathering = aio::create_task(aio::gather(stubborn(), stubborn()));
        co_await aio::sleep(1s);
        gathering.cancel();
        const std::string end = co_await ending(gathering);
        CHECK(end == "cancelled: ");
    });
}

TEST_CASE("an error while a cancelled gather cleans up is thrown instead") {
    run_virtual([]() -> Coroutine<void> {
        const auto breaks = []() -> Coroutine<int> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                throw std::runtime_error("while cleaning up");
            }
            co_return 0;
        };
        auto gathering = aio::create_task(aio::gather(late(1, 1h), breaks()));
        co_await aio::sleep(1s);
        gathering.cancel();
        const std::string end = co_await ending(gathering);
        CHECK(end == "error: while cleaning up");
    });
}

TEST_CASE("gather of a coroutine that was awaited before starts nothing that goes on") {
    run_virtual([]() -> Coroutine<void> {
        int cleaned = 0;
        auto used = late(1);
        co_await used;
        const std::string end = co_await ending(aio::gather(cleans_up(cleaned), std::move(used)));
        CHECK(end.find("awaited or started before") != std::string::npos);
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("a child that does not end after its cancellation is reported by name") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        const auto stubborn = []() -> Coroutine<void> {
            aio::current_task().set_name("stubborn");
            bool cancelled = false;
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (cancelled) co_await aio::sleep(1min);
        };
        const std::string end = co_await ending(aio::gather(stubborn(), fails("first")));
        CHECK(end == "error: first");
        CHECK(now() == 61s);
    });
    CHECK(log.tasks == std::vector<std::string>{"stubborn"});
}

TEST_CASE("a gather destroyed with its loop leaves nothing behind") {
    support::ErrorLog log;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        log.watch(loop);
        auto gathering = loop.create_task(aio::gather(late(1, 1h), late(2, 1h)));
        loop.call_later(1s, [&] { loop.stop(); });
        loop.run_forever();
    }
    CHECK(log.messages.size() == 3);
}

TEST_CASE("a hundred thousand sleeping coroutines are gathered") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Coroutine<int>> coroutines;
        for (int i = 0; i < 100'000; ++i) coroutines.push_back(late(1, std::chrono::seconds((i * 7919) % 1000)));
        const std::vector<int> all = co_await aio::gather(std::move(coroutines));
        CHECK(all == std::vector<int>(100'000, 1));
        CHECK(now() == 999s);
    });
}

TEST_CASE("a task that ends after the failure, in the same pass, does not wake its gather twice") {
    run_virtual([]() -> Coroutine<void> {
        // The task's second begins after that of what fails, and ends with it: time stands while anything runs.
        auto task = aio::create_task([]() -> Coroutine<int> {
            for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
            co_return co_await late(1);
        });
        const auto how = co_await ending(aio::gather(fails("failed"), task));
        CHECK(how == "error: failed");
        co_await aio::sleep(1s);
        CHECK(task.done());
    });
}

TEST_CASE("gathers that wait for one another end when one is cancelled") {
    run_virtual([]() -> Coroutine<void> {
        Task<void> first;
        Task<void> second;
        const auto waits_for = [](const Task<void>& other) -> Coroutine<void> { co_await aio::gather(other); };
        first = aio::create_task(waits_for(second));
        second = aio::create_task(waits_for(first));
        co_await aio::sleep(1s);
        first.cancel();
        co_await aio::sleep(1s);
        CHECK(first.cancelled());
        CHECK(second.cancelled());
        // What names itself is a ring, too.
        Task<void> alone;
        alone = aio::create_task(waits_for(alone));
        co_await aio::sleep(1s);
        alone.cancel();
        co_await aio::sleep(1s);
        CHECK(alone.cancelled());
    });
}

TEST_CASE("a gather may be cancelled by what dies with its loop") {
    struct Cancels {
        explicit Cancels(aio::AnyTask& victim) : task{victim} {}
        ~Cancels() { task.cancel(); }
        aio::AnyTask& task;
    };
    aio::AnyTask victim;
    support::ErrorLog log;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        log.watch(loop);
        static_cast<void>(loop.create_task(
            [](aio::AnyTask& task) -> Coroutine<void> {
                const Cancels guard{task};
                co_await aio::sleep(1h);
            },
            std::ref(victim)));
        victim = loop.create_task(aio::gather(late(1, 1h), late(2, 1h)));
        loop.run_until_complete(late(0));
    }
    CHECK(victim.cancelled());
    CHECK(log.tasks.size() == 4);
}
