// SPDX-License-Identifier: MIT
//
// What does a pool of two threads add to a call, and to a loop?

#include <plait/threading/pool.hpp>

#ifdef BENCHMARK_ASIO
#  include <asio/post.hpp>
#  include <asio/thread_pool.hpp>
#endif
#ifdef BENCHMARK_TBB
#  include <tbb/blocked_range.h>
#  include <tbb/global_control.h>
#  include <tbb/parallel_for.h>
#  include <tbb/task_arena.h>
#  include <tbb/task_group.h>
#endif

#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "table.hpp"

namespace {

using benchmark::nanoseconds;
using benchmark::scaled;

constexpr std::size_t workers = 2;

/// The pool that everybody writes first: a deque under a mutex.
class PlainPool {
public:
    PlainPool() {
        for (std::size_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
    }
    PlainPool(const PlainPool&) = delete;
    PlainPool& operator=(const PlainPool&) = delete;
    ~PlainPool() {
        {
            const std::scoped_lock lock{mutex_};
            closed_ = true;
        }
        more_.notify_all();
        for (auto& thread : threads_) thread.join();
    }
    void post(std::function<void()> call) {
        {
            const std::scoped_lock lock{mutex_};
            calls_.push_back(std::move(call));
        }
        more_.notify_one();
    }

private:
    void work() {
        std::unique_lock lock{mutex_};
        for (;;) {
            more_.wait(lock, [&] { return closed_ || !calls_.empty(); });
            if (calls_.empty()) return;
            const auto call = std::move(calls_.front());
            calls_.pop_front();
            lock.unlock();
            call();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<std::function<void()>> calls_;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

/// How many calls have run. Each thread counts for itself, so that the calls share nothing.
class Counts {
public:
    static void add() {
        static thread_local Count& own = counts[next++ % size];
        own.value.store(own.value.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    static std::size_t sum() {
        std::size_t total = 0;
        for (const Count& count : counts) total += count.value.load(std::memory_order_relaxed);
        return total;
    }

private:
    struct alignas(64) Count {
        std::atomic<std::size_t> value;
    };
    static constexpr std::size_t size = 1024;  // more than there are threads in all rounds
    static inline Count counts[size];
    static inline std::atomic<std::size_t> next{0};
};

/// Nanoseconds a call, from the first post until the last call has run.
template <class Post>
double posts(Post post) {
    const std::size_t count = scaled(1'000'000);
    const std::size_t all = Counts::sum() + count;
    return nanoseconds([&] {
               for (std::size_t i = 0; i < count; ++i) post();
               while (Counts::sum() != all) std::this_thread::sleep_for(std::chrono::microseconds{20});
           }) /
           static_cast<double>(count);
}

/// Nanoseconds a call with a future; all are read in the order of submission.
template <class Submit>
double results(Submit submit) {
    const std::size_t count = scaled(1'000'000);
    std::size_t sum = 0;
    const double time = nanoseconds([&] {
        std::vector<decltype(submit(std::size_t{0}))> futures;
        futures.reserve(count);
        for (std::size_t i = 0; i < count; ++i) futures.push_back(submit(i));
        for (auto& future : futures) sum += future.get();
    });
    if (sum != count * (count - 1) / 2) std::abort();
    return time / static_cast<double>(count);
}

template <class Post>
std::future<std::size_t> promised(std::size_t i, Post post) {
    auto promise = std::make_shared<std::promise<std::size_t>>();
    auto future = promise->get_future();
    post([promise = std::move(promise), i] { promise->set_value(i); });
    return future;
}

constexpr unsigned fibonacci_of = 30;
constexpr unsigned fibonacci_of_futures = 24;

unsigned serial(unsigned n) { return n < 2 ? n : serial(n - 1) + serial(n - 2); }

unsigned invoked(plait::threading::ThreadPool& pool, unsigned n) {
    if (n < 2) return n;
    unsigned left = 0;
    unsigned right = 0;
    pool.parallel_invoke([&] { left = invoked(pool, n - 1); }, [&] { right = invoked(pool, n - 2); });
    return left + right;
}

unsigned with_futures(plait::threading::ThreadPool& pool, unsigned n) {
    if (n < 2) return n;
    auto left = pool.apply_async([&pool, n] { return with_futures(pool, n - 1); });
    const unsigned right = with_futures(pool, n - 2);
    return left.get() + right;
}

/// The sum of the numbers from `first` on, `size` of them, by tens.
std::size_t serial_tree(std::size_t first, std::size_t size) {
    if (size == 1) return first;
    std::size_t sum = 0;
    for (std::size_t i = 0; i < 10; ++i) sum += serial_tree(first + i * (size / 10), size / 10);
    return sum;
}

std::size_t invoked_tree(plait::threading::ThreadPool& pool, std::size_t first, std::size_t size) {
    if (size == 1) return first;
    std::size_t sums[10];
    const auto part = [&](std::size_t i) {
        return [&, i] { sums[i] = invoked_tree(pool, first + i * (size / 10), size / 10); };
    };
    pool.parallel_invoke(part(0), part(1), part(2), part(3), part(4), part(5), part(6), part(7), part(8), part(9));
    std::size_t sum = 0;
    for (const std::size_t each : sums) sum += each;
    return sum;
}

double curve(double x) { return std::sqrt(x) * 1.0001 + 0.5; }

#ifdef BENCHMARK_TBB
unsigned forked(unsigned n) {
    if (n < 2) return n;
    unsigned left = 0;
    tbb::task_group group;
    group.run([&left, n] { left = forked(n - 1); });
    const unsigned right = forked(n - 2);
    group.wait();
    return left + right;
}

std::size_t forked_tree(std::size_t first, std::size_t size) {
    if (size == 1) return first;
    std::size_t sums[10];
    tbb::task_group group;
    for (std::size_t i = 0; i < 10; ++i)
        group.run([&sums, first, size, i] { sums[i] = forked_tree(first + i * (size / 10), size / 10); });
    group.wait();
    std::size_t sum = 0;
    for (const std::size_t each : sums) sum += each;
    return sum;
}
#endif

}  // namespace

int main() {
    plait::threading::ThreadPool pool(workers);
    PlainPool plain;
#ifdef BENCHMARK_ASIO
    asio::thread_pool asio_pool{workers};
#else
    benchmark::missing("Asio");
#endif
#ifdef BENCHMARK_TBB
    const tbb::global_control three{tbb::global_control::max_allowed_parallelism, workers + 1};
    tbb::task_arena arena{workers + 1, 1};  // the submitting thread has a place of its own
#else
    benchmark::missing("oneTBB");
#endif
    {
        benchmark::Table table{"A1: an empty call from outside, until all of a million have run", benchmark::ns,
                               "at most 50 ns"};
        table.bare("std::deque and std::mutex", [&] { return posts([&] { plain.post([] { Counts::add(); }); }); });
#ifdef BENCHMARK_ASIO
        table.peer("asio::thread_pool, post",
                   [&] { return posts([&] { asio::post(asio_pool, [] { Counts::add(); }); }); });
#endif
#ifdef BENCHMARK_TBB
        table.peer("tbb::task_arena, enqueue", [&] { return posts([&] { arena.enqueue([] { Counts::add(); }); }); });
        table.peer("tbb::task_group, run and wait", [&] {
            const std::size_t count = scaled(1'000'000);
            return nanoseconds([&] {
                       arena.execute([&] {
                           tbb::task_group group;
                           for (std::size_t i = 0; i < count; ++i) group.run([] { Counts::add(); });
                           group.wait();
                       });
                   }) /
                   static_cast<double>(count);
        });
#endif
        table.plait("ThreadPool::post", [&] { return posts([&] { pool.post([] { Counts::add(); }); }); });
        table.plait("ThreadPool::apply_async, future dropped",
                    [&] { return posts([&] { static_cast<void>(pool.apply_async([] { Counts::add(); })); }); });
        table.run();
    }
    {
        benchmark::Table table{"A2: a call with a future, a million, all read in order", benchmark::ns,
                               "at most 100 ns"};
        table.bare("std::promise and future, on one thread", [] {
            return results([](std::size_t i) {
                std::promise<std::size_t> promise;
                promise.set_value(i);
                return promise.get_future();
            });
        });
        table.peer("std::deque and std::mutex, std::promise", [&] {
            return results([&](std::size_t i) { return promised(i, [&](auto call) { plain.post(std::move(call)); }); });
        });
#ifdef BENCHMARK_TBB
        table.peer("tbb::task_arena, std::promise", [&] {
            return results(
                [&](std::size_t i) { return promised(i, [&](auto call) { arena.enqueue(std::move(call)); }); });
        });
#endif
        table.plait("ThreadPool::apply_async",
                    [&] { return results([&](std::size_t i) { return pool.apply_async([i] { return i; }); }); });
        table.run();
    }
    {
        benchmark::Table table{"A3: fib(30) by fork and join, no cut-off, 1.35 million calls", benchmark::ms,
                               "at most 20 ms"};
        table.bare("plain recursion", [] {
            return nanoseconds([] {
                unsigned n = fibonacci_of;
                asm volatile("" : "+r"(n));
                benchmark::keep(serial(n));
            });
        });
#ifdef BENCHMARK_TBB
        tbb::task_arena two{workers, 1};
        table.peer("tbb::task_group",
                   [&] { return nanoseconds([&] { two.execute([] { benchmark::keep(forked(fibonacci_of)); }); }); });
#endif
        table.plait("ThreadPool::parallel_invoke", [&] {
            return nanoseconds([&] { benchmark::keep(pool.apply([&] { return invoked(pool, fibonacci_of); })); });
        });
        table.run();
    }
    {
        benchmark::Table table{"A3, a future for each: fib(24), 75,024 calls", benchmark::ms, "none"};
        table.bare("plain recursion", [] {
            return nanoseconds([] {
                unsigned n = fibonacci_of_futures;
                asm volatile("" : "+r"(n));
                benchmark::keep(serial(n));
            });
        });
        table.plait("ThreadPool::apply_async in its own calls", [&] {
            return nanoseconds(
                [&] { benchmark::keep(pool.apply([&] { return with_futures(pool, fibonacci_of_futures); })); });
        });
        table.run();
    }
    {
        constexpr std::size_t leaves = 1'000'000;
        benchmark::Table table{"A5: a million leaves, tens of forks, their numbers' sum", benchmark::ms,
                               "at most 8 ms"};
        table.bare("plain recursion", [] {
            return nanoseconds([] {
                std::size_t size = leaves;
                asm volatile("" : "+r"(size));
                benchmark::keep(serial_tree(0, size));
            });
        });
#ifdef BENCHMARK_TBB
        tbb::task_arena two{workers, 1};
        table.peer("tbb::task_group",
                   [&] { return nanoseconds([&] { two.execute([] { benchmark::keep(forked_tree(0, leaves)); }); }); });
#endif
        table.plait("ThreadPool::parallel_invoke", [&] {
            return nanoseconds([&] { benchmark::keep(pool.apply([&] { return invoked_tree(pool, 0, leaves); })); });
        });
        table.run();
    }
    {
        std::vector<double> x(scaled(10'000'000), 2.0);
        std::vector<double> y(x.size());
        const auto part = [&](std::size_t first, std::size_t last) {
            for (std::size_t i = first; i < last; ++i) y[i] = curve(x[i]);
        };
        benchmark::Table table{"A4: y = sqrt(x) * 1.0001 + 0.5 for ten million doubles", benchmark::ms,
                               "at most 1.03 of the best"};
        table.bare("two std::threads, half each", [&] {
            return benchmark::nanoseconds_in_threads(workers, [&](std::size_t number) {
                part(number * x.size() / workers, (number + 1) * x.size() / workers);
            });
        });
        table.peer("a plain loop", [&] { return nanoseconds([&] { part(0, x.size()); }); });
#ifdef BENCHMARK_TBB
        tbb::task_arena two{workers, 1};
        table.peer("tbb::parallel_for", [&] {
            return nanoseconds([&] {
                two.execute([&] {
                    tbb::parallel_for(tbb::blocked_range<std::size_t>{0, x.size()},
                                      [&](const auto& range) { part(range.begin(), range.end()); });
                });
            });
        });
#endif
        table.plait("ThreadPool::parallel_for", [&] {
            return nanoseconds(
                [&] { pool.parallel_for(std::size_t{0}, x.size(), [&](std::size_t i) { y[i] = curve(x[i]); }); });
        });
        table.run();
    }
}
