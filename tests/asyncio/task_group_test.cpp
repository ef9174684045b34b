// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task_group.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::ExceptionGroup;
using plait::UsageError;
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
std::chrono::seconds now() {
    return std::chrono::duration_cast<std::chrono::seconds>(aio::get_running_loop().time().time_since_epoch());
}
/// What the awaitable came to: of an ExceptionGroup, the texts in it.
template <class A>
Coroutine<std::string> ending(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const CancelledError& error) {
        co_return std::string("cancelled: ") + error.message();
    } catch (const ExceptionGroup& group) {
        std::string texts = "group:";
        for (const std::exception_ptr& error : group.exceptions()) texts += " " + plait::detail::describe(error);
        co_return texts;
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a task group gives its body's value when all of its tasks have ended") {
    run_virtual([]() -> Coroutine<void> {
        Task<int> five;
        int ended = 0;
        const auto counts = [&](std::chrono::seconds delay) -> Coroutine<void> {
            co_await aio::sleep(delay);
            ++ended;
        };
        const int value = co_await aio::task_group([&](TaskGroup& group) -> Coroutine<int> {
            five = group.create_task(late(5));
            group.create_task(counts, 3s);
            group.create_task(counts(2s));
            group.create_task(aio::sleep(4s));
            group.create_task(aio::TaskOptions{.name = "named"}, counts, 1s);
            const auto named = group.create_task(late(6), {.name = "six"});
            CHECK(named.name() == "six");
            co_return 7;
        });
        CHECK(value == 7);
        CHECK(ended == 3);
        CHECK(now() == 4s);
        CHECK(five.result() == 5);
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("a body may give nothing, a reference, or what can only be moved") {
    run_virtual([]() -> Coroutine<void> {
        co_await aio::task_group([](TaskGroup& group) -> Coroutine<void> {
            group.create_task(late(1));
            co_return;
        });
        CHECK(now() == 1s);
        int place = 0;
        int& reference = co_await aio::task_group([&](TaskGroup&) -> Coroutine<int&> { co_return place; });
        CHECK(&reference == &place);
        const auto unique = co_await aio::task_group([](TaskGroup& group) -> Coroutine<std::unique_ptr<int>> {
            Task<int> task = group.create_task(late(4));
            co_return std::make_unique<int>(co_await task);
        });
        CHECK(*unique == 4);
    });
}

TEST_CASE("a task group without tasks ends with its body, in the same pass") {
    int passes = 0;
    run_virtual([&]() -> Coroutine<void> {
        aio::get_running_loop().call_soon([&] { ++passes; });
        co_await aio::task_group([](TaskGroup&) -> Coroutine<void> { co_return; });
        CHECK(passes == 0);
    });
}

TEST_CASE("a body's captures live until the last task has ended") {
    run_virtual([]() -> Coroutine<void> {
        auto shared = std::make_shared<int>(3);
        const std::weak_ptr<int> weak = shared;
        int seen = 0;
        auto body = [shared, &seen](TaskGroup& group) -> Coroutine<void> {
            group.create_task([&]() -> Coroutine<void> {
                co_await aio::sleep(1s);
                seen = *shared;
            });
            co_return;
        };
        auto group = aio::task_group(std::move(body));
        shared = nullptr;
        co_await std::move(group);
        CHECK(seen == 3);
        CHECK(weak.expired());
    });
}

TEST_CASE("the first failure cancels the other tasks and the body, and a group with that error is thrown") {
    run_virtual([]() -> Coroutine<void> {
        Task<int> sibling;
        bool body_cancelled = false;
        const auto body = [&](TaskGroup& group) -> Coroutine<void> {
            sibling = group.create_task(late(1, 1h));
            group.create_task(fails("first"));
            try {
                co_await aio::sleep(2h);
            } catch (const CancelledError&) {
                body_cancelled = true;
                throw;
            }
        };
        const std::string end = co_await ending(aio::task_group(body));
        CHECK(end == "group: first");
        CHECK(sibling.cancelled());
        CHECK(body_cancelled);
        CHECK(now() == 1s);
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);  // no request is left over
    });
}

TEST_CASE("a failure when the body has ended cancels the other tasks") {
    run_virtual([]() -> Coroutine<void> {
        const std::string end = co_await ending(aio::task_group([](TaskGroup& group) -> Coroutine<int> {
            group.create_task(late(1, 1h));
            group.create_task(fails("first"));
            co_return 5;
        }));
        CHECK(end == "group: first");
        CHECK(now() == 1s);
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("children that fail in one pass are all heard, also in their first step") {
    run_virtual([]() -> Coroutine<void> {
        const auto fails_at_once = [](std::string text) -> Coroutine<void> {
            throw std::runtime_error(text);
            co_return;
        };
        Task<int> sibling;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(fails_at_once, "a");
            sibling = group.create_task(late(1));
            group.create_task(fails_at_once, "b");
            co_await aio::sleep(1h);
        }));
        CHECK(end == "group: a b");
        CHECK(sibling.cancelled());
    });
}

TEST_CASE(
    "all errors are in the group in the order of their ends, cancellations are not, and none is reported unseen") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        const auto fails_in_cleanup = []() -> Coroutine<void> {
            bool cancelled = false;
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (cancelled) co_await aio::sleep(2s);
            throw std::invalid_argument("cleanup");
        };
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task(fails_in_cleanup);
            group.create_task(late(1, 1h));
            group.create_task(fails("first"));
            group.create_task(fails("second"));
            co_return;
        }));
        CHECK(end == "group: first second cleanup");
        CHECK(now() == 3s);
    });
    CHECK(log.messages.empty());
}

TEST_CASE("a body that throws cancels the tasks, and its error is the first in the group") {
    run_virtual([]() -> Coroutine<void> {
        Task<int> sibling;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            sibling = group.create_task(late(1, 1h));
            group.create_task(fails("child"));
            co_await aio::sleep(1s);
            co_await aio::sleep(0s);  // in the pass of the child's error
            throw std::runtime_error("body");
        }));
        CHECK(end == "group: body child");
        CHECK(sibling.cancelled());

        const std::string alone = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            sibling = group.create_task(late(1, 1h));
            throw std::runtime_error("body");
            co_return;
        }));
        CHECK(alone == "group: body");
        CHECK(sibling.cancelled());
    });
}

TEST_CASE("a body that throws before it is a coroutine fails as one that throws later") {
    run_virtual([]() -> Coroutine<void> {
        const std::string end = co_await ending(aio::task_group([](TaskGroup& group) -> Coroutine<int> {
            group.create_task(late(1, 1h));
            throw std::runtime_error("no coroutine");
        }));
        CHECK(end == "group: no coroutine");
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("an error that the body saw too, when it awaited the child, is in the group once") {
    run_virtual([]() -> Coroutine<void> {
        const std::string end = co_await ending(aio::task_group([](TaskGroup& group) -> Coroutine<void> {
            Task<void> child = group.create_task(fails("child"));
            group.create_task(fails("another"));
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
            }
            co_await child;
        }));
        CHECK(end == "group: child another");
        const std::string awaited = co_await ending(aio::task_group([](TaskGroup& group) -> Coroutine<void> {
            Task<void> child = group.create_task(fails("child"));
            co_await child;
        }));
        CHECK(awaited == "group: child");
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("a child that is cancelled alone is no failure") {
    run_virtual([]() -> Coroutine<void> {
        Task<int> sibling;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            Task<int> child = group.create_task(late(1, 1h));
            sibling = group.create_task(late(2, 2s));
            co_await aio::sleep(1s);
            child.cancel();
        }));
        CHECK(end == "value");
        CHECK(sibling.result() == 2);
    });
}

TEST_CASE("children start others while the group waits, and those are waited for too") {
    run_virtual([]() -> Coroutine<void> {
        int ended = 0;
        co_await aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            group.create_task([&]() -> Coroutine<void> {
                co_await aio::sleep(1s);
                for (int i = 0; i < 3; ++i)
                    group.create_task([&]() -> Coroutine<void> {
                        co_await aio::sleep(1s);
                        ++ended;
                    });
            });
            co_return;
        });
        CHECK(ended == 3);
        CHECK(now() == 2s);
    });
}

TEST_CASE("a group that has ended or failed takes no more tasks, and destroys the coroutine") {
    support::ErrorLog log;
    const auto all = [&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        auto kept = std::make_shared<int>(1);
        const auto work = [](std::shared_ptr<int>) -> Coroutine<void> { co_return; };
        std::vector<std::string> texts;
        TaskGroup* group = nullptr;
        const auto try_to_create = [&] {
            Coroutine<void> coroutine = work(kept);
            try {
                group->create_task(std::move(coroutine));
            } catch (const UsageError& error) {
                texts.push_back(error.what());
            }
            CHECK(kept.use_count() == 1);
            CHECK_THROWS_AS(group->create_task(work, kept), UsageError);
            CHECK_THROWS_AS(group->create_task(aio::sleep(1s)), UsageError);
            CHECK(kept.use_count() == 1);
        };

        // Added in the body, so called before the group's task has its turn.
        co_await aio::task_group([&](TaskGroup& given) -> Coroutine<void> {
            group = &given;
            given.create_task([&]() -> Coroutine<void> {
                aio::get_running_loop().call_soon(try_to_create);
                co_return;
            });
            co_return;
        });
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& given) -> Coroutine<void> {
            group = &given;
            given.create_task(fails("child"));
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                try_to_create();
                throw;
            }
        }));
        CHECK(end == "group: child");
        CHECK(texts == std::vector<std::string>{
                           "TaskGroup::create_task: the group has ended; create tasks while its body or a child runs",
                           "TaskGroup::create_task: the group failed or was cancelled, and takes no more tasks"});
    };
    aio::run(all(), {.debug = true, .slow_callback_duration = plait::Timeout::never()});
    CHECK(log.messages.empty());  // no word of a coroutine that was never awaited
}

TEST_CASE("a create_task that throws joins what was started before it") {
    run_virtual([]() -> Coroutine<void> {
        Task<int> started;
        auto kept = std::make_shared<int>(1);
        const auto work = [](std::shared_ptr<int>) -> Coroutine<void> { co_return; };
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            started = group.create_task(late(1, 1h));
            // A name that no string can hold.
            group.create_task(work(kept), {.name = std::string_view{"x", std::string{}.max_size() + 1}});
            co_return;
        }));
        CHECK(end.substr(0, 7) == "group: ");
        CHECK(started.cancelled());
        CHECK(kept.use_count() == 1);
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("a child that starts at once may fail at once, or before the group knows it") {
    run_virtual([]() -> Coroutine<void> {
        Task<int> sibling;
        bool went_on = false;
        const std::string end = co_await ending(aio::task_group([&](TaskGroup& group) -> Coroutine<void> {
            sibling = group.create_task(late(1, 1h));
            group.create_task(
                [](TaskGroup& same) -> Coroutine<void> {
                    same.create_task(
                        []() -> Coroutine<void> {
                            throw std::runtime_error("nested");
                            co_return;
                        }(),
                        {.eager_start = true});
                    co_await aio::sleep(1h);
                }(group),
                {.eager_start = true});
            went_on = true;
            co_await aio::sleep(1h);
        }));
        CHECK(end == "group: nested");
        CHECK(went_on);
        CHECK(sibling.cancelled());
        CHECK(now() == 0s);
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("a task group is awaited once") {
    run_virtual([]() -> Coroutine<void> {
        auto group = aio::task_group([](TaskGroup&) -> Coroutine<void> { co_return; });
        co_await group;
        const std::string end = co_await ending(std::move(group));
        CHECK(end == "error: this Coroutine was awaited or started before: call the coroutine function again");
    });
}
