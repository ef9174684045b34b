// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/semaphore.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::asyncio::BoundedSemaphore;
using plait::asyncio::Coroutine;
using plait::asyncio::Semaphore;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}
Coroutine<void> take_and_note(Semaphore& semaphore, char letter, std::string& order) {
    co_await semaphore.acquire();
    order += letter;
}

}  // namespace

TEST_CASE("a semaphore counts its permits, and takes a free one without another task running") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(2);
        std::string order;
        auto other = aio::create_task(take_and_note(semaphore, 'o', order));
        co_await semaphore.acquire();
        CHECK(order.empty());
        CHECK(semaphore.value() == 1);
        CHECK_FALSE(semaphore.locked());
        CHECK(semaphore.try_acquire());
        CHECK(semaphore.locked());
        CHECK_FALSE(semaphore.try_acquire());
        semaphore.release(2);
        CHECK(semaphore.value() == 2);
        co_await other;
        CHECK(semaphore.value() == 1);
    });
}

TEST_CASE("a bad number of permits is an invalid argument, and too many are a usage error") {
    CHECK_THROWS_AS(Semaphore(-1), std::invalid_argument);
    CHECK_THROWS_AS(Semaphore(Semaphore::max_value + 1), std::invalid_argument);
    CHECK_THROWS_AS(BoundedSemaphore(-1), std::invalid_argument);
    Semaphore semaphore(Semaphore::max_value);
    CHECK_THROWS_AS(semaphore.release(), UsageError);
    CHECK_THROWS_AS(semaphore.release(PTRDIFF_MAX), UsageError);
    CHECK_THROWS_AS(semaphore.release(0), std::invalid_argument);
    CHECK_THROWS_AS(semaphore.release(-1), std::invalid_argument);
    CHECK(semaphore.value() == Semaphore::max_value);
    Semaphore none(0);
    CHECK(none.locked());
    CHECK(Semaphore().value() == 1);
}

TEST_CASE("a bounded semaphore finds a release without an acquire") {
    BoundedSemaphore semaphore(2);
    CHECK_THROWS_AS(semaphore.release(), UsageError);
    CHECK(semaphore.try_acquire());
    CHECK_THROWS_AS(semaphore.release(2), UsageError);
    CHECK(semaphore.value() == 1);
    semaphore.release();
    CHECK(semaphore.value() == 2);
}

TEST_CASE("a release of k permits wakes k waiters, and what is left over stays") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(0);
        std::string order;
        std::vector<Task<void>> tasks;
        for (const char letter : {'a', 'b', 'c', 'd'})
            tasks.push_back(aio::create_task(take_and_note(semaphore, letter, order)));
        co_await settle();
        CHECK(semaphore.waiting() == 4);
        semaphore.release(3);
        CHECK(semaphore.waiting() == 1);
        CHECK(semaphore.value() == 0);
        co_await settle();
        CHECK(order == "abc");
        semaphore.release(3);
        co_await settle();
        CHECK(order == "abcd");
        CHECK(semaphore.value() == 2);
    });
}

TEST_CASE("while those who were given a permit have not had their turn, a semaphore is locked") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(0);
        std::string order;
        auto a = aio::create_task(take_and_note(semaphore, 'a', order));
        co_await settle();
        semaphore.release(2);
        CHECK(semaphore.value() == 1);
        CHECK(semaphore.locked());
        CHECK_FALSE(semaphore.try_acquire());
        co_await semaphore.acquire();  // after a, though there is a permit
        CHECK(order == "a");
        CHECK(semaphore.value() == 0);
        CHECK(semaphore.waiting() == 0);
        co_await a;
    });
}

TEST_CASE("tasks that release and acquire again do so in turn") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(1);
        std::string order;
        const auto twice = [&](char first, char second) -> Coroutine<void> {
            co_await semaphore.acquire();
            order += first;
            co_await aio::sleep(10ms);
            semaphore.release();
            co_await semaphore.acquire();
            order += second;
            co_await aio::sleep(10ms);
            semaphore.release();
        };
        auto a = aio::create_task(twice('a', 'A'));
        auto b = aio::create_task(twice('b', 'B'));
        auto c = aio::create_task(twice('c', 'C'));
        co_await a;
        co_await b;
        co_await c;
        CHECK(order == "abcABC");
        CHECK(semaphore.value() == 1);
    });
}

TEST_CASE("who was given a permit goes before one who releases and acquires in its turn") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(1);
        std::string order;
        auto first = aio::create_task(take_and_note(semaphore, '1', order));
        auto second = aio::create_task([&]() -> Coroutine<void> {
            co_await semaphore.acquire();
            order += '2';
            semaphore.release();
            co_await semaphore.acquire();
            order += '4';
        });
        auto third = aio::create_task(take_and_note(semaphore, '3', order));
        co_await aio::sleep(0s);
        semaphore.release();
        semaphore.release();
        co_await first;
        co_await second;
        co_await third;
        CHECK(order == "1234");
    });
}

TEST_CASE("a task made by one who was given a permit comes after the others who were") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(0);
        std::string order;
        Task<void> fourth;
        auto first = aio::create_task([&]() -> Coroutine<void> {
            co_await semaphore.acquire();
            fourth = aio::create_task([&]() -> Coroutine<void> {
                order += '4';
                co_return;
            });
            order += '1';
        });
        auto second = aio::create_task([&]() -> Coroutine<void> {
            semaphore.release(3);
            CHECK(semaphore.value() == 2);
            CHECK(semaphore.locked());
            co_await semaphore.acquire();
            order += '2';
        });
        auto third = aio::create_task(take_and_note(semaphore, '3', order));
        co_await settle();
        CHECK(order == "1234");
        CHECK(semaphore.value() == 0);
        co_await first;
        co_await second;
        co_await third;
        co_await fourth;
    });
}

TEST_CASE("a cancelled task passes its place on, and its permit, to the next in line") {
    for (const bool given : {false, true})
        run_virtual([given]() -> Coroutine<void> {
            Semaphore semaphore(0);
            std::string order;
            auto first = aio::create_task(take_and_note(semaphore, '1', order));
            auto second = aio::create_task([&]() -> Coroutine<void> {
                co_await semaphore.acquire();
                order += '2';
                semaphore.release();
                co_await semaphore.acquire();
                order += '4';
            });
            auto third = aio::create_task(take_and_note(semaphore, '3', order));
            co_await aio::sleep(0s);
            if (given) semaphore.release();
            first.cancel();
            if (!given) co_await aio::sleep(0s);
            semaphore.release(given ? 1 : 2);
            co_await settle();
            CHECK(first.cancelled());
            CHECK(order == "234");
            CHECK(semaphore.waiting() == 0);
            CHECK(semaphore.value() == 0);
            co_await second;
            co_await third;
        });
}

TEST_CASE("who waits behind those that are cancelled with permits in hand gets theirs") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(0);
        std::string order;
        auto a = aio::create_task(take_and_note(semaphore, 'a', order));
        auto b = aio::create_task(take_and_note(semaphore, 'b', order));
        auto c = aio::create_task(take_and_note(semaphore, 'c', order));
        auto d = aio::create_task(take_and_note(semaphore, 'd', order));
        co_await settle();
        semaphore.release(2);
        a.cancel();
        b.cancel();
        co_await settle();
        CHECK(order == "cd");
        CHECK(semaphore.value() == 0);
        co_await c;
        co_await d;

        auto e = aio::create_task(take_and_note(semaphore, 'e', order));
        co_await settle();
        semaphore.release();
        e.cancel();
        co_await settle();
        CHECK(semaphore.value() == 1);
        CHECK_FALSE(semaphore.locked());
    });
}

TEST_CASE("a guard holds a permit, moves, and gives it back once") {
    run_virtual([]() -> Coroutine<void> {
        BoundedSemaphore semaphore(2);
        {
            auto first = co_await semaphore.scoped();
            auto second = co_await semaphore.scoped();
            CHECK(semaphore.locked());
            Semaphore::Guard moved = std::move(first);
            CHECK_THROWS_AS(first.release(), UsageError);  // NOLINT(bugprone-use-after-move)
            second.release();
            CHECK_THROWS_AS(second.release(), UsageError);
            CHECK(semaphore.value() == 1);
            second = co_await semaphore.scoped();
            second = std::move(moved);
            CHECK(semaphore.value() == 1);
        }
        CHECK(semaphore.value() == 2);
    });
}

TEST_CASE("a guard of a semaphore can be waited for with a timeout") {
    run_virtual([]() -> Coroutine<void> {
        Semaphore semaphore(0);
        bool timed_out = false;
        try {
            auto guard = co_await aio::wait_for(semaphore.scoped(), 1s);
        } catch (const plait::TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(semaphore.waiting() == 0);
        CHECK(semaphore.value() == 0);
    });
}
