// SPDX-License-Identifier: MIT
#include <plait/asyncio/task_tree.hpp>

#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::asyncio;
namespace aio = plait::asyncio;

namespace {

Coroutine<> rest() { co_await aio::sleep(1h); }
Coroutine<> work() { co_await rest(); }

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t times = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++times;
    return times;
}
bool in_order(const std::string& text, const std::vector<std::string>& parts) {
    std::size_t at = 0;
    for (const std::string& part : parts) {
        at = text.find(part, at);
        if (at == std::string::npos) return false;
        at += part.size();
    }
    return true;
}

void pass(EventLoop& loop, int times = 1) {
    for (; times > 0; --times) {
        loop.stop();
        loop.run_forever();
    }
}

/// What the tree says once the tasks that `prepare` made have come to rest, and they are cancelled.
template <class Prepare>
std::string tree_of(Prepare prepare, EventLoopOptions options = {.manual_clock = true}) {
    EventLoop loop{options};
    std::string text;
    loop.run_until_complete([](EventLoop& on, Prepare& begin, std::string& told) -> Coroutine<> {
        co_await begin();
        co_await aio::sleep(10s);
        told = format_task_tree(on);
        for (AnyTask& task : all_tasks())
            if (!(task == current_task())) task.cancel();
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
    }(loop, prepare, text));
    return text;
}

}  // namespace

TEST_CASE("the tree of a loop without tasks says so") {
    EventLoop loop;
    CHECK(format_task_tree(loop) == "no tasks");
}

TEST_CASE("a task that waits tells where, from its innermost coroutine outwards") {
    std::vector<Task<>> tasks;
    const std::string text = tree_of([&]() -> Coroutine<> {
        tasks.push_back(create_task(work(), {.name = "worker"}));
        co_return;
    });
    CAPTURE(text);
    CHECK(in_order(text, {"Task-1: runs", "worker: waits\n", "at ", "task_tree_test.cpp:", "rest()", "at ",
                          "task_tree_test.cpp:", "work()"}));
}

TEST_CASE("who is awaited stands below who awaits it, once, and is named below the others") {
    std::vector<Task<>> tasks;
    const std::string text = tree_of([&]() -> Coroutine<> {
        tasks.push_back(create_task(work(), {.name = "inner"}));
        const auto wait_for_it = [](Task<> inner) -> Coroutine<> { co_await inner; };
        tasks.push_back(create_task(wait_for_it(tasks[0]), {.name = "first"}));
        tasks.push_back(create_task(wait_for_it(tasks[0]), {.name = "second"}));
        const auto gathers = []() -> Coroutine<> { static_cast<void>(co_await gather(work(), work())); };
        tasks.push_back(create_task(gathers(), {.name = "gatherer"}));
        co_return;
    });
    CAPTURE(text);
    CHECK(in_order(text, {"first: waits", "\n  inner: waits", "second: waits", "\n  inner (see above)",
                          "gatherer: waits", "\n  Task-", ": waits", "\n  Task-", ": waits"}));
}

TEST_CASE("in debug mode the tree tells for how long a task has waited") {
    std::vector<Task<>> tasks;
    const std::string text = tree_of(
        [&]() -> Coroutine<> {
            tasks.push_back(create_task(work(), {.name = "worker"}));
            co_return;
        },
        {.manual_clock = true, .debug = true});
    CAPTURE(text);
    CHECK(in_order(text, {"worker: waits for 10.000 s"}));
}

TEST_CASE("tasks that have not begun, are ready, or stand in a ring have their place in the tree") {
    EventLoop loop;
    Task<> first;
    Task<> second;
    const auto wait_for_it = [](Task<>& other) -> Coroutine<> { co_await other; };
    first = loop.create_task(wait_for_it(second), {.name = "first"});
    second = loop.create_task(wait_for_it(first), {.name = "second"});
    CHECK(in_order(format_task_tree(loop), {"first: has not begun", "second: has not begun"}));
    pass(loop);
    const std::string text = format_task_tree(loop);
    CAPTURE(text);
    CHECK(in_order(text, {"second: waits", "\n  first: waits", "\n    second (see above)"}) !=
          in_order(text, {"first: waits", "\n  second: waits", "\n    first (see above)"}));
    first.cancel();
    pass(loop, 3);
    CHECK(second.done());
}

TEST_CASE("a chain of a hundred thousand tasks is told without recursion, and long chains of coroutines in short") {
    constexpr int length = 100'000;
    EventLoop loop;
    std::vector<Task<>> tasks;
    tasks.push_back(loop.create_task(work()));
    const auto wait_for_it = [](Task<> inner) -> Coroutine<> { co_await inner; };
    for (int i = 1; i < length; ++i) tasks.push_back(loop.create_task(wait_for_it(tasks.back())));
    struct Deep {
        static Coroutine<> down(int depth) {
            if (depth == 0)
                co_await rest();
            else
                co_await down(depth - 1);
        }
    };
    tasks.push_back(loop.create_task(Deep::down(1000)));
    pass(loop);
    const std::string text = format_task_tree(loop);
    CHECK(count(text, ": waits") == length + 1);
    CHECK(count(text, "coroutines more") == 1);
    tasks[length].cancel();
    tasks[length - 1].cancel();
    CHECK_THROWS_AS(loop.run_until_complete(tasks[length - 1]), plait::CancelledError);
}
