// SPDX-License-Identifier: MIT
//
// What does it cost to lock and unlock what two processes share, alone and against each other?

#include <plait/multiprocessing/lock.hpp>
#include <plait/multiprocessing/rlock.hpp>

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>

#include "table.hpp"

#if __has_include(<boost/interprocess/sync/interprocess_mutex.hpp>)
#  include <boost/interprocess/sync/interprocess_mutex.hpp>
#  define BENCHMARK_BOOST
#endif

namespace {

/// A pthread mutex that processes share.
template <int robustness>
class SharedMutex {
public:
    SharedMutex() {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, robustness);
        pthread_mutex_init(&mutex_, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    void lock() {
        if (pthread_mutex_lock(&mutex_) != 0) std::abort();
    }
    void unlock() { pthread_mutex_unlock(&mutex_); }

private:
    pthread_mutex_t mutex_;
};

/// What the processes of one measurement share.
template <class Lock>
struct Arena {
    Lock lock;
    std::size_t count = 0;
    std::atomic<std::size_t> ready{0};
    std::atomic<bool> go{false};
    std::atomic<std::size_t> done{0};
};

template <class Lock>
void count_to(Arena<Lock>& arena, std::size_t pairs) {
    ++arena.ready;
    while (!arena.go) sched_yield();
    for (std::size_t i = 0; i < pairs; ++i) {
        arena.lock.lock();
        benchmark::keep(++arena.count);
        arena.lock.unlock();
    }
    ++arena.done;
}

/// Nanoseconds a pair of lock and unlock, with all processes' pairs on one clock.
template <class Lock>
double pair(std::size_t processes) {
    const std::size_t pairs = benchmark::scaled(2'000'000) / processes;
    void* const memory = mmap(nullptr, sizeof(Arena<Lock>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    auto* const arena = new (memory) Arena<Lock>;
    for (std::size_t i = 0; i < processes; ++i) {
        const pid_t child = fork();
        if (child < 0) std::abort();
        if (child > 0) continue;
        count_to(*arena, pairs);
        _exit(0);
    }
    while (arena->ready != processes) sched_yield();
    const double time = benchmark::nanoseconds([&] {
        arena->go = true;
        for (std::size_t i = 0; i < processes; ++i)
            if (wait(nullptr) < 0) std::abort();
    });
    const std::size_t count = arena->count;
    if (count != processes * pairs) std::abort();
    arena->~Arena<Lock>();
    munmap(memory, sizeof(Arena<Lock>));
    return time / static_cast<double>(count);
}

}  // namespace

int main() {
    for (const std::size_t processes : {1U, 2U}) {
        benchmark::Table table{"D4: lock, count, unlock what processes share; " + std::to_string(processes) +
                                   (processes == 1 ? " process" : " processes"),
                               benchmark::ns,
                               processes == 1 ? "at most 14.5 where a robust mutex takes 13 to 14"
                                              : "at most 50 where a robust mutex takes 50"};
        table.bare("robust pthread mutex", [=] { return pair<SharedMutex<PTHREAD_MUTEX_ROBUST>>(processes); });
        table.peer("plain pthread mutex", [=] { return pair<SharedMutex<PTHREAD_MUTEX_STALLED>>(processes); });
#if defined(BENCHMARK_BOOST)
        table.peer("Boost interprocess_mutex",
                   [=] { return pair<boost::interprocess::interprocess_mutex>(processes); });
#endif
        table.plait("Lock", [=] { return pair<plait::multiprocessing::Lock>(processes); });
        table.plait("RLock", [=] { return pair<plait::multiprocessing::RLock>(processes); });
        table.run();
    }
#if !defined(BENCHMARK_BOOST)
    benchmark::missing("Boost");
#endif
}
