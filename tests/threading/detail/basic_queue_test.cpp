// SPDX-License-Identifier: MIT
#include <plait/threading/detail/basic_queue.hpp>
#include <plait/threading/lifo_queue.hpp>
#include <plait/threading/priority_queue.hpp>
#include <plait/threading/queue.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

// What every queue does, whatever its order.

using namespace std::chrono_literals;
using plait::QueueEmpty;
using plait::QueueFull;
using plait::QueueShutDown;
using plait::StopSource;
using plait::UsageError;
using plait::threading::LifoQueue;
using plait::threading::PriorityQueue;
using plait::threading::Queue;
using support::within;

namespace {

enum class End { pending, done, empty, full, shut, other };

/// How `f()` ends.
template <class F>
End end_of(F f) {
    try {
        f();
        return End::done;
    } catch (const QueueEmpty&) {
        return End::empty;
    } catch (const QueueFull&) {
        return End::full;
    } catch (const QueueShutDown&) {
        return End::shut;
    } catch (...) {
        return End::other;
    }
}

/// A call on a thread of its own.
class Call {
public:
    template <class F>
    explicit Call(F f) : thread_{[this, f]() mutable { end_ = end_of(f); }} {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
        if (thread_.joinable()) thread_.join();
    }
    End end() {
        thread_.join();
        return end_;
    }
    [[nodiscard]] bool ended() const { return end_ != End::pending; }

private:
    std::atomic<End> end_{End::pending};
    std::thread thread_;
};

template <class Q>
bool come_to_wait(const Q& queue, std::size_t count) {
    return within(20s, [&] { return queue.waiting() == count; });
}

/// An item that throws when it is copied or moved with its fuse at 1, and counts that down.
struct Brittle {
    explicit Brittle(int v, std::atomic<int>* f = nullptr) : value{v}, fuse{f} {}
    Brittle(const Brittle& other) : value{other.value}, fuse{other.fuse} { burn(); }
    Brittle(Brittle&& other) : value{other.value}, fuse{other.fuse} {
        burn();
        other.value = -1;
    }
    Brittle& operator=(const Brittle&) = default;
    Brittle& operator=(Brittle&&) = default;
    ~Brittle() = default;
    void burn() const {
        if (fuse != nullptr && (*fuse)-- == 1) throw std::runtime_error("brittle");
    }
    friend bool operator<(const Brittle& a, const Brittle& b) { return a.value < b.value; }

    int value;
    std::atomic<int>* fuse;
};

/// The same, but its moves do not throw.
struct BrittleCopy : Brittle {
    using Brittle::Brittle;
    BrittleCopy(const BrittleCopy&) = default;
    BrittleCopy(BrittleCopy&& other) noexcept : Brittle{other.value, other.fuse} { other.value = -1; }
    BrittleCopy& operator=(const BrittleCopy&) = default;
    BrittleCopy& operator=(BrittleCopy&&) = default;
    ~BrittleCopy() = default;
};

/// An item that counts itself.
struct Counted {
    explicit Counted(int v) : value{v}, share{all} {}
    friend bool operator<(const Counted& a, const Counted& b) { return a.value < b.value; }
    static inline const std::shared_ptr<int> all = std::make_shared<int>(0);
    static long alive() { return all.use_count() - 1; }
    int value;
    std::shared_ptr<int> share;
};

}  // namespace

TEMPLATE_TEST_CASE("a queue tells how many items it has, and whether there is room", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    TestType queue{2};
    CHECK(queue.maxsize() == 2);
    CHECK(queue.empty());
    CHECK_FALSE(queue.full());
    queue.put(1);
    CHECK(queue.qsize() == 1);
    CHECK_FALSE(queue.empty());
    CHECK_FALSE(queue.full());
    queue.put(1);
    CHECK(queue.full());
    queue.get();
    queue.get();
    CHECK(queue.empty());
}

TEMPLATE_TEST_CASE("without a maxsize greater than zero there is always room", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    for (const int maxsize : {0, -1}) {
        TestType queue{maxsize};
        CHECK(queue.maxsize() == maxsize);
        for (int i = 0; i < 3000; ++i) queue.put_nowait(i);
        CHECK(queue.qsize() == 3000);
        CHECK_FALSE(queue.full());
    }
}

TEMPLATE_TEST_CASE("a put that finds no room says so in time, and the item stays with the caller", "",
                   Queue<std::unique_ptr<int>>, LifoQueue<std::unique_ptr<int>>, PriorityQueue<std::unique_ptr<int>>) {
    TestType queue{1};
    queue.put(std::make_unique<int>(1));
    auto item = std::make_unique<int>(2);
    CHECK_THROWS_AS(queue.put_nowait(std::move(item)), QueueFull);
    CHECK_THROWS_AS(queue.put(std::move(item), 0s), QueueFull);
    CHECK_THROWS_AS(queue.put(std::move(item), -1h), QueueFull);
    CHECK_THROWS_AS(queue.put(std::move(item), 2ms), QueueFull);
    queue.shutdown();
    CHECK_THROWS_AS(queue.put(std::move(item)), QueueShutDown);
    REQUIRE(item != nullptr);
    CHECK(*item == 2);
    CHECK(*queue.get() == 1);
    CHECK(queue.waiting() == 0);
}

TEMPLATE_TEST_CASE("a get that finds no item says so in time", "", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
    TestType queue;
    CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
    CHECK_THROWS_AS(queue.get(0s), QueueEmpty);
    CHECK_THROWS_AS(queue.get(-1h), QueueEmpty);
    const auto begin = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(queue.get(2ms), plait::TimeoutError);
    CHECK(std::chrono::steady_clock::now() - begin >= 2ms);
    queue.put(1);
    CHECK(queue.get(0s) == 1);
    CHECK(queue.waiting() == 0);
}

TEMPLATE_TEST_CASE("a get waits for an item, and a put for room", "", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
    TestType queue{1};
    Call get{[&] { queue.get(); }};
    CHECK(come_to_wait(queue, 1));
    queue.put(1, 20s);
    CHECK(get.end() == End::done);
    queue.put(2, 20s);
    Call put{[&] { queue.put(3, std::chrono::hours::max()); }};
    CHECK(come_to_wait(queue, 1));
    CHECK(queue.get(20s) == 2);
    CHECK(put.end() == End::done);
    CHECK(queue.get(20s) == 3);
    CHECK(queue.waiting() == 0);
}

TEMPLATE_TEST_CASE("one put wakes one of those who wait, one get another", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    TestType queue{2};
    {
        Call a{[&] { queue.get(30s); }};
        Call b{[&] { queue.get(30s); }};
        Call c{[&] { queue.get(30s); }};
        CHECK(come_to_wait(queue, 3));
        for (const std::size_t left : {2U, 1U, 0U}) {
            queue.put(1);
            CHECK(within(20s, [&] { return queue.empty(); }));
            CHECK(come_to_wait(queue, left));
            CHECK(within(20s, [&] { return a.ended() + b.ended() + c.ended() == 3 - static_cast<int>(left); }));
        }
    }
    queue.put(1);
    queue.put(1);
    Call a{[&] { queue.put(2, 30s); }};
    Call b{[&] { queue.put(2, 30s); }};
    CHECK(come_to_wait(queue, 2));
    queue.get();
    CHECK(come_to_wait(queue, 1));
    queue.get();
    CHECK(a.end() == End::done);
    CHECK(b.end() == End::done);
    CHECK(queue.full());
}

TEMPLATE_TEST_CASE("a stop ends a wait as its time does", "", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
    TestType queue{1};
    StopSource source;
    Call get{[&] { queue.get(source.get_token()); }};
    CHECK(come_to_wait(queue, 1));
    source.request_stop();
    CHECK(get.end() == End::empty);
    CHECK_THROWS_AS(queue.get(30s, source.get_token()), QueueEmpty);

    queue.put(1, source.get_token());
    CHECK_THROWS_AS(queue.put(2, source.get_token()), QueueFull);
    CHECK_FALSE(queue.join(source.get_token()));
    StopSource again;
    Call put{[&] { queue.put(2, 30s, again.get_token()); }};
    Call join{[&] {
        if (!queue.join(30s, again.get_token())) throw QueueFull("");
    }};
    CHECK(come_to_wait(queue, 2));
    again.request_stop();
    CHECK(put.end() == End::full);
    CHECK(join.end() == End::full);
    CHECK(queue.get(source.get_token()) == 1);
}

TEMPLATE_TEST_CASE("join returns when task_done was called for each item", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    TestType queue;
    queue.join();
    CHECK(queue.join(0s));
    CHECK_THROWS_AS(queue.task_done(), UsageError);
    queue.put(1);
    queue.put(2);
    CHECK_FALSE(queue.join(0s));
    CHECK_FALSE(queue.join(1ms));
    Call join{[&] { queue.join(); }};
    Call timed{[&] {
        if (!queue.join(30s)) throw QueueEmpty("");
    }};
    CHECK(come_to_wait(queue, 2));
    queue.get();
    queue.task_done();
    CHECK(queue.waiting() == 2);
    queue.put(3);  // extends it
    queue.get();
    queue.task_done();
    CHECK(queue.waiting() == 2);
    queue.get();
    queue.task_done();
    CHECK(join.end() == End::done);
    CHECK(timed.end() == End::done);
    CHECK_THROWS_AS(queue.task_done(), UsageError);
    CHECK(queue.join(0s));
}

TEMPLATE_TEST_CASE("join waits for all consumers", "", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
    TestType queue{3};
    std::atomic<int> sum{0};
    const auto consume = [&] {
        for (const int item : queue) {
            sum += item;
            queue.task_done();
        }
    };
    Call a{consume};
    Call b{consume};
    for (int round = 1; round <= 200; ++round) {
        for (int i = 0; i < 5; ++i) queue.put(1, 20s);
        CHECK(queue.join(20s));
        CHECK(sum == 5 * round);
    }
    queue.shutdown();
    CHECK(a.end() == End::done);
    CHECK(b.end() == End::done);
}

TEMPLATE_TEST_CASE("after shutdown put throws, and get once the queue is empty", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    TestType queue{2};
    CHECK_FALSE(queue.is_shutdown());
    queue.put(1);
    queue.put(1);
    queue.shutdown();
    queue.shutdown();
    CHECK(queue.is_shutdown());
    CHECK_THROWS_AS(queue.put(2), QueueShutDown);
    CHECK_THROWS_AS(queue.put_nowait(2), QueueShutDown);
    CHECK_THROWS_AS(queue.put(2, 1ms), QueueShutDown);
    CHECK(queue.get() == 1);
    CHECK(queue.get_nowait() == 1);
    CHECK_THROWS_AS(queue.get(), QueueShutDown);
    CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
    CHECK_THROWS_AS(queue.get(1ms), QueueShutDown);
    CHECK_FALSE(queue.join(0s));
    queue.task_done();
    queue.task_done();
    CHECK(queue.join(0s));
}

TEMPLATE_TEST_CASE("shutdown wakes all who wait in get, or in put", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    for (const bool immediate : {false, true}) {
        TestType empty;
        Call a{[&] { empty.get(); }};
        Call b{[&] { empty.get(30s); }};
        Call c{[&] {
            for (const int item : empty) throw item;
        }};
        CHECK(come_to_wait(empty, 3));
        empty.shutdown(immediate);
        CHECK(a.end() == End::shut);
        CHECK(b.end() == End::shut);
        CHECK(c.end() == End::done);

        TestType full{1};
        full.put(1);
        Call d{[&] { full.put(2); }};
        Call e{[&] { full.put(2, 30s); }};
        CHECK(come_to_wait(full, 2));
        full.shutdown(immediate);
        CHECK(d.end() == End::shut);
        CHECK(e.end() == End::shut);
        CHECK(full.qsize() == (immediate ? 0 : 1));
    }
}

TEMPLATE_TEST_CASE("an immediate shutdown drops the items, and counts them as done", "", Queue<Counted>,
                   LifoQueue<Counted>, PriorityQueue<Counted>) {
    TestType queue;
    for (int i = 0; i < 500; ++i) queue.put(Counted{i});
    for (int i = 0; i < 301; ++i) queue.get();
    for (int i = 0; i < 300; ++i) queue.task_done();
    Call join{[&] { queue.join(); }};
    CHECK(come_to_wait(queue, 1));
    CHECK(Counted::alive() == 199);
    queue.shutdown(true);
    CHECK(Counted::alive() == 0);
    CHECK(queue.empty());
    CHECK_THROWS_AS(queue.get(), QueueShutDown);
    queue.shutdown();
    CHECK_THROWS_AS(queue.get(), QueueShutDown);
    CHECK(queue.waiting() == 1);  // for the one that was taken and not dealt with
    queue.task_done();
    CHECK(join.end() == End::done);
    CHECK_THROWS_AS(queue.task_done(), UsageError);
}

TEMPLATE_TEST_CASE("an immediate shutdown lets go who joins when nothing is being dealt with", "", Queue<int>,
                   LifoQueue<int>, PriorityQueue<int>) {
    TestType queue;
    queue.put(1);
    queue.put(2);
    Call join{[&] { queue.join(); }};
    CHECK(come_to_wait(queue, 1));
    queue.shutdown();
    CHECK(queue.waiting() == 1);
    queue.shutdown(true);
    CHECK(join.end() == End::done);
}

TEMPLATE_TEST_CASE("what was said to be done before it was taken is not counted again when it is dropped", "",
                   Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
    TestType queue;
    queue.put(1);
    queue.put(2);
    queue.task_done();
    queue.shutdown(true);
    CHECK(queue.join(0s));
    CHECK_THROWS_AS(queue.task_done(), UsageError);
}

TEMPLATE_TEST_CASE("an item leaves nothing behind in the queue, and none outlives it", "", Queue<Counted>,
                   LifoQueue<Counted>, PriorityQueue<Counted>) {
    {
        TestType queue;
        for (int i = 0; i < 300; ++i) queue.put(Counted{i});
        CHECK(Counted::alive() == 300);
        for (int i = 0; i < 100; ++i) {
            queue.get();
            CHECK(Counted::alive() == 299 - i);
        }
    }
    CHECK(Counted::alive() == 0);
}

TEMPLATE_TEST_CASE("a put whose item throws leaves the queue unchanged, and its room to the next that waits", "",
                   Queue<Brittle>, LifoQueue<Brittle>, PriorityQueue<BrittleCopy>) {
    using Item = decltype(std::declval<TestType&>().get());
    TestType queue{1};
    std::atomic<int> fuse{1};
    const Item brittle{1, &fuse};
    CHECK_THROWS_AS(queue.put(brittle), std::runtime_error);
    CHECK(queue.empty());
    CHECK(queue.join(0s));

    queue.put(Item{2});
    fuse = 1;
    Call first{[&] { queue.put(brittle, 30s); }};
    CHECK(come_to_wait(queue, 1));
    Call second{[&] { queue.put(Item{3}, 30s); }};
    CHECK(come_to_wait(queue, 2));
    CHECK(queue.get(20s).value == 2);
    CHECK(first.end() == End::other);
    CHECK(second.end() == End::done);
    CHECK(queue.get(20s).value == 3);
}

TEMPLATE_TEST_CASE("an item whose move throws in get stays in the queue", "", Queue<Brittle>, LifoQueue<Brittle>) {
    TestType queue;
    std::atomic<int> fuse{0};
    queue.put(Brittle{1, &fuse});
    fuse = 1;
    CHECK_THROWS_AS(queue.get(), std::runtime_error);
    CHECK(queue.qsize() == 1);
    CHECK(queue.get(0s).value == 1);
    CHECK(queue.empty());
}

TEST_CASE("an item whose move throws in get goes to the next that waits") {
    Queue<Brittle> queue;
    std::atomic<int> fuse{2};
    Call first{[&] { queue.get(30s); }};
    CHECK(come_to_wait(queue, 1));
    Call second{[&] { queue.get(30s); }};
    CHECK(come_to_wait(queue, 2));
    const Brittle brittle{1, &fuse};
    queue.put(brittle);
    CHECK(first.end() == End::other);
    CHECK(second.end() == End::done);
}

TEMPLATE_TEST_CASE("an item may use its queue while an immediate shutdown drops it", "", Queue<std::shared_ptr<void>>,
                   LifoQueue<std::shared_ptr<void>>, PriorityQueue<std::shared_ptr<void>>) {
    TestType queue{3};
    int refused = 0;
    for (int i = 0; i < 3; ++i)
        queue.put(std::shared_ptr<void>(nullptr, [&](void*) {
            if (end_of([&] { queue.put(nullptr); }) == End::shut && end_of([&] { queue.get(); }) == End::shut &&
                queue.empty())
                ++refused;
        }));
    queue.shutdown(true);
    CHECK(refused == 3);
}

TEMPLATE_TEST_CASE("however it is put and taken, every item comes out once", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    constexpr int threads = 3;
    constexpr int each = 10'000;
    TestType queue{GENERATE(0, 1, 7)};
    std::vector<std::atomic<int>> seen(threads * each);
    {
        std::vector<std::unique_ptr<Call>> takers;
        for (int t = 0; t < threads; ++t)
            takers.push_back(std::make_unique<Call>([&, t] {
                for (;;) {
                    try {
                        const int item = t == 0 ? queue.get() : t == 1 ? queue.get(20us) : queue.get_nowait();
                        ++seen[static_cast<std::size_t>(item)];
                    } catch (const QueueEmpty&) {
                        std::this_thread::yield();
                    }
                }
            }));
        {
            std::vector<std::unique_ptr<Call>> putters;
            for (int t = 0; t < threads; ++t)
                putters.push_back(std::make_unique<Call>([&, t] {
                    for (int i = t * each; i < (t + 1) * each;) {
                        try {
                            t == 0 ? queue.put(i) : t == 1 ? queue.put(i, 20us) : queue.put_nowait(i);
                            ++i;
                        } catch (const QueueFull&) {
                            std::this_thread::yield();
                        }
                    }
                }));
        }
        queue.shutdown();
    }
    CHECK(std::all_of(seen.begin(), seen.end(), [](const auto& count) { return count == 1; }));
    CHECK(queue.empty());
    CHECK(queue.waiting() == 0);
}

TEMPLATE_TEST_CASE("a put that races a shutdown is in, and is got or dropped, or it throws", "", Queue<int>,
                   LifoQueue<int>, PriorityQueue<int>) {
    for (int round = 0; round < 400; ++round) {
        TestType queue{round % 100 == 0 ? 0 : 1 + round % 3};
        std::atomic<int> in{0};
        std::atomic<int> got{0};
        std::atomic<bool> wrong{false};
        const auto put = [&] {
            for (;;) {
                queue.put(1);
                ++in;
            }
        };
        const auto get = [&] {
            for (;;) {
                queue.get();
                ++got;
            }
        };
        {
            Call a{put};
            Call b{put};
            Call c{get};
            Call d{get};
            wrong = !within(20s, [&] { return got > round % 8; });
            queue.shutdown();
            if (a.end() != End::shut || b.end() != End::shut || c.end() != End::shut || d.end() != End::shut)
                wrong = true;
        }
        REQUIRE_FALSE(wrong);
        REQUIRE(in == got);
        REQUIRE(queue.empty());
    }
}

TEMPLATE_TEST_CASE("who got an item may destroy the queue while put is still returning", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    for (int round = 0; round < 1000; ++round) {
        auto queue = std::make_unique<TestType>();
        Call put{[&queue = *queue] { queue.put(1); }};
        REQUIRE(queue->get(20s) == 1);
        queue.reset();
        REQUIRE(put.end() == End::done);
    }
}

TEMPLATE_TEST_CASE("a queue walks through its items until it is shut down", "", Queue<int>, LifoQueue<int>,
                   PriorityQueue<int>) {
    TestType queue;
    int sum = 0;
    queue.put(1);
    for (int& item : queue) {
        sum += item;
        if (item < 10) queue.put(item + 1);
        if (item == 10) queue.shutdown();
    }
    CHECK(sum == 55);
    CHECK(queue.begin() == queue.end());
}

TEMPLATE_TEST_CASE("a queue is ready before main", "", Queue<int>, LifoQueue<int>, PriorityQueue<int>) {
    static constinit TestType queue{3};
    CHECK(queue.maxsize() == 3);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<TestType>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<TestType>);
}
