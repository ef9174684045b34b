// SPDX-License-Identifier: MIT
//
// What do processes count when they count in one place? Too little without a lock, and all with it.
//
// Python:
//
//     def count(counter, times):
//         for _ in range(times):
//             with counter.get_lock():
//                 counter.value += 1
//
//     counter = Value("l", 0)

#include <plait/plait.hpp>

#include <iostream>
#include <mutex>

namespace mp = plait::multiprocessing;

constexpr int times = 2'000'000;

void count_without(mp::Value<long> counter, mp::Barrier both) {
    both.wait();  // begin together
    for (int i = 0; i < times; ++i) {
        // Read, add and write are three steps, and another process may come between.
        const volatile long before = *counter;
        *counter = before + 1;
    }
}

void count_with(mp::Value<long> counter, mp::Barrier both) {
    both.wait();
    for (int i = 0; i < times; ++i) {
        const std::scoped_lock guard{counter.get_lock()};
        *counter += 1;
    }
}

long total(void (*count)(mp::Value<long>, mp::Barrier)) {
    mp::Value<long> counter(0);
    mp::Barrier both(2);
    mp::Process one(count, counter, both);
    mp::Process other(count, counter, both);
    one.start();
    other.start();
    one.join();
    other.join();
    return *counter;
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    std::cout << "two processes count to " << times << " each\n";
    std::cout << "without the lock: " << total(count_without) << '\n';
    std::cout << "with the lock:    " << total(count_with) << '\n';
}
