// SPDX-License-Identifier: MIT
#include <plait/asyncio/barrier.hpp>
#include <plait/asyncio/condition.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/semaphore.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::UsageError;
using plait::asyncio::Barrier;
using plait::asyncio::Condition;
using plait::asyncio::Coroutine;
using plait::asyncio::Event;
using plait::asyncio::EventLoop;
using plait::asyncio::Lock;
using plait::asyncio::Semaphore;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<void> settle() {
    for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
}

/// A loop whose unended tasks are nobody's concern.
class Scene {
public:
    Scene() { log_.watch(*loop_); }

    template <class A>
    void start(A awaitable) {
        static_cast<void>(loop_->create_task(std::move(awaitable)));
        run();
    }
    void run() { loop_->run_until_complete(settle()); }
    void close() { loop_.reset(); }

private:
    support::ErrorLog log_;
    std::optional<EventLoop> loop_{std::in_place};
};

template <class A>
Coroutine<bool> is_refused(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const UsageError&) {
        co_return true;
    }
    co_return false;
}
template <class F>
Coroutine<void> under_guard(Condition& condition, F then) {
    auto guard = co_await condition.scoped();
    co_await condition.wait();
    then();
}

}  // namespace

TEST_CASE("what tasks of one loop wait for is refused to those of another, while they do") {
    Lock lock;
    Semaphore semaphore(0);
    Event event;
    Condition condition;
    Barrier barrier(2);
    CHECK(lock.try_acquire());
    const auto wait = [&]() -> Coroutine<void> {
        auto guard = co_await condition.scoped();
        co_await condition.wait();
    };
    Scene first;
    first.start(lock.acquire());
    first.start(semaphore.acquire());
    first.start(event.wait());
    first.start(barrier.wait());
    first.start(wait());
    CHECK(lock.waiting() + semaphore.waiting() + event.waiting() + condition.waiting() + barrier.waiting() == 5);

    run_virtual([&]() -> Coroutine<void> {
        const bool by_lock = co_await is_refused(lock.acquire());
        const bool by_semaphore = co_await is_refused(semaphore.acquire());
        const bool by_event = co_await is_refused(event.wait());
        const bool by_condition = co_await is_refused(wait());
        const bool by_barrier = co_await is_refused(barrier.wait());
        CHECK(by_lock);
        CHECK(by_semaphore);
        CHECK(by_event);
        CHECK(by_condition);
        CHECK(by_barrier);
        CHECK_FALSE(condition.locked());
    });
    CHECK(lock.waiting() + semaphore.waiting() + event.waiting() + condition.waiting() + barrier.waiting() == 5);

    // One that was handed it, and has not had its turn, counts too.
    semaphore.release(2);
    run_virtual([&]() -> Coroutine<void> {
        const bool refused = co_await is_refused(semaphore.acquire());
        CHECK(refused);
    });

    first.close();
    CHECK(lock.waiting() + semaphore.waiting() + event.waiting() + condition.waiting() + barrier.waiting() == 0);
    CHECK(semaphore.value() == 2);
    lock.release();
    run_virtual([&]() -> Coroutine<void> {
        auto next = aio::create_task(barrier.wait());
        co_await lock.acquire();
        co_await barrier.wait();
        co_await next;
    });
}

TEST_CASE("a frame that dies with what it was handed passes it on, and one that dies waiting leaves the line") {
    Lock lock;
    Semaphore semaphore(0);
    CHECK(lock.try_acquire());
    Scene first;
    first.start(lock.acquire());
    first.start(lock.scoped());
    first.start(semaphore.acquire());
    first.start(semaphore.scoped());
    Condition condition;
    first.start([](Condition& shared) -> Coroutine<void> {
        co_await shared.acquire();
        co_await shared.wait();
    }(condition));
    CHECK(condition.try_acquire());
    condition.notify();
    condition.release();
    lock.release();
    semaphore.release();
    CHECK(lock.locked());
    CHECK(condition.locked());
    first.close();
    CHECK_FALSE(lock.locked());
    CHECK_FALSE(condition.locked());
    CHECK(lock.waiting() == 0);
    CHECK(semaphore.value() == 1);
    CHECK(semaphore.waiting() == 0);
    CHECK_FALSE(semaphore.locked());
}

TEST_CASE("a frame that dies in a condition's wait holds no lock, and its guard releases nobody else's") {
    // Waiting for a notification; notified and waiting for the lock; with the lock in hand.
    for (const int stage : {0, 1, 2}) {
        Condition condition;
        {
            Scene first;
            bool woke = false;
            const auto then = [&] { woke = true; };
            first.start(under_guard(condition, then));
            CHECK(condition.try_acquire());
            if (stage > 0) condition.notify();
            if (stage > 1) condition.release();
            first.close();
            CHECK_FALSE(woke);
        }
        CHECK(condition.locked() == (stage < 2));
        CHECK(condition.waiting() == 0);
    }
}

TEST_CASE("a frame that dies with a notification hands it to the next who waits") {
    struct AtDeath {
        ~AtDeath() { seen = condition.waiting(); }
        Condition& condition;
        std::size_t& seen;
    };
    Condition condition;
    std::size_t seen = 9;
    Event begun;
    const auto second_in_line = [&]() -> Coroutine<void> {
        co_await begun.wait();
        co_await under_guard(condition, [] {});
    };
    const auto first_in_line = [&]() -> Coroutine<void> {
        const AtDeath recorder{condition, seen};
        co_await condition.acquire();
        begun.set();
        co_await condition.wait();
    };
    // The task that was made last dies first.
    Scene scene;
    scene.start(second_in_line());
    scene.start(first_in_line());
    CHECK(condition.waiting() == 2);
    CHECK(condition.try_acquire());
    condition.notify();
    CHECK(condition.waiting() == 1);
    scene.close();
    CHECK(seen == 0);
    condition.release();
    CHECK_FALSE(condition.locked());
}

TEST_CASE("what is destroyed tells those who still wait for it, and those it was handed to") {
    run_virtual([]() -> Coroutine<void> {
        auto lock = std::make_unique<Lock>();
        auto semaphore = std::make_unique<Semaphore>(0);
        auto event = std::make_unique<Event>();
        auto condition = std::make_unique<Condition>();
        auto barrier = std::make_unique<Barrier>(2);
        CHECK(lock->try_acquire());
        std::vector<Task<bool>> tasks;
        tasks.push_back(aio::create_task(is_refused(lock->acquire())));
        tasks.push_back(aio::create_task(is_refused(lock->acquire())));
        tasks.push_back(aio::create_task(is_refused(semaphore->acquire())));
        tasks.push_back(aio::create_task(is_refused(event->wait())));
        tasks.push_back(aio::create_task(is_refused(barrier->wait())));
        const auto by_hand = [&]() -> Coroutine<void> {
            co_await condition->acquire();
            co_await condition->wait();
        };
        for (int i = 0; i < 3; ++i) tasks.push_back(aio::create_task(is_refused(by_hand())));
        co_await settle();
        lock->release();
        CHECK(condition->try_acquire());
        condition->notify(2);
        condition->release();
        lock.reset();
        semaphore.reset();
        event.reset();
        condition.reset();
        barrier.reset();
        for (auto& task : tasks) {
            const bool told = co_await task;
            CHECK(told);
        }
    });
}

TEST_CASE("one who is cancelled and whose lock is destroyed is told of the cancellation") {
    run_virtual([]() -> Coroutine<void> {
        auto lock = std::make_unique<Lock>();
        auto condition = std::make_unique<Condition>();
        CHECK(lock->try_acquire());
        auto a = aio::create_task(lock->acquire());
        auto b = aio::create_task([&]() -> Coroutine<void> {
            co_await condition->acquire();
            co_await condition->wait();
        });
        co_await settle();
        CHECK(condition->try_acquire());
        b.cancel();
        lock.reset();
        condition.reset();
        a.cancel();
        co_await settle();
        CHECK(a.cancelled());
        CHECK(b.cancelled());
    });
}

TEST_CASE("what a frame owns may die before the frames of those who wait for it") {
    struct Owned {
        Lock lock;
        Semaphore semaphore{0};
        Condition condition;
        Barrier barrier{2};
    };
    EventLoop loop;
    support::ErrorLog log;
    log.watch(loop);
    Event made;
    Owned* owned = nullptr;
    const auto by_hand = [&]() -> Coroutine<void> {
        co_await made.wait();
        co_await owned->condition.acquire();
        co_await owned->condition.wait();
    };
    const auto for_permit = [&]() -> Coroutine<void> {
        co_await made.wait();
        auto permit = co_await owned->semaphore.scoped();
    };
    const auto for_lock = [&]() -> Coroutine<void> {
        co_await made.wait();
        auto guard = co_await owned->lock.scoped();
    };
    const auto at_barrier = [&]() -> Coroutine<void> {
        co_await made.wait();
        co_await owned->barrier.wait();
    };
    for (int i = 0; i < 2; ++i) {
        static_cast<void>(loop.create_task(by_hand()));
        static_cast<void>(loop.create_task(for_permit()));
        static_cast<void>(loop.create_task(for_lock()));
    }
    static_cast<void>(loop.create_task(at_barrier()));
    // The task that was made last dies first.
    static_cast<void>(loop.create_task([&]() -> Coroutine<void> {
        Owned all;
        owned = &all;
        CHECK(all.lock.try_acquire());
        made.set();
        co_await settle();
        all.lock.release();
        all.semaphore.release();
        CHECK(all.condition.try_acquire());
        all.condition.notify();
        aio::get_running_loop().stop();
        co_await aio::sleep(1h);
    }));
    loop.run_forever();
    loop.close();
    CHECK(log.messages.size() == 8);
}

TEST_CASE("a hundred thousand waiters need no more stack than one") {
    run_virtual([]() -> Coroutine<void> {
        constexpr int count = 100'000;
        Lock lock;
        Semaphore semaphore(0);
        Event event;
        Condition condition;
        int passed = 0;
        const auto all = [&]() -> Coroutine<void> {
            co_await event.wait();
            co_await semaphore.acquire();
            auto guard = co_await lock.scoped();
            ++passed;
        };
        std::vector<Task<void>> tasks;
        for (int i = 0; i < count; ++i) tasks.push_back(aio::create_task(all()));
        co_await settle();
        CHECK(event.waiting() == count);
        event.set();
        co_await settle();
        CHECK(semaphore.waiting() == count);
        co_await lock.acquire();
        semaphore.release(count);
        co_await settle();
        CHECK(lock.waiting() == count);
        // All but the last are cancelled with the lock in hand, one after the other or before it came to them.
        lock.release();
        for (int i = 0; i + 1 < count; ++i) tasks[static_cast<std::size_t>(i)].cancel();
        co_await tasks.back();
        CHECK(passed == 1);
        CHECK_FALSE(lock.locked());

        tasks.clear();
        for (int i = 0; i < count; ++i) tasks.push_back(aio::create_task(under_guard(condition, [&] { ++passed; })));
        co_await settle();
        CHECK(condition.waiting() == count);
        {
            auto guard = co_await condition.scoped();
            condition.notify_all();
        }
        for (auto& task : tasks) co_await task;
        CHECK(passed == count + 1);
    });
}
