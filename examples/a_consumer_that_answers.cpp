// SPDX-License-Identifier: MIT
//
// How do producer and consumer take turns without threads, queues, or locks? The consumer is a generator: it yields its
// answer, and gets what the producer sends.
//
// Python:
//
//     def consumer():
//         answer = ""
//         while True:
//             n = yield answer
//             if not n:
//                 return
//             print("[CONSUMER] consuming", n)
//             answer = "200 OK"
//
//     def produce(c):
//         c.send(None)
//         for n in range(1, 6):
//             print("[PRODUCER] producing", n)
//             answer = c.send(n)
//             print("[PRODUCER] consumer returned", answer)
//         c.close()

#include <plait/plait.hpp>

#include <iostream>
#include <string>

plait::Generator<std::string, int> consumer() {
    std::string answer;
    while (true) {
        const int n = co_yield answer;
        if (n == 0) co_return;
        std::cout << "[CONSUMER] consuming " << n << '\n';
        answer = "200 OK";
    }
}

void produce(plait::Generator<std::string, int> c) {
    c.next();  // runs to the first co_yield
    for (int n = 1; n <= 5; ++n) {
        std::cout << "[PRODUCER] producing " << n << '\n';
        const std::string answer = c.send(n);
        std::cout << "[PRODUCER] consumer returned " << answer << '\n';
    }
    c.close();
}

int main() { produce(consumer()); }
