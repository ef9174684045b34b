// SPDX-License-Identifier: MIT
//
// Why does a counter need a lock? Two threads that both add and write back overwrite each other's work.
//
// Python:
//
//     def count(times):
//         global counter
//         for _ in range(times):
//             value = counter      # both threads may read the same value here,
//             counter = value + 1  # and then one of the two additions is lost
//
//     def count_locked(times):
//         for _ in range(times):
//             with lock:
//                 ...

#include <plait/plait.hpp>

#include <atomic>
#include <iostream>
#include <mutex>

namespace th = plait::threading;

// An atomic int makes each single read and write whole. What it does not do is keep the two together.
std::atomic<int> counter{0};
th::Lock lock;

void add_one() {
    const int value = counter;
    counter = value + 1;
}

void count(int times) {
    for (int i = 0; i < times; ++i) add_one();
}

void count_locked(int times) {
    for (int i = 0; i < times; ++i) {
        std::scoped_lock guard{lock};  // Python: with lock:
        add_one();
    }
}

int run_two_threads(void (*target)(int)) {
    counter = 0;
    th::Thread a(target, 1'000'000);
    th::Thread b(target, 1'000'000);
    a.start();
    b.start();
    a.join();
    b.join();
    return counter;
}

int main() {
    const int unlocked = run_two_threads(count);
    std::cout << "without the lock: " << unlocked << ", " << 2'000'000 - unlocked << " lost\n";
    std::cout << "with the lock:    " << run_two_threads(count_locked) << '\n';
}
