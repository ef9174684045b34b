// SPDX-License-Identifier: MIT
#include <plait/asyncio/context.hpp>

#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "support/catch.hpp"

#include <memory>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using namespace plait::asyncio;
namespace aio = plait::asyncio;
using plait::UsageError;

namespace {

ContextVar<int>& number() {
    static ContextVar<int> variable("number", 0);
    return variable;
}

Coroutine<int> number_after(int own) {
    number().set(own);
    co_await aio::sleep(0s);
    co_return number().get();
}

}  // namespace

TEST_CASE("a context variable has its default until it is set, and a token gives back what was before") {
    run([]() -> Coroutine<> {
        ContextVar<std::string> name("name");
        CHECK(name.name() == "name");
        CHECK_THROWS_AS(name.get(), UsageError);
        CHECK(name.get("nobody") == "nobody");
        const auto first = name.set("Ann");
        CHECK_FALSE(first.old_value());
        const auto second = name.set("Ben");
        CHECK(second.old_value() == "Ann");
        CHECK(name.get() == "Ben");
        name.reset(second);
        CHECK(name.get() == "Ann");
        name.reset(first);
        CHECK_THROWS_AS(name.get(), UsageError);
        ContextVar<std::string> other("other", "default");
        CHECK(other.get() == "default");
        CHECK_THROWS_AS(other.reset(first), UsageError);
        co_return;
    });
}

TEST_CASE("what a task sets its siblings and its maker do not see, and a new task begins with its maker's values") {
    run([]() -> Coroutine<> {
        number().set(5);
        auto inherited = create_task([]() -> Coroutine<int> { co_return number().get(); });
        number().set(6);
        const auto [one, two] = co_await gather(number_after(1), number_after(2));
        CHECK(one == 1);
        CHECK(two == 2);
        CHECK(number().get() == 6);
        CHECK(co_await inherited == 5);
    });
}

TEST_CASE("coroutines of one task share its values") {
    run([]() -> Coroutine<> {
        CHECK(co_await number_after(3) == 3);
        CHECK(number().get() == 3);
    });
}

TEST_CASE("to_thread takes the values along, and leaves none on its thread") {
    run([]() -> Coroutine<> {
        number().set(7);
        CHECK(co_await to_thread([] { return number().get(); }) == 7);
        auto without = create_task([]() -> Coroutine<int> {
            number().set(0);
            co_return co_await to_thread([] { return number().get(); });
        });
        CHECK(co_await without == 0);
    });
}

TEST_CASE("outside of tasks a thread has values of its own, with which tasks made there begin") {
    std::thread{[] {
        number().set(8);
        CHECK(run([]() -> Coroutine<int> { co_return number().get(); }) == 8);
        CHECK(run([]() -> Coroutine<int> { co_return co_await number_after(9); }) == 9);
        CHECK(number().get() == 8);
    }}.join();
    CHECK(number().get() == 0);
}

TEST_CASE("a value lives until the last task that may read it has ended") {
    std::weak_ptr<int> watched;
    run([&]() -> Coroutine<> {
        ContextVar<std::shared_ptr<int>> variable("shared");
        auto value = std::make_shared<int>(1);
        watched = value;
        auto task = create_task([&]() -> Coroutine<> {
            variable.set(std::move(value));
            co_await aio::sleep(1ms);
            CHECK(*variable.get() == 1);
        });
        co_await task;
        CHECK_FALSE(watched.expired());
        task = Task<>{};
        CHECK(watched.expired());
    });
}
