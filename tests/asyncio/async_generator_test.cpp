// SPDX-License-Identifier: MIT
#include <plait/asyncio/async_generator.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::GeneratorExit;
using plait::UsageError;
using plait::asyncio::AsyncGenerator;
using plait::asyncio::Coroutine;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

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

AsyncGenerator<int> count(int to, std::chrono::seconds each = 0s) {
    for (int i = 0; i < to; ++i) {
        if (each != 0s) co_await aio::sleep(each);
        co_yield i;
    }
}
AsyncGenerator<int> pass_on(AsyncGenerator<int> inner) {
    while (const auto item = co_await inner.next()) co_yield *item;
}
AsyncGenerator<int> hold(Witness witness, AsyncGenerator<int> inner) {
    static_cast<void>(witness);
    while (const auto item = co_await inner.next()) co_yield *item;
}
AsyncGenerator<int> yield_and_hang(Witness witness) {
    static_cast<void>(witness);
    co_yield 1;
    co_await aio::sleep(1h);
    co_yield 2;
}
Coroutine<int> use_all(Witness witness, AsyncGenerator<int> generator) {
    static_cast<void>(witness);
    int sum = 0;
    while (const auto item = co_await generator.next()) sum += *item;
    co_return sum;
}
std::chrono::seconds now() {
    return std::chrono::duration_cast<std::chrono::seconds>(aio::get_running_loop().time().time_since_epoch());
}
Coroutine<std::vector<int>> all_of(AsyncGenerator<int>& generator) {
    std::vector<int> items;
    while (const auto item = co_await generator.next()) items.push_back(*item);
    co_return items;
}
/// How an await ends.
template <class A>
Coroutine<std::string> ending(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const CancelledError&) {
        co_return "cancelled";
    } catch (const UsageError&) {
        co_return "usage error";
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("an async generator begins with the first next, and awaits between its items") {
    run_virtual([]() -> Coroutine<void> {
        auto generator = count(3, 1s);
        co_await aio::sleep(10s);
        std::vector<int> items;
        while (auto item = co_await generator.next()) {
            items.push_back(*item);
            CHECK(now() == 11s + std::chrono::seconds{*item});
        }
        CHECK(items == std::vector<int>{0, 1, 2});
        const auto after = co_await generator.next();
        CHECK_FALSE(after);
    });
}

TEST_CASE("an async generator runs in the task that awaits next") {
    run_virtual([]() -> Coroutine<void> {
        const auto body = []() -> AsyncGenerator<std::string> {
            for (;;) {
                const std::string name = aio::current_task().name();
                co_yield name;
            }
        };
        auto generator = body();
        auto here = co_await generator.next();
        CHECK(*here == aio::current_task().name());
        auto task = aio::create_task(generator.next());
        const auto there = co_await task;
        CHECK(*there == task.name());
        CHECK(*there != *here);
    });
}

TEST_CASE("an async generator gives values that move only, and references as pointers") {
    run_virtual([]() -> Coroutine<void> {
        const auto owners = []() -> AsyncGenerator<std::unique_ptr<int>> {
            co_yield std::make_unique<int>(1);
            co_await aio::sleep(1s);
            auto named = std::make_unique<int>(2);
            co_yield std::move(named);
        };
        auto of_owners = owners();
        int sum = 0;
        while (const auto owner = co_await of_owners.next()) sum += **owner;
        CHECK(sum == 3);

        const auto texts = []() -> AsyncGenerator<std::string> { co_yield "converted, and longer than it can hold"; };
        auto of_texts = texts();
        const auto text = co_await of_texts.next();
        CHECK(text->size() == 38);

        std::vector<int> values{1, 2, 3};
        const auto references = [](std::vector<int>& vector) -> AsyncGenerator<int&> {
            for (int& value : vector) co_yield value;
        };
        auto of_references = references(values);
        while (int* const value = co_await of_references.next()) *value *= 10;
        CHECK(values == std::vector<int>{10, 20, 30});
        STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<AsyncGenerator<int>>);
    });
}

TEST_CASE("an exception comes out of next once, and then the async generator has ended") {
    run_virtual([]() -> Coroutine<void> {
        const auto failing = [](std::chrono::seconds delay) -> AsyncGenerator<int> {
            co_yield 1;
            if (delay != 0s) co_await aio::sleep(delay);
            throw std::runtime_error("after the first");
        };
        for (const std::chrono::seconds delay : {0s, 1s}) {
            auto generator = failing(delay);
            const auto first = co_await generator.next();
            CHECK(first == 1);
            const std::string second = co_await ending(generator.next());
            CHECK(second == "error: after the first");
            const auto third = co_await generator.next();
            CHECK_FALSE(third);
        }
    });
}

TEST_CASE("a cancellation reaches the innermost await of an async generator, and comes out of next") {
    std::vector<std::string> log;
    run_virtual([&]() -> Coroutine<void> {
        auto generator = hold(Witness{log, "outer"}, yield_and_hang(Witness{log, "inner"}));
        const auto first = co_await generator.next();
        CHECK(first == 1);
        auto task = aio::create_task(generator.next());
        co_await aio::sleep(1s);
        CHECK(log.empty());
        task.cancel();
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled");
        CHECK(log == std::vector<std::string>{"inner", "outer"});
        const auto after = co_await generator.next();
        CHECK_FALSE(after);
    });
}

TEST_CASE("an async generator that outlives a cancellation of its await goes on") {
    run_virtual([]() -> Coroutine<void> {
        const auto stubborn = []() -> AsyncGenerator<int> {
            int cancelled = 0;
            for (;;) {
                try {
                    co_await aio::sleep(1h);
                } catch (const CancelledError&) {
                    ++cancelled;
                }
                co_yield cancelled;
            }
        };
        auto generator = stubborn();
        const auto item = co_await aio::wait_for(generator.next(), 1s);
        CHECK(item == 1);
        CHECK(now() == 1s);
        const auto next = co_await generator.next();
        CHECK(next == 1);
        CHECK(now() == 3601s);
    });
}

TEST_CASE("a next while another is under way is a usage error, and harms nothing") {
    run_virtual([]() -> Coroutine<void> {
        auto generator = count(2, 1s);
        auto task = aio::create_task(generator.next());
        co_await aio::sleep(0s);
        const std::string second = co_await ending(generator.next());
        CHECK(second == "usage error");
        const std::string close = co_await ending(generator.aclose());
        CHECK(close == "usage error");
        const auto first = co_await task;
        CHECK(first == 0);
        const auto next = co_await generator.next();
        CHECK(next == 1);

        AsyncGenerator<int>* self = nullptr;
        const auto selfish = [&]() -> AsyncGenerator<int> {
            co_await self->next();
            co_yield 1;
        };
        auto of_itself = selfish();
        self = &of_itself;
        const std::string end = co_await ending(of_itself.next());
        CHECK(end == "usage error");
    });
}

TEST_CASE("aclose throws GeneratorExit at the co_yield, and the body may await to clean up") {
    run_virtual([]() -> Coroutine<void> {
        bool cleaned = false;
        const auto body = [&]() -> AsyncGenerator<int> {
            bool closing = false;
            try {
                co_yield 1;
            } catch (const GeneratorExit&) {
                closing = true;
            }
            co_await aio::sleep(3s);
            cleaned = closing;
        };
        auto generator = body();
        co_await generator.next();
        co_await generator.aclose();
        CHECK(cleaned);
        CHECK(now() == 3s);
        co_await generator.aclose();
        const auto after = co_await generator.next();
        CHECK_FALSE(after);
    });
}

TEST_CASE("aclose ends what lets the exit pass, and what has not begun, and throws what comes instead") {
    std::vector<std::string> log;
    run_virtual([&]() -> Coroutine<void> {
        auto passing = hold(Witness{log, "begun"}, count(3));
        co_await passing.next();
        co_await passing.aclose();
        CHECK(log == std::vector<std::string>{"begun"});

        auto fresh = hold(Witness{log, "fresh"}, count(3));
        co_await fresh.aclose();
        CHECK(log.size() == 2);
        const auto after = co_await fresh.next();
        CHECK_FALSE(after);

        const auto body = [](bool yields) -> AsyncGenerator<int> {
            bool closing = false;
            try {
                co_yield 1;
            } catch (const GeneratorExit&) {
                closing = true;
            }
            if (yields) co_yield 2;
            if (closing) throw std::runtime_error("while cleaning up");
        };
        auto failing = body(false);
        co_await failing.next();
        const std::string error = co_await ending(failing.aclose());
        CHECK(error == "error: while cleaning up");
        auto yielding = body(true);
        co_await yielding.next();
        const std::string misuse = co_await ending(yielding.aclose());
        CHECK(misuse == "usage error");
        const auto nothing = co_await yielding.next();
        CHECK_FALSE(nothing);
    });
}

TEST_CASE("a cancellation during aclose reaches the cleanup") {
    run_virtual([]() -> Coroutine<void> {
        const auto body = []() -> AsyncGenerator<int> {
            bool closing = false;
            try {
                co_yield 1;
            } catch (const GeneratorExit&) {
                closing = true;
            }
            if (closing) co_await aio::sleep(1h);
        };
        auto generator = body();
        co_await generator.next();
        auto task = aio::create_task(generator.aclose());
        co_await aio::sleep(1s);
        task.cancel();
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled");
    });
}

TEST_CASE("the destructor ends an async generator where it stands, and code does not run") {
    std::vector<std::string> log;
    run_virtual([&]() -> Coroutine<void> {
        {
            auto begun = yield_and_hang(Witness{log, "begun"});
            const auto fresh = yield_and_hang(Witness{log, "fresh"});
            co_await begun.next();
            CHECK(log.empty());
        }
        CHECK(log == std::vector<std::string>{"fresh", "begun"});
        auto replaced = yield_and_hang(Witness{log, "replaced"});
        co_await replaced.next();
        auto moved = count(2);
        co_await moved.next();
        replaced = std::move(moved);
        CHECK(log.back() == "replaced");
        const auto second = co_await replaced.next();
        CHECK(second == 1);
    });
}

TEST_CASE("an async generator that is moved or destroyed while a task is in its next still gives that its item") {
    std::vector<std::string> log;
    run_virtual([&]() -> Coroutine<void> {
        const auto slow = [](Witness witness) -> AsyncGenerator<int> {
            static_cast<void>(witness);
            for (int i = 1;; ++i) {
                co_await aio::sleep(1s);
                co_yield i;
            }
        };
        std::optional<AsyncGenerator<int>> generator{slow(Witness{log, "body"})};
        auto first = aio::create_task(generator->next());
        co_await aio::sleep(0s);
        AsyncGenerator<int> moved = std::move(*generator);
        generator.reset();
        const auto one = co_await first;
        CHECK(one == 1);
        generator.emplace(std::move(moved));
        auto second = aio::create_task(generator->next());
        co_await aio::sleep(0s);
        generator.reset();
        CHECK(log.empty());
        const auto two = co_await second;
        CHECK(two == 2);
        CHECK(log == std::vector<std::string>{"body"});
    });
}

TEST_CASE("a task that dies in next destroys the frames from the innermost outwards") {
    std::vector<std::string> log;
    support::ErrorLog errors;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        errors.watch(loop);
        const auto task = loop.create_task(
            use_all(Witness{log, "task"},
                    hold(Witness{log, "outer"}, hold(Witness{log, "middle"}, yield_and_hang(Witness{log, "inner"})))));
        static_cast<void>(loop.call_soon([&] { loop.call_soon([&] { loop.stop(); }); }));
        loop.run_forever();
        CHECK(log.empty());
    }
    CHECK(log == std::vector<std::string>{"inner", "middle", "outer", "task"});
    CHECK(errors.messages.size() == 1);
}

TEST_CASE("a loop that closes destroys a generator and the task in its next, whichever is first") {
    for (const bool holder_first : {true, false}) {
        std::vector<std::string> log;
        support::ErrorLog errors;
        {
            aio::EventLoop loop{{.manual_clock = true}};
            errors.watch(loop);
            AsyncGenerator<int>* shared = nullptr;
            const auto holder = [&]() -> Coroutine<void> {
                auto generator = yield_and_hang(Witness{log, "body"});
                co_await generator.next();
                shared = &generator;
                co_await aio::sleep(1h);
            };
            const auto user = [&]() -> Coroutine<void> {
                while (shared == nullptr) co_await aio::sleep(0s);
                co_await shared->next();
            };
            aio::Task<void> first = holder_first ? loop.create_task(holder()) : loop.create_task(user());
            aio::Task<void> second = holder_first ? loop.create_task(user()) : loop.create_task(holder());
            loop.call_later(1s, [&] { loop.stop(); });
            loop.run_forever();
            CHECK(log.empty());
        }
        CHECK(log == std::vector<std::string>{"body"});
        CHECK(errors.messages.size() == 2);
    }
}

TEST_CASE("a million items take constant stack, whether the body suspends or not") {
    run_virtual([]() -> Coroutine<void> {
        const auto items = [](int to, bool suspends) -> AsyncGenerator<int> {
            for (int i = 0; i < to; ++i) {
                if (suspends) co_await aio::sleep(0s);
                co_yield i;
            }
        };
        for (const bool suspends : {false, true}) {
            auto generator = items(1'000'000, suspends);
            int next = 0;
            bool in_order = true;
            while (const auto item = co_await generator.next()) in_order = *item == next++ && in_order;
            CHECK(in_order);
            CHECK(next == 1'000'000);
        }
    });
}

TEST_CASE("async generators of each other, a hundred thousand deep, give their items, are cancelled, or never begin") {
    run_virtual([]() -> Coroutine<void> {
        const auto nest = [](AsyncGenerator<int> innermost) {
            for (int i = 0; i < 100'000; ++i) innermost = pass_on(std::move(innermost));
            return innermost;
        };
        auto full = nest(count(2, 1s));
        const auto items = co_await all_of(full);
        CHECK(items == std::vector<int>{0, 1});
        auto cancelled = nest(count(2, 1h));
        auto task = aio::create_task(cancelled.next());
        co_await aio::sleep(1s);
        task.cancel();
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled");
        const auto unused = nest(count(2));
    });
}
