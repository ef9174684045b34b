// SPDX-License-Identifier: MIT
//
// How does a master share out work among threads, and collect what they found? By a queue there, and a queue back.
//
// Python:
//
//     def worker():
//         while True:
//             try:
//                 number = jobs.get()
//             except queue.ShutDown:
//                 return
//             found.put((number, smallest_factor(number)))
//             jobs.task_done()
//
//     for number in range(1_000_003, 1_000_013):
//         jobs.put(number)
//     jobs.join()

#include <plait/plait.hpp>

#include <iostream>
#include <utility>

namespace th = plait::threading;

th::Queue<int> jobs;
th::PriorityQueue<std::pair<int, int>> found;  // gives the least number first, whoever was first to find

int smallest_factor(int number) {
    for (int factor = 2; factor * factor <= number; ++factor)
        if (number % factor == 0) return factor;
    return number;
}

void worker() {
    for (int number : jobs) {
        found.put({number, smallest_factor(number)});
        jobs.task_done();
    }
}

int main() {
    th::Thread workers[] = {th::Thread(worker), th::Thread(worker), th::Thread(worker)};
    for (th::Thread& thread : workers) thread.start();

    for (int number = 1'000'003; number < 1'000'013; ++number) jobs.put(number);
    jobs.join();      // until task_done was called for each
    jobs.shutdown();  // no more: the workers end

    while (!found.empty()) {
        auto [number, factor] = found.get();
        std::cout << number << (factor == number ? " is prime" : " is divisible by ");
        if (factor != number) std::cout << factor;
        std::cout << '\n';
    }
    for (th::Thread& thread : workers) thread.join();
}
