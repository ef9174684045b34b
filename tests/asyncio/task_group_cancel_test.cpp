// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task_group.hpp>
#include <plait/asyncio/timeout.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::ExceptionGroup;
using plait::TimeoutError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using plait::asyncio::TaskGroup;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    co_return x;
}
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
    } catch (const TimeoutError&) {
        co_return "timeout";
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a cancellation from outside reaches body and children, and comes back when all have cleaned up") {
    for (const bool body_waits : {true, false}) {
        run_virtual([=]() -> Coroutine<void> {
            int cleaned = 0;
            auto task = aio::create_task(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
                group.create_task(cleans_up(cleaned));
                group.create_task(cleans_up(cleaned, {}, 3s));
                if (body_waits) co_await aio::sleep(1h);
            }));
            co_await aio::sleep(1s);
            CHECK(task.cancel("from outside"));
            const std::string end = co_await ending(task);
            CHECK(end == "cancelled: from outside");
            CHECK(cleaned == 2);
            CHECK(now() == 4s);
            CHECK(task.cancelled());
            CHECK(aio::all_tasks().size() == 1);
        });
    }
}

TEST_CASE("children that fail while they are cancelled from outside are told, and the cancellation at the next await") {
    run_virtual([]() -> Coroutine<void> {
        int cleaned = 0;
        std::string end;
        std::string next;
        auto task = aio::create_task([&]() -> Coroutine<void> {
            end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
                group.create_task(cleans_up(cleaned));
                group.create_task(cleans_up(cleaned, "cleanup"));
                co_return;
            }));
            CHECK(aio::current_task().cancelling() == 1);
            next = co_await ending(aio::sleep(1h));
            co_await aio::sleep(1s);  // it strikes once
        });
        co_await aio::sleep(1s);
        task.cancel("from outside");
        co_await task;
        CHECK(end == "group: cleanup");
        CHECK(next == "cancelled: from outside");
        CHECK(cleaned == 2);
        CHECK(now() == 3s);
    });
}

TEST_CASE("an error and a cancellation from outside in one pass: the group is thrown, then the cancellation") {
    run_virtual([]() -> Coroutine<void> {
        std::string end;
        std::string next;
        Task<void> task;
        // Called before the group hears of the failure.
        const auto fails_and_cancels = [&]() -> Coroutine<void> {
            co_await aio::sleep(1s);
            aio::get_running_loop().call_soon([&] { task.cancel("from outside"); });
            throw std::runtime_error("child");
        };
        task = aio::create_task([&]() -> Coroutine<void> {
            end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
                group.create_task(fails_and_cancels);
                co_await aio::sleep(1h);
            }));
            CHECK(aio::current_task().cancelling() == 1);
            next = co_await ending(aio::sleep(1h));
            CHECK(aio::current_task().cancelling() == 1);
        });
        co_await task;
        CHECK(end == "group: child");
        CHECK(next == "cancelled: from outside");
        CHECK(now() == 1s);
    });
}

TEST_CASE("a cancellation in the pass in which the last child has ended is not swallowed") {
    run_virtual([]() -> Coroutine<void> {
        Task<void> task;
        task = aio::create_task(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task([&]() -> Coroutine<void> {
                co_await aio::sleep(1s);
                aio::get_running_loop().call_soon([&] { task.cancel("too late"); });
            });
            co_return;
        }));
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: too late");
    });
}

TEST_CASE("cancelled again while it waits, a group cancels its children again, and still joins them") {
    run_virtual([]() -> Coroutine<void> {
        int cleaned = 0;
        int cut_short = 0;
        const auto persistent = [&]() -> Coroutine<void> {
            try {
                co_await cleans_up(cleaned, {}, 1h);
            } catch (const CancelledError&) {
                ++cut_short;
            }
            co_await aio::sleep(1s);
        };
        auto task = aio::create_task(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(persistent);
            group.create_task(persistent);
            co_return;
        }));
        co_await aio::sleep(1s);
        task.cancel("first");
        co_await aio::sleep(1s);
        CHECK_FALSE(task.done());
        task.cancel("second");
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: second");
        CHECK(cleaned == 0);
        CHECK(cut_short == 2);
        CHECK(now() == 3s);
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("a cancellation that the body meets elsewhere ends the group as one") {
    run_virtual([]() -> Coroutine<void> {
        auto outsider = aio::create_task(late(1, 1h));
        outsider.cancel("outsider");
        Task<int> child;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<int> {
            child = group.create_task(late(2, 1h));
            co_return co_await outsider;
        }));
        CHECK(end == "cancelled: outsider");
        CHECK(child.cancelled());

        int cleaned = 0;
        const std::string with_error = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<int> {
            group.create_task(cleans_up(cleaned, "cleanup"));
            co_await aio::sleep(0s);
            co_return co_await outsider;
        }));
        CHECK(with_error == "group: cleanup");
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);  // nobody asked this task to end
    });
}

TEST_CASE("of nested groups that both fail the inner error can be handled, and the outer one still fires") {
    run_virtual([]() -> Coroutine<void> {
        std::string inner;
        bool went_on = false;
        const std::string outer = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(fails("outer"));
            inner = co_await ending(aio::task_group([&](TaskGroup& nested) -> Coroutine<void> {
                nested.create_task(fails("inner"));
                co_await aio::sleep(1h);
            }));
            CHECK(aio::current_task().cancelling() == 1);
            co_await aio::sleep(1h);
            went_on = true;
        }));
        CHECK(inner == "group: inner");
        CHECK(outer == "group: outer");
        CHECK_FALSE(went_on);
        CHECK(aio::current_task().cancelling() == 0);
        CHECK(now() == 1s);
        co_await aio::sleep(1s);
    });
}

TEST_CASE("an outer group that fails cancels the inner group's children too, and waits for them") {
    run_virtual([]() -> Coroutine<void> {
        int cleaned = 0;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(fails("outer"));
            co_await aio::task_group([&](TaskGroup& nested) -> Coroutine<void> {
                nested.create_task(cleans_up(cleaned));
                co_return;
            });
        }));
        CHECK(end == "group: outer");
        CHECK(cleaned == 1);
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("a timeout around a group cancels it, and is told unless a child fails; its request goes with it") {
    run_virtual([]() -> Coroutine<void> {
        for (const char* const text : {"", "cleanup"}) {
            int cleaned = 0;
            const std::string end =
                co_await ending(aio::timeout(1s, aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
                                                 group.create_task(cleans_up(cleaned, text));
                                                 co_await aio::sleep(1h);
                                             })));
            CHECK(end == (*text == '\0' ? "timeout" : "group: cleanup"));
            CHECK(cleaned == 1);
            CHECK(aio::current_task().cancelling() == 0);
            co_await aio::sleep(1s);
        }
    });
}

TEST_CASE("a failure asks each child once, though the body waits too: what cleans up by an await is let finish") {
    run_virtual([]() -> Coroutine<void> {
        std::uint32_t requests = 0;
        bool cleaned = false;
        const auto cleans_up = [&]() -> Coroutine<void> {
            std::exception_ptr cancellation;
            try {
                co_await aio::sleep(1h);
            } catch (const plait::CancelledError&) {
                cancellation = std::current_exception();
            }
            co_await aio::sleep(1s);
            cleaned = true;
            requests = aio::current_task().cancelling();
            std::rethrow_exception(cancellation);
        };
        const auto fails = []() -> Coroutine<void> {
            co_await aio::sleep(1s);
            throw std::runtime_error("failed");
        };
        const auto body = [&](aio::TaskGroup& group) -> Coroutine<void> {
            group.create_task(cleans_up());
            group.create_task(fails());
            co_await aio::sleep(1h);
        };
        std::size_t errors = 0;
        try {
            co_await aio::task_group(body);
        } catch (const plait::ExceptionGroup& group) {
            errors = group.exceptions().size();
        }
        CHECK(errors == 1);
        CHECK(cleaned);
        CHECK(requests == 1);
    });
}
