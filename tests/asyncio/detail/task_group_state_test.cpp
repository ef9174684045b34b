// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task_group.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::ExceptionGroup;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using plait::asyncio::TaskGroup;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> fails(std::string text, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    throw std::runtime_error(text);
}
/// Takes its time to clean up after a cancellation, then fails where it is given a text.
Coroutine<void> cleans_up(int& cleaned, std::string text = {}, std::chrono::seconds time = 1s) {
    bool cancelled = false;
    try {
        co_await aio::sleep(24h);
    } catch (const CancelledError&) {
        cancelled = true;
    }
    if (!cancelled) co_return;
    co_await aio::sleep(time);
    ++cleaned;
    if (!text.empty()) throw std::runtime_error(text);
    throw CancelledError("cleaned up");
}
std::chrono::seconds now() {
    return std::chrono::duration_cast<std::chrono::seconds>(aio::get_running_loop().time().time_since_epoch());
}
std::string texts_of(const ExceptionGroup& group) {
    std::string texts = "group:";
    for (const std::exception_ptr& error : group.exceptions()) texts += " " + plait::detail::describe(error);
    return texts;
}
template <class A>
Coroutine<std::string> ending(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const CancelledError& error) {
        co_return std::string("cancelled: ") + error.message();
    } catch (const ExceptionGroup& group) {
        co_return texts_of(group);
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a group waits for a child that ignores its cancellation for a while") {
    run_virtual([]() -> Coroutine<void> {
        int ignored = 0;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task([&]() -> Coroutine<void> {
                try {
                    co_await aio::sleep(1h);
                } catch (const CancelledError&) {
                    ++ignored;
                }
                co_await aio::sleep(1s);
            });
            group.create_task(fails("child"));
            co_return;
        }));
        CHECK(end == "group: child");
        CHECK(ignored == 1);
        CHECK(now() == 2s);
    });
}

TEST_CASE("a child that still runs ten seconds after its cancellation is reported by name") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        int cleaned = 0;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(cleans_up(cleaned, {}, 11s), {.name = "slow"});
            group.create_task(cleans_up(cleaned, {}, 9s), {.name = "not so slow"});
            group.create_task(fails("child"));
            co_return;
        }));
        CHECK(end == "group: child");
        CHECK(now() == 12s);
    });
    REQUIRE(log.tasks.size() == 1);
    CHECK(log.tasks[0] == "slow");
    CHECK(log.messages[0] == "a task still runs ten seconds after it was cancelled, and is waited for");
}

TEST_CASE("a child that starts at once and cancels its group is cancelled too") {
    run_virtual([]() -> Coroutine<void> {
        Task<void> child;
        Task<void> task;
        task = aio::create_task(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task([&]() -> Coroutine<void> {
                co_await aio::sleep(1s);
                child = group.create_task(
                    [](Task<void>& whole) -> Coroutine<void> {
                        whole.cancel("from within");
                        co_await aio::sleep(1h);
                    }(task),
                    {.eager_start = true});
            });
            co_return;
        }));
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: from within");
        CHECK(child.cancelled());
        CHECK(now() == 1s);
    });
}

TEST_CASE("ten thousand children that all fail make one group") {
    run_virtual([]() -> Coroutine<void> {
        std::size_t errors = 0;
        std::size_t text = 0;
        try {
            co_await aio::task_group([](TaskGroup& group) -> Coroutine<void> {
                int cleaned = 0;
                for (int i = 0; i < 5'000; ++i) {
                    group.create_task(fails("in one pass"));
                    group.create_task(
                        [](int) -> Coroutine<void> {
                            bool cancelled = false;
                            try {
                                co_await aio::sleep(1h);
                            } catch (const CancelledError&) {
                                cancelled = true;
                            }
                            if (cancelled) throw std::runtime_error("in cleanup");
                        },
                        cleaned);
                }
                co_return;
            });
        } catch (const ExceptionGroup& group) {
            errors = group.exceptions().size();
            text = std::string(group.what()).size();
        }
        CHECK(errors == 10'000);
        CHECK(text < 1'000);
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("a group keeps nothing of children that have ended well") {
    run_virtual([]() -> Coroutine<void> {
        auto kept = std::make_shared<int>(1);
        co_await aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            for (int i = 0; i < 100; ++i)
                group.create_task([](std::shared_ptr<int>) -> Coroutine<void> { co_return; }, kept);
            co_await aio::sleep(1s);
            CHECK(kept.use_count() == 1);
            CHECK(aio::all_tasks().size() == 1);
        });
    });
}

namespace {

Coroutine<void> nest(int depth, bool fail) {
    co_await aio::task_group([=](TaskGroup& group) -> Coroutine<void> {
        if (depth > 0)
            group.create_task(nest(depth - 1, fail));
        else if (fail)
            throw std::runtime_error("innermost");
        else
            co_await aio::sleep(1h);
    });
}

}  // namespace

TEST_CASE("groups in one another, twenty thousand deep, are cancelled and fail without recursion") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(nest(20'000, false));
        co_await aio::sleep(1s);
        task.cancel("all of them");
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: all of them");
        const std::string failed = co_await ending(nest(20'000, true));
        CHECK(failed.substr(0, 33) == "group: a task group failed (1 err");
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("a loop that closes destroys a group's children before what they refer to") {
    support::ErrorLog log;
    auto count = std::make_shared<int>(0);
    {
        struct Guard {
            explicit Guard(std::shared_ptr<int>& shared) noexcept : owner{shared} { ++*owner; }
            ~Guard() { --*owner; }
            std::shared_ptr<int>& owner;
        };
        aio::EventLoop loop;
        log.watch(loop);
        auto task = loop.create_task(
            [](std::shared_ptr<int> local) -> Coroutine<void> {
                const auto child = [](std::shared_ptr<int>& outer) -> Coroutine<void> {
                    const Guard guard{outer};
                    co_await aio::sleep(1h);
                };
                const auto body = [&](TaskGroup& group) -> Coroutine<void> {
                    group.create_task(child, std::ref(local));
                    group.create_task(child, std::ref(local));
                    co_await aio::sleep(0s);
                };
                co_await aio::task_group(body);
            },
            count);
        loop.call_later(1ms, [&] { loop.stop(); });
        loop.run_forever();
        CHECK(*count == 2);
    }
    CHECK(*count == 0);
    CHECK(log.messages.size() == 3);
}

TEST_CASE("a child that is destroyed with its loop may cancel its group's task") {
    support::ErrorLog log;
    {
        struct CancelsAtEnd {
            explicit CancelsAtEnd(Task<void>& whole) noexcept : task{whole} {}
            ~CancelsAtEnd() { task.cancel(); }
            Task<void>& task;
        };
        Task<void> task;
        aio::EventLoop loop;
        log.watch(loop);
        const auto child = [&]() -> Coroutine<void> {
            const CancelsAtEnd cancels{task};
            co_await aio::sleep(1h);
        };
        const auto body = [&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(child);
            group.create_task(child);
            co_return;
        };
        task = loop.create_task(aio::task_group(body));
        loop.call_later(1ms, [&] { loop.stop(); });
        loop.run_forever();
        loop.close();
        CHECK(task.cancelled());
    }
    CHECK(log.messages.size() == 3);
}

TEST_CASE("errors that a group could not throw before its loop closed are reported") {
    support::ErrorLog log;
    {
        aio::EventLoop loop;
        log.watch(loop);
        auto task = loop.create_task([&]() -> Coroutine<void> {
            co_await aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
                group.create_task([&]() -> Coroutine<void> {
                    try {
                        co_await aio::sleep(1h);
                    } catch (const CancelledError&) {
                        loop.stop();
                    }
                    co_await aio::sleep(1h);
                });
                group.create_task(fails("child", 0s));
                co_return;
            });
        });
        loop.run_forever();
    }
    CHECK(std::count(log.texts.begin(), log.texts.end(), "child") == 1);
}

TEST_CASE("a child that waits for its group's own task does not keep the loop busy when that is cancelled") {
    support::ErrorLog log;
    aio::EventLoop loop({.manual_clock = true});
    log.watch(loop);
    Task<void> task;
    task = loop.create_task(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
        group.create_task([&]() -> Coroutine<void> { co_await task; });
        co_return;
    }));
    loop.call_later(1s, [&] { task.cancel(); });
    // The clock moves only where nothing can run.
    loop.call_later(5s, [&] { loop.stop(); });
    loop.run_forever();
    CHECK_FALSE(task.done());
}
