// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::Lock;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

/// Lets all that is ready run, and what that makes ready.
Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}

/// Tasks that take the lock, note their letter, and end with it in hand.
class Takers {
public:
    explicit Takers(Lock& lock) : lock_{lock} {}

    Task<void> start(char letter) { return aio::create_task(take(letter)); }

    std::string order;

private:
    Coroutine<void> take(char letter) {
        co_await lock_.acquire();
        order += letter;
    }

    Lock& lock_;
};

}  // namespace

TEST_CASE("a lock that is free is taken at once: no other task runs in between") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        bool other_ran = false;
        auto other = aio::create_task([&]() -> Coroutine<void> {
            other_ran = true;
            co_return;
        });
        CHECK_FALSE(lock.locked());
        co_await lock.acquire();
        CHECK(lock.locked());
        CHECK(lock.owned());
        CHECK_FALSE(other_ran);
        lock.release();
        CHECK_FALSE(lock.locked());
        CHECK_FALSE(lock.owned());
        co_await other;
    });
}

TEST_CASE("a lock goes to its waiters in turn, and its releaser comes last") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        std::string order;
        const auto twice = [&](char letter) -> Coroutine<void> {
            for (int i = 0; i < 2; ++i) {
                co_await lock.acquire();
                order += letter;
                co_await aio::sleep(1s);
                lock.release();
            }
        };
        auto a = aio::create_task(twice('a'));
        auto b = aio::create_task(twice('b'));
        auto c = aio::create_task(twice('c'));
        co_await aio::sleep(500ms);
        CHECK(lock.waiting() == 2);
        co_await a;
        co_await b;
        co_await c;
        CHECK(order == "abcabc");
        CHECK_FALSE(lock.locked());
    });
}

TEST_CASE("between release and the waiter's turn the lock is not free") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        Takers takers{lock};
        co_await lock.acquire();
        auto a = takers.start('a');
        co_await settle();
        lock.release();
        CHECK(lock.locked());
        CHECK(lock.waiting() == 0);
        CHECK_FALSE(lock.try_acquire());
        CHECK_THROWS_AS(lock.release(), UsageError);  // it would be taken from a
        co_await a;
        CHECK(takers.order == "a");
        CHECK(lock.locked());
    });
}

TEST_CASE("misuse of a lock is an error, and changes nothing") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        CHECK_THROWS_AS(lock.release(), UsageError);
        co_await lock.acquire();
        std::optional<std::string> text;
        try {
            co_await lock.acquire();
        } catch (const UsageError& error) {
            text = error.what();
        }
        CHECK(text == "a second acquire by the task that holds the lock would wait for itself: release it first");
        CHECK(lock.owned());
        CHECK(lock.waiting() == 0);
        lock.release();
        CHECK_THROWS_AS(lock.release(), UsageError);
    });
}

TEST_CASE("a second acquire is an error also of a task that the lock was handed to") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        co_await lock.acquire();
        auto other = aio::create_task([&]() -> Coroutine<bool> {
            co_await lock.acquire();
            try {
                co_await lock.acquire();
            } catch (const UsageError&) {
                co_return true;
            }
            co_return false;
        });
        co_await settle();
        lock.release();
        const bool refused = co_await other;
        CHECK(refused);
    });
}

TEST_CASE("any task may release a lock, and a later task is not taken for the one that held it") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        const auto take = [&]() -> Coroutine<void> { co_await lock.acquire(); };
        for (int i = 0; i < 10; ++i) {
            // Its end leaves the place in memory to the next one.
            co_await aio::create_task(take());
            auto next = aio::create_task(take());
            co_await settle();
            CHECK_FALSE(next.done());
            lock.release();
            co_await next;
            lock.release();
        }
        CHECK_FALSE(lock.locked());
    });
}

TEST_CASE("a lock can be tried, and released, where no task runs") {
    Lock lock;
    CHECK(lock.try_acquire());
    CHECK(lock.owned());
    CHECK_FALSE(lock.try_acquire());
    run_virtual([&]() -> Coroutine<void> {
        CHECK_FALSE(lock.owned());
        auto& loop = aio::get_running_loop();
        loop.call_soon([&] { lock.release(); });
        co_await lock.acquire();
        lock.release();
    });
    CHECK_FALSE(lock.locked());
}

TEST_CASE("a guard releases its lock at the end of its scope, early, or by an exception") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        {
            auto guard = co_await lock.scoped();
            CHECK(lock.owned());
        }
        CHECK_FALSE(lock.locked());
        {
            auto guard = co_await lock.scoped();
            guard.release();
            CHECK_FALSE(lock.locked());
            CHECK_THROWS_AS(guard.release(), UsageError);
            CHECK(lock.try_acquire());
        }
        lock.release();
        try {
            auto guard = co_await lock.scoped();
            throw std::runtime_error("within");
        } catch (const std::runtime_error&) {
        }
        CHECK_FALSE(lock.locked());
    });
}

TEST_CASE("a guard can be moved, and releases once") {
    run_virtual([]() -> Coroutine<void> {
        Lock first;
        Lock second;
        auto a = co_await first.scoped();
        {
            Lock::Guard b = std::move(a);
            CHECK_THROWS_AS(a.release(), UsageError);  // NOLINT(bugprone-use-after-move)
            CHECK(first.locked());
            auto c = co_await second.scoped();
            b = std::move(c);
            CHECK_FALSE(first.locked());
            CHECK(second.locked());
        }
        CHECK_FALSE(second.locked());
    });
}

TEST_CASE("a guard leaves alone a lock that was released by hand, and that another holds since") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        Takers takers{lock};
        {
            auto guard = co_await lock.scoped();
            lock.release();
            co_await takers.start('a');
        }
        CHECK(takers.order == "a");
        CHECK(lock.locked());
        lock.release();
    });
}

TEST_CASE("a guard that outlives its task's hold leaves alone a lock that is on its way to that task again") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        Takers takers{lock};
        std::optional<Lock::Guard> kept;
        auto owner = aio::create_task([&]() -> Coroutine<void> {
            kept = co_await lock.scoped();
            co_await aio::sleep(1s);
            co_await lock.acquire();
            takers.order += 'o';
        });
        co_await settle();
        lock.release();
        co_await takers.start('a');
        co_await aio::sleep(1s);
        co_await settle();
        auto b = takers.start('b');
        co_await settle();
        lock.release();  // to the owner
        kept.reset();
        co_await settle();
        CHECK(takers.order == "ao");
        CHECK(lock.waiting() == 1);
        lock.release();
        co_await owner;
        co_await b;
    });
}

TEST_CASE("a guard waits for its lock, and keeps it as the result of a task") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        co_await lock.acquire();
        {
            auto task = aio::create_task(lock.scoped());
            co_await settle();
            CHECK(lock.waiting() == 1);
            lock.release();
            auto guard = co_await std::move(task);
            CHECK(lock.locked());
        }
        CHECK_FALSE(lock.locked());
    });
}

TEST_CASE("a cancelled waiter leaves the line, and the others keep their turns") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        Takers takers{lock};
        co_await lock.acquire();
        auto a = takers.start('a');
        auto b = takers.start('b');
        co_await settle();
        a.cancel();
        CHECK(lock.waiting() == 1);
        co_await settle();
        CHECK(a.cancelled());
        lock.release();
        co_await b;
        CHECK(takers.order == "b");
    });
}

TEST_CASE("cancelled and released in one pass, in either order, the lock goes to the next") {
    for (const bool release_first : {false, true})
        run_virtual([release_first]() -> Coroutine<void> {
            Lock lock;
            Takers takers{lock};
            co_await lock.acquire();
            auto a = takers.start('a');
            auto b = takers.start('b');
            auto c = takers.start('c');
            co_await settle();
            if (release_first) lock.release();
            a.cancel();
            if (!release_first) lock.release();
            co_await settle();
            CHECK(a.cancelled());
            CHECK(takers.order == "b");  // one of them, not two
            CHECK(lock.waiting() == 1);
            lock.release();
            co_await b;
            co_await c;
            CHECK(takers.order == "bc");
        });
}

TEST_CASE("a lock whose every waiter was cancelled with it in hand is free again") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        Takers takers{lock};
        co_await lock.acquire();
        auto a = takers.start('a');
        auto b = takers.start('b');
        co_await settle();
        lock.release();
        a.cancel();
        b.cancel();
        co_await settle();
        CHECK(takers.order.empty());
        CHECK_FALSE(lock.locked());
        CHECK(lock.waiting() == 0);
    });
}

TEST_CASE("a cancellation that is due is thrown by the first acquire that has to wait") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        co_await lock.acquire();
        auto task = aio::create_task([&]() -> Coroutine<std::string> {
            aio::current_task().cancel("due");
            try {
                co_await lock.acquire();
            } catch (const CancelledError& error) {
                co_return error.message();
            }
            co_return "acquired";
        });
        const std::string message = co_await task;
        CHECK(message == "due");
        CHECK(lock.waiting() == 0);
    });
}

TEST_CASE("an acquire that times out leaves nothing behind") {
    run_virtual([]() -> Coroutine<void> {
        Lock lock;
        co_await lock.acquire();
        auto other = aio::create_task([&]() -> Coroutine<bool> {
            try {
                co_await aio::wait_for(lock.acquire(), 1s);
            } catch (const plait::TimeoutError&) {
                co_return true;
            }
            co_return false;
        });
        const bool timed_out = co_await other;
        CHECK(timed_out);
        CHECK(lock.waiting() == 0);
        lock.release();
        {
            auto guard = co_await aio::wait_for(lock.scoped(), 1s);
            CHECK(lock.owned());
        }
        CHECK_FALSE(lock.locked());
    });
}
