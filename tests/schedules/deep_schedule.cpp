// SPDX-License-Identifier: MIT

// Combinators around one another: however deep, and whatever becomes of them, the stack does not grow.

#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/shield.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task_group.hpp>
#include <plait/asyncio/timeout.hpp>
#include <plait/asyncio/wait.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/core/config.hpp>

#include "support/catch.hpp"
#include "support/schedule_driver.hpp"
#include "support/schedule_stack.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::Task;
namespace aio = plait::asyncio;

namespace {

using Wrap = Coroutine<void> (*)(Coroutine<void>);
struct Combinator {
    std::string name;
    Wrap wrap;
    bool fails_with_inner = true;
};

std::vector<Combinator> combinators() {
    return {
        {"await", [](Coroutine<void> inner) -> Coroutine<void> { co_await std::move(inner); }},
        {"task",
         [](Coroutine<void> inner) -> Coroutine<void> {
             const auto task = aio::create_task(std::move(inner));
             co_await task;
         }},
        {"gather", [](Coroutine<void> inner) -> Coroutine<void> { co_await aio::gather(std::move(inner)); }},
        {"gather of a range",
         [](Coroutine<void> inner) -> Coroutine<void> {
             std::vector<Coroutine<void>> range;
             range.push_back(std::move(inner));
             co_await aio::gather(std::move(range));
         }},
        {"wait_for", [](Coroutine<void> inner) -> Coroutine<void> { co_await aio::wait_for(std::move(inner), 1h); }},
        {"wait_for of a task",
         [](Coroutine<void> inner) -> Coroutine<void> {
             co_await aio::wait_for(aio::create_task(std::move(inner)), 1h);
         }},
        {"wait", [](Coroutine<void> inner) -> Coroutine<void> { co_await aio::wait(std::move(inner)); }, false},
        {"timeout", [](Coroutine<void> inner) -> Coroutine<void> { co_await aio::timeout(1h, std::move(inner)); }},
        {"shield", [](Coroutine<void> inner) -> Coroutine<void> { co_await aio::shield(std::move(inner)); }},
        {"task_group",
         [](Coroutine<void> inner) -> Coroutine<void> {
             co_await aio::task_group([&](aio::TaskGroup& group) -> Coroutine<void> {
                 group.create_task(std::move(inner));
                 co_return;
             });
         }},
    };
}

/// What stands in the innermost place.
Coroutine<void> innermost(bool fails) {
    co_await aio::sleep(1s);
    if (fails) throw std::runtime_error("failed");
}
Coroutine<void> nested(Wrap wrap, int depth, bool fails = false) {
    Coroutine<void> outermost = innermost(fails);
    for (int i = 0; i < depth; ++i) outermost = wrap(std::move(outermost));
    return outermost;
}

/// A loop, and a task on it that is nested so deep.
class Nest {
public:
    Nest(Wrap wrap, int depth, bool fails = false) : task{loop.create_task(nested(wrap, depth, fails))} {
        loop.set_exception_handler([](EventLoop&, const aio::ErrorContext&) {});
    }

    /// Until every task waits.
    void settle() {
        while (!driver_.settled()) driver_.pass();
    }
    /// Until every task has ended. False where they wait for ever.
    bool run() {
        while (driver_.any_task())
            if (!driver_.pass()) return false;
        return true;
    }

    EventLoop loop{{.manual_clock = true}};
    Task<void> task;

private:
    support::LoopDriver driver_{loop};
};

/// Where `fine(combinator)` does not hold; each on a stack of its own, with a dozen bytes or less for each level.
template <class F>
std::string faults(F fine) {
    std::string names;
    for (const Combinator& combinator : combinators()) {
        bool is_fine = false;
        support::on_small_stack([&] { is_fine = fine(combinator); });
        if (!is_fine) names += ' ' + combinator.name;
    }
    return names;
}

constexpr int deep_for_exceptions = 20'000;  // each level throws, and that takes its time
constexpr int deep = plait::detail::address_sanitizer ? deep_for_exceptions : 100'000;

}  // namespace

TEST_CASE("schedules: combinators, however deep, are destroyed before they began") {
    CHECK(faults([](const Combinator& combinator) { return nested(combinator.wrap, deep).valid(); }) == "");
}

TEST_CASE("schedules: combinators, however deep, come to their end") {
    CHECK(faults([](const Combinator& combinator) {
              Nest nest{combinator.wrap, deep};
              return nest.run() && !nest.task.exception();
          }) == "");
}

TEST_CASE("schedules: a failure comes out of combinators, however deep") {
    CHECK(faults([](const Combinator& combinator) {
              Nest nest{combinator.wrap, deep_for_exceptions, true};
              return nest.run() && static_cast<bool>(nest.task.exception()) == combinator.fails_with_inner;
          }) == "");
}

TEST_CASE("schedules: a cancellation goes into combinators, however deep, and comes back") {
    CHECK(faults([](const Combinator& combinator) {
              Nest nest{combinator.wrap, deep_for_exceptions};
              nest.settle();
              nest.task.cancel();
              return nest.run() && nest.task.cancelled();
          }) == "");
}

TEST_CASE("schedules: combinators, however deep, are destroyed with their loop") {
    CHECK(faults([](const Combinator& combinator) {
              Nest nest{combinator.wrap, deep};
              nest.settle();
              nest.loop.close();
              return nest.task.cancelled();
          }) == "");
}
