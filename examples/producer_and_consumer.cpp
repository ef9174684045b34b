// SPDX-License-Identifier: MIT
//
// How does one thread hand its work to another, and say that there will be no more? By a queue and its shutdown.
//
// Python:
//
//     def producer():
//         for n in range(1, 6):
//             numbers.put(n)
//         numbers.shutdown()
//
//     def consumer():
//         while True:
//             try:
//                 n = numbers.get()
//             except queue.ShutDown:
//                 return
//             print(n, "squared is", n * n)

#include <plait/plait.hpp>

#include <iostream>

namespace th = plait::threading;

th::Queue<int> numbers(2);  // with more than two in it, the producer waits for the consumer

void producer() {
    for (int n = 1; n <= 5; ++n) numbers.put(n);
    numbers.shutdown();
}

void consumer() {
    for (int n : numbers)  // takes each out, and ends after the shutdown, when all have been taken
        std::cout << n << " squared is " << n * n << '\n';
}

int main() {
    th::Thread a(producer);
    th::Thread b(consumer);
    a.start();
    b.start();
    a.join();
    b.join();
}
