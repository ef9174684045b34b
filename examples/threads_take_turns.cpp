// SPDX-License-Identifier: MIT
//
// How do threads share a variable? Under a lock.
//
// Python:
//
//     def deposit(times):
//         global balance
//         for _ in range(times):
//             with lock:
//                 balance += 1
//
//     a = threading.Thread(target=deposit, args=(100_000,))

#include <plait/plait.hpp>

#include <iostream>
#include <mutex>

namespace th = plait::threading;

// [readme]
th::Lock lock;
int balance = 0;

void deposit(int times) {
    for (int i = 0; i < times; ++i) {
        std::scoped_lock guard{lock};  // Python: with lock:
        ++balance;
    }
}

int main() {
    th::Thread a(deposit, 100'000);
    th::Thread b(deposit, 100'000);
    a.start();
    b.start();
    a.join();
    b.join();
    std::cout << balance << '\n';  // 200000, every time
}
// [/readme]
