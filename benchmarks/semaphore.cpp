// SPDX-License-Identifier: MIT
//
// What does it cost to take a permit of a semaphore and give it back, alone and against other threads?

#include <plait/threading/semaphore.hpp>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <semaphore>
#include <string>

#if __has_include(<semaphore.h>)
#  include <semaphore.h>
#  define BENCHMARK_SEM_T
#endif

#include "table.hpp"

namespace {

class ConditionSemaphore {
public:
    explicit ConditionSemaphore(std::ptrdiff_t permits) : permits_{permits} {}
    void acquire() {
        std::unique_lock lock{mutex_};
        released_.wait(lock, [&] { return permits_ > 0; });
        --permits_;
    }
    void release() {
        {
            const std::scoped_lock lock{mutex_};
            ++permits_;
        }
        released_.notify_one();
    }

private:
    std::mutex mutex_;
    std::condition_variable released_;
    std::ptrdiff_t permits_;
};

#if defined(BENCHMARK_SEM_T)
class SystemSemaphore {
public:
    explicit SystemSemaphore(unsigned permits) { ::sem_init(&semaphore_, 0, permits); }
    SystemSemaphore(const SystemSemaphore&) = delete;
    SystemSemaphore& operator=(const SystemSemaphore&) = delete;
    ~SystemSemaphore() { ::sem_destroy(&semaphore_); }
    void acquire() {
        while (::sem_wait(&semaphore_) != 0) {
        }
    }
    void release() { ::sem_post(&semaphore_); }

private:
    ::sem_t semaphore_{};
};
#endif

/// Nanoseconds an acquire and a release of the one permit, with all threads' pairs on one clock.
template <class Semaphore>
double pair(std::size_t threads) {
    const std::size_t pairs = benchmark::scaled(2'000'000) / threads;
    Semaphore semaphore{1};
    std::size_t count = 0;
    const double time = benchmark::nanoseconds_in_threads(threads, [&](std::size_t) {
        for (std::size_t i = 0; i < pairs; ++i) {
            semaphore.acquire();
            benchmark::keep(++count);
            semaphore.release();
        }
    });
    if (count != threads * pairs) std::abort();
    return time / static_cast<double>(count);
}

/// Nanoseconds a round trip of two threads that release each other.
template <class Semaphore>
double round_trip(std::size_t trips) {
    const std::size_t count = benchmark::scaled(trips);
    Semaphore there{0};
    Semaphore back{0};
    return benchmark::nanoseconds_in_threads(2,
                                             [&](std::size_t number) {
                                                 for (std::size_t i = 0; i < count; ++i) {
                                                     if (number == 0) there.release();
                                                     (number == 0 ? back : there).acquire();
                                                     if (number == 1) back.release();
                                                 }
                                             }) /
           static_cast<double>(count);
}

}  // namespace

int main() {
    using plait::threading::BoundedSemaphore;
    using plait::threading::Semaphore;
    for (const std::size_t threads : {1U, 2U, 4U}) {
        benchmark::Table table{
            "C1: acquire, count, release; " + std::to_string(threads) + (threads == 1 ? " thread" : " threads"),
            benchmark::ns, threads == 1 ? "at most 11 ns" : "at most 0.7 of std::mutex"};
        table.bare("std::mutex and condition_variable", [=] { return pair<ConditionSemaphore>(threads); });
#if defined(BENCHMARK_SEM_T)
        table.peer("sem_t", [=] { return pair<SystemSemaphore>(threads); });
#endif
        table.peer("std::counting_semaphore", [=] { return pair<std::counting_semaphore<>>(threads); });
        table.plait("Semaphore", [=] { return pair<Semaphore>(threads); });
        table.plait("BoundedSemaphore", [=] { return pair<BoundedSemaphore>(threads); });
        table.run();
    }
    benchmark::Table table{"C1: two threads release each other, a round trip", benchmark::us, "at most 1 µs"};
    table.bare("std::mutex and condition_variable", [] { return round_trip<ConditionSemaphore>(5'000); });
#if defined(BENCHMARK_SEM_T)
    table.peer("sem_t", [] { return round_trip<SystemSemaphore>(5'000); });
#endif
    table.peer("std::counting_semaphore", [] { return round_trip<std::counting_semaphore<>>(20'000); });
    table.plait("Semaphore", [] { return round_trip<Semaphore>(100'000); });
    table.run();
}
