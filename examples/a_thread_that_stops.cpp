// SPDX-License-Identifier: MIT
//
// How is a thread asked to end? By the token that its target takes as its first parameter: waits that are given it end,
// too. And where does an exception go that nobody catches? To excepthook, and into the Thread.
//
// Python (which has no such token):
//
//     stop = threading.Event()
//     def watch():
//         while not stop.wait(1):
//             look()

#include <plait/plait.hpp>

#include <exception>
#include <iostream>
#include <stdexcept>
#include <thread>

namespace th = plait::threading;

th::Queue<int> readings;

void watch(plait::StopToken stop) {
    int sum = 0;
    while (!stop.stop_requested()) {
        try {
            sum += readings.get(stop);
        } catch (const plait::QueueEmpty&) {
            break;  // the stop ended the wait
        }
        std::cout << "the sum is " << sum << "\n";
    }
    std::cout << "asked to end\n";
}

int main() {
    th::Thread watcher(th::ThreadOptions{.name = "watcher"}, watch);
    watcher.start();
    for (int reading : {1, 2, 3}) readings.put(reading);
    while (!readings.empty()) std::this_thread::yield();
    watcher.request_stop();
    watcher.join();

    th::Thread faulty([] { throw std::runtime_error("out of paper"); });
    faulty.start();
    faulty.join();
    try {
        if (faulty.exception()) std::rethrow_exception(faulty.exception());
    } catch (const std::exception& error) {
        std::cout << "the thread ended with: " << error.what() << '\n';
    }
}
