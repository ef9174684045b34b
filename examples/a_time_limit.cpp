// SPDX-License-Identifier: MIT
//
// How is a task ended that takes too long? The pool has a time limit: its process is killed, and its caller told.
//
// Python's Pool has no such thing; pebble's has:
//
//     with pebble.ProcessPool(max_workers=2) as pool:
//         future = pool.schedule(collatz, args=[n], timeout=0.5)
//         try:
//             print(future.result())
//         except TimeoutError:
//             print("took too long")

#include <plait/plait.hpp>

#include <chrono>
#include <cstddef>
#include <iostream>
#include <vector>

namespace mp = plait::multiprocessing;
using namespace std::chrono_literals;

// How many steps from `n` to 1: nobody has proved that it ends, and from 0 it does not.
int collatz(unsigned long n) {
    int steps = 0;
    for (; n != 1; ++steps) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    return steps;
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    mp::Pool pool(mp::PoolOptions{.processes = 2, .task_timeout = 1s});
    std::vector<plait::Future<int>> results;
    const std::vector<unsigned long> numbers{27, 0, 97};
    for (const unsigned long n : numbers) results.push_back(pool.apply_async(collatz, n));

    for (std::size_t i = 0; i < numbers.size(); ++i) {
        std::cout << numbers[i] << ": ";
        try {
            std::cout << results[i].get() << " steps\n";
        } catch (const plait::TaskTimeoutError&) {
            std::cout << "takes too long\n";
        }
    }
    std::cout << "the pool goes on: " << pool.apply(collatz, 6UL) << " steps from 6\n";
}
