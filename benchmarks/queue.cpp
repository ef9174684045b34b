// SPDX-License-Identifier: MIT
//
// What does it cost to hand a number from thread to thread through a queue, whose `get` waits?

#include <plait/threading/queue.hpp>

#ifdef BENCHMARK_TBB
#  include <tbb/concurrent_queue.h>
#endif
#if __has_include(<concurrentqueue/blockingconcurrentqueue.h>)
#  include <concurrentqueue/blockingconcurrentqueue.h>
#  define BENCHMARK_MOODYCAMEL
#endif
#if __has_include(<boost/lockfree/queue.hpp>)
#  include <boost/lockfree/queue.hpp>
#  define BENCHMARK_BOOST
#endif

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <queue>
#include <string>
#include <thread>

#include "table.hpp"

namespace {

using Item = std::uint64_t;

class Standard {
public:
    explicit Standard(std::size_t maxsize) : maxsize_{maxsize} {}
    void put(Item item) {
        {
            std::unique_lock lock{mutex_};
            room_.wait(lock, [&] { return maxsize_ == 0 || items_.size() < maxsize_; });
            items_.push(item);
        }
        filled_.notify_one();
    }
    Item get() {
        Item item = 0;
        {
            std::unique_lock lock{mutex_};
            filled_.wait(lock, [&] { return !items_.empty(); });
            item = items_.front();
            items_.pop();
        }
        if (maxsize_ != 0) room_.notify_one();
        return item;
    }

private:
    const std::size_t maxsize_;
    std::mutex mutex_;
    std::condition_variable filled_;
    std::condition_variable room_;
    std::queue<Item> items_;
};

class Plait {
public:
    explicit Plait(std::size_t maxsize) : queue_{static_cast<std::ptrdiff_t>(maxsize)} {}
    void put(Item item) { queue_.put(item); }
    Item get() { return queue_.get(); }

private:
    plait::threading::Queue<Item> queue_;
};

#ifdef BENCHMARK_TBB
class Tbb {
public:
    explicit Tbb(std::size_t maxsize) {
        if (maxsize != 0) queue_.set_capacity(static_cast<std::ptrdiff_t>(maxsize));
    }
    void put(Item item) { queue_.push(item); }
    Item get() {
        Item item = 0;
        queue_.pop(item);
        return item;
    }

private:
    tbb::concurrent_bounded_queue<Item> queue_;
};
#endif

#ifdef BENCHMARK_MOODYCAMEL
class Moodycamel {
public:
    explicit Moodycamel(std::size_t) {}
    void put(Item item) { queue_.enqueue(item); }
    Item get() {
        Item item = 0;
        queue_.wait_dequeue(item);
        return item;
    }

private:
    moodycamel::BlockingConcurrentQueue<Item> queue_;
};
#endif

#ifdef BENCHMARK_BOOST
class BoostLockfree {
public:
    explicit BoostLockfree(std::size_t) {}
    void put(Item item) {
        while (!queue_.push(item)) std::this_thread::yield();
    }
    Item get() {
        Item item = 0;
        while (!queue_.pop(item)) std::this_thread::yield();
        return item;
    }

private:
    boost::lockfree::queue<Item> queue_{1024};
};
#endif

/// Nanoseconds an item, from the first put to the last get.
template <class Queue>
double stream(std::size_t threads, std::size_t maxsize) {
    const std::size_t each = benchmark::scaled(1'000'000) / threads;
    Queue queue{maxsize};
    std::atomic<Item> sum{0};
    const double time = benchmark::nanoseconds_in_threads(2 * threads, [&](std::size_t number) {
        if (number % 2 == 0) {
            for (std::size_t i = 0; i < each; ++i) queue.put(i);
        } else {
            Item own = 0;
            for (std::size_t i = 0; i < each; ++i) own += queue.get();
            sum += own;
        }
    });
    if (sum != threads * (each * (each - 1) / 2)) std::abort();
    return time / static_cast<double>(threads * each);
}

/// Nanoseconds a put and a get on one thread.
template <class Queue>
double alone() {
    const std::size_t count = benchmark::scaled(2'000'000);
    Queue queue{0};
    // On a second thread: while there is no other, the C library's mutex does without atomics.
    return benchmark::nanoseconds_in_threads(1,
                                             [&](std::size_t) {
                                                 for (std::size_t i = 0; i < count; ++i) {
                                                     queue.put(i);
                                                     benchmark::keep(queue.get());
                                                 }
                                             }) /
           static_cast<double>(count);
}

void compare(std::size_t threads, std::size_t maxsize) {
    const std::string number = std::to_string(threads);
    benchmark::Table table{"C2: " + number + " put and " + number + " get, " +
                               (maxsize == 0 ? "unbounded" : "room for " + std::to_string(maxsize)),
                           benchmark::ns, threads == 1 ? "25" : "40"};
    table.bare("std::queue, mutex, condition variables", [=] { return stream<Standard>(threads, maxsize); });
    table.plait("Queue", [=] { return stream<Plait>(threads, maxsize); });
#ifdef BENCHMARK_TBB
    table.peer("tbb::concurrent_bounded_queue", [=] { return stream<Tbb>(threads, maxsize); });
#endif
    if (maxsize == 0) {
#ifdef BENCHMARK_MOODYCAMEL
        table.peer("moodycamel, blocking, no order among putters", [=] { return stream<Moodycamel>(threads, 0); });
#endif
#ifdef BENCHMARK_BOOST
        table.peer("boost::lockfree::queue, never sleeps", [=] { return stream<BoostLockfree>(threads, 0); });
#endif
    }
    table.run();
}

}  // namespace

int main() {
    for (const std::size_t maxsize : {1024U, 0U})
        for (const std::size_t threads : {1U, 2U}) compare(threads, maxsize);
    benchmark::Table table{"C2: put and get on one thread", benchmark::ns, "none: less than the standard's"};
    table.bare("std::queue, mutex, condition variables", alone<Standard>);
    table.plait("Queue", alone<Plait>);
    table.run();
#ifndef BENCHMARK_TBB
    benchmark::missing("oneTBB");
#endif
#ifndef BENCHMARK_MOODYCAMEL
    benchmark::missing("moodycamel's queue");
#endif
#ifndef BENCHMARK_BOOST
    benchmark::missing("Boost");
#endif
}
