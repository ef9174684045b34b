// SPDX-License-Identifier: MIT
//
// What does it cost to lock and unlock, alone and against other threads?

#include <plait/threading/lock.hpp>
#include <plait/threading/rlock.hpp>

#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <string>

#include "table.hpp"

namespace {

/// A std::mutex that is tried for a while before its thread sleeps.
class SpinningMutex {
public:
    void lock() {
        for (int i = 0; i < 100; ++i) {
            if (mutex_.try_lock()) return;
            plait::detail::relax_processor();
        }
        mutex_.lock();
    }
    void unlock() { mutex_.unlock(); }

private:
    std::mutex mutex_;
};

/// Nanoseconds a pair of lock and unlock, with all threads' pairs on one clock.
template <class Lock>
double pair(std::size_t threads) {
    const std::size_t pairs = benchmark::scaled(2'000'000) / threads;
    Lock lock;
    std::size_t count = 0;
    // Also one thread is a second one here: while there is no other, the C library's mutex does without atomics.
    const double time = benchmark::nanoseconds_in_threads(threads, [&](std::size_t) {
        for (std::size_t i = 0; i < pairs; ++i) {
            lock.lock();
            benchmark::keep(++count);
            lock.unlock();
        }
    });
    if (count != threads * pairs) std::abort();
    return time / static_cast<double>(count);
}

}  // namespace

int main() {
    for (const std::size_t threads : {1U, 2U, 4U}) {
        benchmark::Table table{
            "C1: lock, count, unlock; " + std::to_string(threads) + (threads == 1 ? " thread" : " threads"),
            benchmark::ns, threads == 1 ? "at most 1.1 of the standard's" : "at most 0.7 of the standard's"};
        table.bare("std::mutex", [=] { return pair<std::mutex>(threads); });
        table.peer("std::mutex, after a hundred tries", [=] { return pair<SpinningMutex>(threads); });
        table.peer("std::recursive_mutex", [=] { return pair<std::recursive_mutex>(threads); });
        table.plait("Lock", [=] { return pair<plait::threading::Lock>(threads); });
        table.plait("RLock", [=] { return pair<plait::threading::RLock>(threads); });
        table.run();
    }
}
