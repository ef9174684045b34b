// SPDX-License-Identifier: MIT
#include <plait/threading/condition.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using plait::StopSource;
using plait::UsageError;
using plait::threading::Condition;
using plait::threading::Lock;
using plait::threading::RLock;
using support::within;

namespace {

/// Threads that wait on `condition`, begun one after the other; notes who returned, in order, and what `wait` said.
class Waiters {
public:
    explicit Waiters(Condition& condition) : condition_{condition} {}
    ~Waiters() { join(); }

    /// `wait()` is called while the lock is held.
    template <class Wait>
    void add(Wait wait) {
        const std::size_t before = condition_.waiting();
        threads_.emplace_back([this, wait, number = static_cast<int>(threads_.size())] {
            const std::scoped_lock guard{condition_};
            const bool notified = wait();
            held_ = held_ && condition_.owned();
            (notified ? notified_ : others_).push_back(number);
            ++returned_;
        });
        static_cast<void>(within(20s, [&] { return condition_.waiting() == before + 1; }));
    }
    void add(int count) {
        for (int i = 0; i < count; ++i) add([this] { return condition_.wait(30s); });
    }
    [[nodiscard]] bool return_to(int count) {
        return within(20s, [&] { return returned_ == count; });
    }
    [[nodiscard]] int returned() const { return returned_; }
    void join() {
        for (auto& thread : threads_)
            if (thread.joinable()) thread.join();
    }
    /// After join: who was notified, who was not, and whether all of them held the lock then.
    [[nodiscard]] const std::vector<int>& notified() const { return notified_; }
    [[nodiscard]] const std::vector<int>& others() const { return others_; }
    [[nodiscard]] bool held() const { return held_; }

private:
    Condition& condition_;
    std::vector<std::thread> threads_;
    std::vector<int> notified_;  // this and what follows is guarded by the condition
    std::vector<int> others_;
    bool held_ = true;
    std::atomic<int> returned_{0};
};

void notify(Condition& condition, int count = 1) {
    const std::scoped_lock guard{condition};
    condition.notify(count);
}

void notify_all(Condition& condition) {
    const std::scoped_lock guard{condition};
    condition.notify_all();
}

/// Whether another thread can have the lock just now.
bool free_elsewhere(Condition& condition) {
    bool acquired = false;
    std::thread thread{[&] {
        acquired = condition.try_acquire();
        if (acquired) condition.release();
    }};
    thread.join();
    return acquired;
}

}  // namespace

TEST_CASE("a condition without its lock neither waits nor notifies") {
    Lock lock;
    RLock rlock;
    Condition own;
    Condition over_lock{lock};
    Condition over_rlock{rlock};
    for (Condition* const condition : {&own, &over_lock, &over_rlock}) {
        bool asked = false;
        const auto predicate = [&] { return asked = true; };
        CHECK_THROWS_AS(condition->wait(), UsageError);
        CHECK_THROWS_AS(condition->wait(0s), UsageError);
        CHECK_THROWS_AS(condition->wait_for(predicate), UsageError);
        CHECK_THROWS_AS(condition->wait_for(predicate, 1h), UsageError);
        CHECK_THROWS_AS(condition->notify(), UsageError);
        CHECK_THROWS_AS(condition->notify_all(), UsageError);
        CHECK_THROWS_AS(condition->release(), UsageError);
        CHECK_FALSE(asked);
        CHECK(condition->waiting() == 0);
        const std::scoped_lock guard{*condition};
        condition->notify();
        CHECK_THROWS_AS(condition->notify(-1), std::invalid_argument);
        bool refused = false;
        std::thread stranger{[&] {
            try {
                condition->notify();
            } catch (const UsageError&) {
                refused = true;
            }
        }};
        stranger.join();
        CHECK(refused);
    }
}

TEST_CASE("a condition is locked by every standard guard, and by Python's words") {
    Condition condition;
    {
        const std::scoped_lock guard{condition};
        const std::scoped_lock again{condition};
        CHECK(condition.locked());
        CHECK(condition.owned());
        CHECK_FALSE(free_elsewhere(condition));
    }
    CHECK_FALSE(condition.locked());
    std::unique_lock guard{condition, 1ms};
    CHECK(guard.owns_lock());
    guard.unlock();
    CHECK(guard.try_lock_until(std::chrono::system_clock::now() + 1s));
    guard.unlock();
    condition.acquire();
    CHECK(condition.acquire(1s));
    CHECK(condition.try_acquire());
    for (int i = 0; i < 3; ++i) condition.release();
    CHECK(free_elsewhere(condition));

    Lock lock;
    Condition over_lock{lock};
    const std::scoped_lock held{over_lock};
    CHECK(lock.owned());
    CHECK_FALSE(over_lock.try_acquire());
    CHECK_THROWS_AS(over_lock.acquire(), UsageError);
    CHECK_THROWS_AS(over_lock.acquire(1s), UsageError);
    CHECK(over_lock.locked());
}

TEST_CASE("a wait returns true when notified, false when its time is over, and holds the lock in both") {
    RLock rlock;
    Lock lock;
    Condition own;
    Condition over_lock{lock};
    Condition over_rlock{rlock};
    for (Condition* const condition : {&own, &over_lock, &over_rlock}) {
        {
            const std::scoped_lock guard{*condition};
            for (const auto timeout : {1ms, 0ms, -1ms}) {
                CHECK_FALSE(condition->wait(timeout));
                CHECK(condition->owned());
            }
        }
        Waiters waiters{*condition};
        waiters.add(1);
        waiters.add([&] { return condition->wait(), true; });
        CHECK(free_elsewhere(*condition));
        notify(*condition);
        CHECK(waiters.return_to(1));
        notify(*condition);
        waiters.join();
        CHECK(waiters.notified() == std::vector{0, 1});
        CHECK(waiters.held());
        CHECK_FALSE(condition->locked());
        CHECK(condition->waiting() == 0);
    }
}

TEST_CASE("a wait gives up an RLock that is held three times, and holds it three times again") {
    RLock rlock;
    Condition own;
    Condition given{rlock};
    for (Condition* const condition : {&own, &given}) {
        std::vector<bool> held;
        std::thread waiter{[&] {
            for (int i = 0; i < 3; ++i) condition->acquire();
            condition->wait();
            for (int i = 0; i < 3; ++i) {
                held.push_back(condition->owned());
                condition->release();
            }
            held.push_back(condition->owned());
        }};
        CHECK(within(20s, [&] { return condition->waiting() == 1; }));
        CHECK(condition->acquire(20s));
        condition->notify();
        condition->release();
        waiter.join();
        CHECK(held == std::vector{true, true, true, false});
        CHECK_FALSE(condition->locked());
    }
}

TEST_CASE("a notification is for those who wait, not for who comes later") {
    Condition condition;
    const std::scoped_lock guard{condition};
    condition.notify();
    condition.notify_all();
    CHECK_FALSE(condition.wait(1ms));
}

TEST_CASE("notifications wake as many as they say, those first who have waited longest") {
    Condition condition;
    Waiters waiters{condition};
    waiters.add(5);
    REQUIRE(condition.waiting() == 5);
    notify(condition, 0);
    CHECK(condition.waiting() == 5);
    notify(condition, 3);
    CHECK(waiters.return_to(3));
    CHECK(condition.waiting() == 2);
    waiters.add(2);
    CHECK(waiters.returned() == 3);
    notify(condition, 1);
    CHECK(waiters.return_to(4));
    notify_all(condition);
    CHECK(waiters.return_to(7));
    notify(condition, 5);
    waiters.join();
    CHECK(waiters.others().empty());
    // Whom one call wakes take the lock in any order.
    auto first = waiters.notified();
    REQUIRE(first.size() == 7);
    CHECK(first[0] + first[1] + first[2] == 0 + 1 + 2);
    CHECK(first[3] == 3);
}

TEST_CASE("notify_all wakes a thousand threads") {
    Condition condition;
    constexpr int count = 1'000;
    int returned = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i)
        threads.emplace_back([&] {
            const std::scoped_lock guard{condition};
            condition.wait();
            ++returned;
        });
    CHECK(within(40s, [&] { return condition.waiting() == static_cast<std::size_t>(count); }));
    notify_all(condition);
    for (auto& thread : threads) thread.join();
    CHECK(returned == count);
}

TEST_CASE("wait_for gives what the predicate gave last, of whatever type") {
    Condition condition;
    const std::scoped_lock guard{condition};
    int asked = 0;
    CHECK(condition.wait_for([&] { return ++asked; }) == 1);
    CHECK(condition.wait_for([] { return std::string("yes").size(); }, 1s) == 3);
    CHECK(condition.wait_for([] { return std::optional<std::string>("yes"); }, 1ms) == "yes");
    CHECK_FALSE(condition.wait_for([] { return std::optional<std::string>(); }, 1ms).has_value());
    CHECK(*condition.wait_for([] { return std::make_unique<int>(7); }) == 7);
    asked = 0;
    CHECK(condition.wait_for([&] { return ++asked, 0; }, 1ms) == 0);
    CHECK(asked == 2);
    // Asked once more when the time is over.
    asked = 0;
    CHECK(condition.wait_for([&] { return ++asked == 2 ? 5 : 0; }, 1ms) == 5);
    asked = 0;
    CHECK(condition.wait_for([&] { return ++asked == 2; }, -1s));
    CHECK(condition.waiting() == 0);
}

TEST_CASE("wait_for sleeps on when it is notified and its predicate still says no") {
    Condition condition;
    int state = 0;
    int seen = 0;
    std::thread waiter{[&] {
        const std::scoped_lock guard{condition};
        seen = condition.wait_for([&] { return state == 3 ? state : 0; });
    }};
    for (int next = 1; next <= 3; ++next) {
        CHECK(within(20s, [&] { return condition.waiting() == 1; }));
        const std::scoped_lock guard{condition};
        state = next;
        condition.notify();
    }
    waiter.join();
    CHECK(seen == 3);
}

TEST_CASE("wait_for counts its time in all, however often it is notified") {
    Condition condition;
    std::atomic<bool> ended{false};
    bool result = true;
    std::thread waiter{[&] {
        const std::scoped_lock guard{condition};
        result = condition.wait_for([] { return false; }, 50ms);
        ended = true;
    }};
    // A notification each time it waits: were the time counted anew, this would not end.
    CHECK(within(20s, [&] {
        notify(condition);
        return ended.load();
    }));
    waiter.join();
    CHECK_FALSE(result);
}

TEST_CASE("what a predicate throws passes, with the lock held and nobody waiting") {
    Condition condition;
    std::atomic<bool> thrown{false};
    bool held = false;
    std::thread waiter{[&] {
        int asked = 0;
        std::unique_lock guard{condition};
        try {
            condition.wait_for(
                [&]() -> bool { return ++asked == 1 ? false : throw std::runtime_error("asked again"); });
        } catch (const std::runtime_error&) {
            held = condition.owned();
            thrown = true;
        }
    }};
    CHECK(within(20s, [&] { return condition.waiting() == 1; }));
    notify(condition);
    waiter.join();
    CHECK(thrown);
    CHECK(held);
    CHECK(condition.waiting() == 0);
    CHECK_FALSE(condition.locked());
}

TEST_CASE("conditions that share a lock notify each its own waiters") {
    Lock lock;
    Condition empty{lock};
    Condition full{lock};
    Waiters for_empty{empty};
    Waiters for_full{full};
    for_empty.add(2);
    for_full.add(1);
    {
        const std::scoped_lock guard{lock};
        empty.notify_all();
    }
    for_empty.join();
    CHECK(for_empty.notified().size() == 2);
    CHECK(full.waiting() == 1);
    CHECK(for_full.returned() == 0);
    notify(full);
    for_full.join();
    CHECK(for_full.notified().size() == 1);
}

TEST_CASE("who waits for a condition's own lock is not woken by its notifications, nor the other way round") {
    Condition condition;
    Waiters waiters{condition};
    waiters.add(1);
    condition.acquire();
    std::atomic<bool> acquired{false};
    std::thread other{[&] {
        const std::scoped_lock guard{condition};
        acquired = true;
    }};
    // The notification that is to come is the waiter's; a release that nobody notified before is the other's.
    CHECK_FALSE(within(20ms, [&] { return acquired.load(); }));
    condition.release();
    CHECK(within(20s, [&] { return acquired.load(); }));
    other.join();
    CHECK(condition.waiting() == 1);
    notify(condition);
    waiters.join();
    CHECK(waiters.notified().size() == 1);
}

TEST_CASE("a requested stop ends the waits that were given its token, and takes no notification") {
    Condition condition;
    StopSource source;
    Waiters waiters{condition};
    waiters.add([&] { return condition.wait(source.get_token()); });
    waiters.add([&] { return condition.wait(30s, source.get_token()); });
    waiters.add([&] { return condition.wait_for([] { return false; }, source.get_token()); });
    waiters.add([&] { return condition.wait_for([] { return false; }, 30s, source.get_token()); });
    waiters.add(1);
    REQUIRE(condition.waiting() == 5);
    source.request_stop();
    CHECK(waiters.return_to(4));
    CHECK(condition.waiting() == 1);
    notify(condition);
    waiters.join();
    CHECK(waiters.notified() == std::vector{4});
    CHECK(waiters.held());
    const std::scoped_lock guard{condition};
    CHECK_FALSE(condition.wait(source.get_token()));
    CHECK(condition.wait_for([] { return true; }, source.get_token()));
}

TEST_CASE("a notification is not lost to a waiter that times out or is stopped meanwhile") {
    Condition condition;
    constexpr int rounds = 3'000;
    int tokens = 0;  // guarded by the condition, as the next
    bool ended = false;
    std::atomic<int> taken{0};
    const auto take = [&] {
        if (tokens == 0) return;
        --tokens;
        ++taken;
    };
    // Whoever is told false takes nothing: were a notification spent on it, nobody would take that round's token.
    const auto impatient = [&](int number) {
        StopSource source;
        const std::scoped_lock guard{condition};
        while (!ended) {
            const auto time = std::chrono::microseconds{10 + 7 * number};
            if (number == 0 ? condition.wait(time, source.get_token()) : condition.wait(time)) take();
        }
    };
    const auto stoppable = [&] {
        const std::scoped_lock guard{condition};
        while (!ended) {
            StopSource source;
            std::thread stopper{[&] { source.request_stop(); }};
            if (condition.wait(source.get_token())) take();
            condition.release();
            stopper.join();
            condition.acquire();
        }
    };
    const auto patient = [&] {
        const std::scoped_lock guard{condition};
        while (!ended) {
            condition.wait_for([&] { return tokens > 0 || ended; });
            take();
        }
    };
    std::vector<std::thread> threads;
    for (int number = 0; number < 2; ++number) threads.emplace_back(impatient, number);
    threads.emplace_back(stoppable);
    threads.emplace_back(patient);
    for (int round = 1; round <= rounds; ++round) {
        {
            const std::scoped_lock guard{condition};
            ++tokens;
            condition.notify();
        }
        if (!within(20s, [&] { return taken == round; })) break;
    }
    CHECK(taken == rounds);
    {
        const std::scoped_lock guard{condition};
        ended = true;
        condition.notify_all();
    }
    for (auto& thread : threads) thread.join();
    CHECK(condition.waiting() == 0);
}

TEST_CASE("every item of several producers reaches a consumer, whose waits time out now and then") {
    Lock lock;
    Condition room{lock};
    Condition items{lock};
    std::deque<int> queue;  // guarded by the lock, as all below
    constexpr int each = 2'000;
    long sum = 0;
    int left = 2 * each;
    const auto produce = [&] {
        for (int i = 1; i <= each; ++i) {
            const std::scoped_lock guard{lock};
            room.wait_for([&] { return queue.size() < 4; });
            queue.push_back(i);
            items.notify();
        }
    };
    const auto consume = [&] {
        const std::scoped_lock guard{lock};
        while (left > 0) {
            if (!items.wait_for([&] { return !queue.empty() || left == 0; }, 100us) || queue.empty()) continue;
            sum += queue.front();
            queue.pop_front();
            if (--left == 0) items.notify_all();
            room.notify();
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back(produce);
        threads.emplace_back(consume);
    }
    for (auto& thread : threads) thread.join();
    CHECK(sum == long{each} * (each + 1));
    CHECK(queue.empty());
}

TEST_CASE("waits without a time lose no notification, though two waiters and two notifiers take turns") {
    Condition condition;
    int turn = 0;
    constexpr int rounds = 5'000;
    const auto take_turns = [&](int own) {
        for (int round = 0; round < rounds; ++round) {
            const std::scoped_lock guard{condition};
            condition.wait_for([&] { return turn == own; });
            turn = 1 - own;
            condition.notify_all();
        }
    };
    std::thread other{take_turns, 1};
    take_turns(0);
    other.join();
    CHECK(turn == 0);
}

TEST_CASE("the last waiter may destroy the condition while the notifier's release is still returning") {
    struct Shared {
        Condition condition;
        int waiters = 2;
        bool go = false;
    };
    for (int round = 0; round < 500; ++round) {
        auto* const shared = new Shared;
        const auto wait = [shared] {
            bool last = false;
            {
                std::unique_lock guard{shared->condition};
                shared->condition.wait_for([&] { return shared->go; });
                last = --shared->waiters == 0;
                guard.release();
            }
            shared->condition.release();
            if (last) delete shared;
        };
        std::thread first{wait};
        std::thread second{wait};
        shared->condition.acquire();
        shared->go = true;
        shared->condition.notify_all();
        shared->condition.release();
        first.join();
        second.join();
    }
    SUCCEED();
}

TEST_CASE("a condition is ready before main and needs no destruction") {
    static constinit Condition own;
    static constinit Lock lock;
    static constinit Condition given{lock};
    const std::scoped_lock guard{own, given};
    CHECK(lock.owned());
    STATIC_REQUIRE(std::is_trivially_destructible_v<Condition>);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Condition>);
}
