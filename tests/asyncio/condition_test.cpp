// SPDX-License-Identifier: MIT
#include <plait/asyncio/condition.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::UsageError;
using plait::asyncio::Condition;
using plait::asyncio::Coroutine;
using plait::asyncio::Lock;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}

/// Tasks that wait for a notification under a guard, and note how the wait ended, with the lock held or not.
class Waiters {
public:
    explicit Waiters(Condition& condition) : condition_{condition} {}

    Task<void> start(char letter) { return aio::create_task(wait(letter)); }

    std::string log;

private:
    Coroutine<void> wait(char letter) {
        auto guard = co_await condition_.scoped();
        try {
            co_await condition_.wait();
            log += letter;
        } catch (const CancelledError& error) {
            log += letter + std::string(":") + error.message();
        }
        co_await aio::sleep(0s);  // a cancellation that is thrown twice would end it here
        log += condition_.owned() ? "+ " : "- ";
    }

    Condition& condition_;
};

}  // namespace

TEST_CASE("a condition is its lock") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        CHECK(condition.try_acquire());
        CHECK(condition.locked());
        CHECK(condition.owned());
        condition.release();
        co_await condition.acquire();
        condition.release();
        {
            auto guard = co_await condition.scoped();
            CHECK(condition.locked());
        }
        CHECK_FALSE(condition.locked());
        CHECK_THROWS_AS(condition.release(), UsageError);
    });
}

TEST_CASE("wait gives the lock up, and has it again when it returns") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        Waiters waiters{condition};
        auto a = waiters.start('a');
        co_await settle();
        CHECK_FALSE(condition.locked());
        CHECK(condition.waiting() == 1);
        co_await condition.acquire();
        condition.notify();
        CHECK(condition.waiting() == 0);
        co_await settle();
        CHECK(waiters.log.empty());  // the lock is held
        condition.release();
        co_await a;
        CHECK(waiters.log == "a+ ");
        CHECK_FALSE(condition.locked());
    });
}

TEST_CASE("notify wakes those who have waited longest, as many as are asked for") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        Waiters waiters{condition};
        std::vector<Task<void>> tasks;
        for (const char letter : {'a', 'b', 'c', 'd', 'e'}) tasks.push_back(waiters.start(letter));
        co_await settle();
        const auto notify = [&](int count) -> Coroutine<void> {
            auto guard = co_await condition.scoped();
            condition.notify(count);
        };
        co_await notify(1);
        co_await settle();
        CHECK(waiters.log == "a+ ");
        co_await notify(0);
        co_await notify(2);
        co_await settle();
        CHECK(waiters.log == "a+ b+ c+ ");
        CHECK(condition.waiting() == 2);
        co_await notify(2048);
        co_await settle();
        CHECK(waiters.log == "a+ b+ c+ d+ e+ ");
        co_await notify(1);  // nobody waits: it is not kept
        auto late = waiters.start('l');
        co_await settle();
        CHECK_FALSE(late.done());
        {
            auto guard = co_await condition.scoped();
            condition.notify_all();
            CHECK_THROWS_AS(condition.notify(-1), std::invalid_argument);
        }
        co_await late;
    });
}

TEST_CASE("wait_for looks again until its predicate holds, and gives what it gave") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        int stage = 0;
        auto task = aio::create_task([&]() -> Coroutine<int> {
            auto guard = co_await condition.scoped();
            const auto result = co_await condition.wait_for([&] { return stage == 2 ? 42 : 0; });
            CHECK(condition.owned());
            co_return result;
        });
        for (int i = 0; i < 2; ++i) {
            co_await settle();
            CHECK_FALSE(task.done());
            auto guard = co_await condition.scoped();
            ++stage;
            condition.notify();
        }
        const int result = co_await task;
        CHECK(result == 42);

        auto guard = co_await condition.scoped();
        const bool at_once = co_await condition.wait_for([] { return true; });
        CHECK(at_once);
        bool thrown = false;
        try {
            co_await condition.wait_for([]() -> bool { throw std::runtime_error("predicate"); });
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK(condition.owned());
    });
}

TEST_CASE("wait and notify without the lock are errors, also where another task holds it") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        const auto refused = [&]() -> Coroutine<int> {
            int errors = 0;
            try {
                co_await condition.wait();
            } catch (const UsageError&) {
                ++errors;
            }
            try {
                co_await condition.wait_for([] { return true; });
            } catch (const UsageError&) {
                ++errors;
            }
            CHECK_THROWS_AS(condition.notify(), UsageError);
            CHECK_THROWS_AS(condition.notify_all(), UsageError);
            co_return errors;
        };
        const int free = co_await refused();
        CHECK(free == 2);
        co_await condition.acquire();
        const int held = co_await aio::create_task(refused());
        CHECK(held == 2);
        CHECK(condition.owned());
    });
}

TEST_CASE("conditions can share a lock that they are given") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        Condition full{lock};
        Condition empty{lock};
        Waiters at_full{full};
        Waiters at_empty{empty};
        auto a = at_full.start('a');
        auto b = at_empty.start('b');
        co_await settle();
        {
            auto guard = co_await lock.scoped();
            CHECK(full.owned());
            CHECK(empty.locked());
            full.notify_all();
        }
        co_await a;
        CHECK(at_full.log == "a+ ");
        CHECK(at_empty.log.empty());
        {
            auto guard = co_await full.scoped();
            empty.notify_all();
        }
        co_await b;
    });
}

TEST_CASE("cancelled before a notification, a wait takes the lock again and throws") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        Waiters waiters{condition};
        auto a = waiters.start('a');
        auto b = waiters.start('b');
        co_await settle();
        a.cancel("free");
        CHECK(condition.waiting() == 1);
        CHECK(condition.locked());
        co_await a;
        CHECK(waiters.log == "a:free+ ");

        co_await condition.acquire();
        b.cancel("held");
        co_await settle();
        CHECK_FALSE(b.done());
        CHECK(condition.waiting() == 0);
        condition.release();
        co_await b;
        CHECK(waiters.log == "a:free+ b:held+ ");
        CHECK_FALSE(condition.locked());
    });
}

TEST_CASE("cancelled while it takes the lock again, a wait goes on until it has it, however often it is asked") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        Waiters waiters{condition};
        auto a = waiters.start('a');
        co_await settle();
        co_await condition.acquire();
        condition.notify();
        co_await settle();
        a.cancel("first");
        co_await settle();
        a.cancel("second");
        co_await settle();
        CHECK_FALSE(a.done());
        condition.release();
        co_await a;
        CHECK(waiters.log == "a:second+ ");
        CHECK_FALSE(condition.locked());
    });
}

TEST_CASE("cancelled with the lock in hand, a wait throws with the lock held, and once") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        Waiters waiters{condition};
        auto a = waiters.start('a');
        co_await settle();
        co_await condition.acquire();
        condition.notify();
        condition.release();
        a.cancel("late");
        co_await a;  // what it awaits afterwards is not cancelled
        CHECK(waiters.log == "a:late+ ");
        CHECK_FALSE(condition.locked());
    });
}

TEST_CASE("a notification whose receiver is cancelled in the same pass goes to the next") {
    // Before its turn, while it waits for the lock, or with the lock in hand.
    for (const int when : {0, 1, 2})
        run_virtual([when]() -> Coroutine<void> {
            Condition condition;
            Waiters waiters{condition};
            auto a = waiters.start('a');
            auto b = waiters.start('b');
            auto c = waiters.start('c');
            co_await settle();
            co_await condition.acquire();
            condition.notify();
            if (when == 1) co_await settle();
            if (when == 2) condition.release();
            a.cancel();
            if (when != 2) condition.release();
            co_await settle();
            CHECK(waiters.log == "a:+ b+ ");
            CHECK(condition.waiting() == 1);
            CHECK_FALSE(condition.locked());
            co_await condition.acquire();
            condition.notify();
            condition.release();
            co_await a;
            co_await b;
            co_await c;
        });
}

TEST_CASE("a cancelled waiter without a notification hands on none") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        Waiters waiters{condition};
        auto a = waiters.start('a');
        auto b = waiters.start('b');
        co_await settle();
        a.cancel();
        co_await settle();
        CHECK(waiters.log == "a:+ ");
        CHECK(condition.waiting() == 1);
        b.cancel();
        co_await b;
    });
}

TEST_CASE("a wait that times out has the lock again") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        auto guard = co_await condition.scoped();
        bool timed_out = false;
        try {
            co_await aio::wait_for(condition.wait(), 1s);
        } catch (const plait::TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(condition.owned());
        CHECK(condition.waiting() == 0);
        timed_out = false;
        try {
            co_await aio::wait_for(condition.wait_for([] { return false; }), 1s);
        } catch (const plait::TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(condition.owned());
    });
}

TEST_CASE("a wait that times out while others hold the lock ends when it has it") {
    run_virtual([]() -> Coroutine<void> {
        Condition condition;
        auto task = aio::create_task([&]() -> Coroutine<bool> {
            auto guard = co_await condition.scoped();
            try {
                co_await aio::wait_for(condition.wait(), 1s);
            } catch (const plait::TimeoutError&) {
                co_return condition.owned();
            }
            co_return false;
        });
        co_await settle();
        co_await condition.acquire();
        co_await aio::sleep(10s);
        CHECK_FALSE(task.done());
        condition.release();
        const bool held_again = co_await task;
        CHECK(held_again);
        CHECK_FALSE(condition.locked());
    });
}
