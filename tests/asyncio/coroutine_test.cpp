// SPDX-License-Identifier: MIT
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

// Deep enough that a frame of the stack for each would overflow it, in any build.
constexpr int deep = 100'000;

Coroutine<int> at_once(int x) { co_return x; }

Coroutine<int> fails() {
    throw std::runtime_error("failed");
    co_return 0;
}

/// Appends its name to a list when it is destroyed.
class Witness {
public:
    Witness(std::vector<std::string>& log, std::string name) : log_{&log}, name_{std::move(name)} {}
    Witness(Witness&& other) noexcept : log_{std::exchange(other.log_, nullptr)}, name_{std::move(other.name_)} {}
    Witness& operator=(Witness&&) = delete;
    ~Witness() {
        if (log_ != nullptr) log_->push_back(name_);
    }

private:
    std::vector<std::string>* log_;
    std::string name_;
};

struct NoDefault {
    explicit NoDefault(int v) : value{v} {}
    int value;
};

Coroutine<NoDefault> no_default() { co_return NoDefault{3}; }
Coroutine<std::unique_ptr<int>> move_only() { co_return std::make_unique<int>(4); }
Coroutine<int&> reference(int& x) { co_return x; }
Coroutine<void> nothing() { co_return; }
Coroutine<std::string> convertible() { co_return "text"; }
Coroutine<std::vector<int>> braces() { co_return {1, 2, 3}; }

Coroutine<int> descend(int levels) {
    if (levels == 0) {
        co_await aio::sleep(0s);
        co_return 0;
    }
    co_return 1 + co_await descend(levels - 1);
}
Coroutine<int> descend_and_fail(int levels) {
    if (levels == 0) throw std::runtime_error("at the bottom");
    co_return 1 + co_await descend_and_fail(levels - 1);
}
Coroutine<void> descend_and_hang(int levels, int& destroyed) {
    struct Count {
        explicit Count(int& n) : count{n} {}
        Count(const Count&) = delete;
        Count& operator=(const Count&) = delete;
        ~Count() { ++count; }
        int& count;
    } const counted{destroyed};
    if (levels == 0)
        co_await aio::sleep(1h);
    else
        co_await descend_and_hang(levels - 1, destroyed);
}
Coroutine<int> around(Coroutine<int> inner) { co_return 1 + co_await inner; }

Coroutine<void> hold(Witness witness, Coroutine<void> inner) {
    static_cast<void>(witness);
    co_await inner;
}
Coroutine<void> hang(Witness witness) {
    static_cast<void>(witness);
    co_await aio::sleep(1h);
}

}  // namespace

TEST_CASE("a coroutine does not begin before it is awaited") {
    bool began = false;
    run_virtual([&]() -> Coroutine<void> {
        const auto body = [&]() -> Coroutine<void> {
            began = true;
            co_return;
        };
        auto coroutine = body();
        co_await aio::sleep(1s);
        CHECK_FALSE(began);
        CHECK(coroutine.valid());
        co_await coroutine;
        CHECK(began);
        CHECK_FALSE(coroutine.valid());
    });
}

TEST_CASE("a coroutine that is never awaited never runs, and frees its arguments") {
    std::vector<std::string> log;
    {
        auto unused = hang(Witness{log, "argument"});
        CHECK(log.empty());
    }
    CHECK(log == std::vector<std::string>{"argument"});
}

TEST_CASE("awaiting a coroutine twice is a usage error") {
    run_virtual([]() -> Coroutine<void> {
        auto coroutine = at_once(1);
        const auto got1 = co_await coroutine;
        CHECK(got1 == 1);
        CHECK_THROWS_AS(coroutine.operator co_await(), plait::UsageError);
        CHECK_THROWS_AS(std::move(coroutine).operator co_await(), plait::UsageError);
        auto moved_from = at_once(2);
        const auto moved = std::move(moved_from);
        static_cast<void>(moved);
        CHECK_THROWS_AS(moved_from.operator co_await(), plait::UsageError);
    });
}

TEST_CASE("a coroutine gives a value of any type") {
    int x = 1;
    run_virtual([&]() -> Coroutine<void> {
        const NoDefault made = co_await no_default();
        CHECK(made.value == 3);
        const std::unique_ptr<int> moved = co_await move_only();
        CHECK(*moved == 4);
        int& same = co_await reference(x);
        CHECK(&same == &x);
        co_await nothing();
        const auto got2 = co_await convertible();
        CHECK(got2 == "text");
        const std::vector<int> several = co_await braces();
        CHECK(several.size() == 3);
    });
}

TEST_CASE("an exception comes out at the await, and out of a coroutine that has not suspended") {
    run_virtual([]() -> Coroutine<void> {
        std::string text;
        try {
            co_await fails();
        } catch (const std::runtime_error& error) {
            text = error.what();
        }
        CHECK(text == "failed");
    });
}

TEST_CASE("an awaited coroutine runs in the task that awaits it") {
    run_virtual([]() -> Coroutine<void> {
        const auto here = aio::current_task();
        const auto body = [&]() -> Coroutine<bool> {
            co_await aio::sleep(0s);
            co_return aio::current_task() == here;
        };
        const bool same = co_await body();
        CHECK(same);
        CHECK(aio::all_tasks().size() == 1);
    });
}

TEST_CASE("a loop of a million awaits uses constant stack") {
    const long sum = run_virtual([]() -> Coroutine<long> {
        long total = 0;
        for (int i = 0; i < 1'000'000; ++i) total += co_await at_once(1);
        co_return total;
    });
    CHECK(sum == 1'000'000);
}

TEST_CASE("a chain a hundred thousand deep completes") {
    CHECK(run_virtual([] { return descend(deep); }) == deep);
}

TEST_CASE("a chain a hundred thousand deep unwinds with an exception") {
    CHECK_THROWS_WITH(run_virtual([] { return descend_and_fail(deep); }), "at the bottom");
}

TEST_CASE("a chain a hundred thousand deep is cancelled") {
    int destroyed = 0;
    run_virtual([&]() -> Coroutine<void> {
        auto task = aio::create_task(descend_and_hang(deep, destroyed));
        co_await aio::sleep(1s);
        CHECK(destroyed == 0);
        CHECK(task.cancel());
        co_await aio::sleep(1s);
        CHECK(task.cancelled());
        CHECK(destroyed == deep + 1);
    });
}

TEST_CASE("a chain a hundred thousand deep is destroyed with its loop") {
    int destroyed = 0;
    support::ErrorLog log;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        log.watch(loop);
        const auto task = loop.create_task(descend_and_hang(deep, destroyed));
        loop.stop();
        loop.run_forever();
        CHECK(destroyed == 0);
    }
    CHECK(destroyed == deep + 1);
    CHECK(log.messages.size() == 1);
}

TEST_CASE("coroutines that are each other's arguments, a hundred thousand deep, run, or are destroyed unstarted") {
    auto chain = at_once(0);
    for (int i = 0; i < deep; ++i) chain = around(std::move(chain));
    auto unused = at_once(0);
    for (int i = 0; i < deep; ++i) unused = around(std::move(unused));
    CHECK(aio::run(std::move(chain)) == deep);
    CHECK(unused.valid());
}

TEST_CASE("a suspended chain is destroyed from the innermost outwards") {
    std::vector<std::string> log;
    support::ErrorLog errors;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        errors.watch(loop);
        const auto task =
            loop.create_task(hold(Witness{log, "outer"}, hold(Witness{log, "middle"}, hang(Witness{log, "inner"}))));
        loop.stop();
        loop.run_forever();
        CHECK(log.empty());
    }
    CHECK(log == std::vector<std::string>{"inner", "middle", "outer"});
}

TEST_CASE("a coroutine made on one thread runs on another") {
    // Its frame came from this thread's pool and goes to the other's.
    std::vector<Coroutine<int>> coroutines;
    for (int i = 0; i < 100; ++i) coroutines.push_back(at_once(i));
    int sum = 0;
    std::thread other{[&] {
        sum = aio::run([](std::vector<Coroutine<int>> all) -> Coroutine<int> {
            int total = 0;
            for (auto& coroutine : all) total += co_await coroutine;
            co_return total;
        }(std::move(coroutines)));
    }};
    other.join();
    CHECK(sum == 4950);
}
