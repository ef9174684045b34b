// SPDX-License-Identifier: MIT
//
// How do threads start together? At a barrier. Five runners come to one of three: three start, two wait for a third
// who never comes, and are told so.
//
// Python:
//
//     barrier = threading.Barrier(3)
//
//     def run(name):
//         try:
//             barrier.wait(timeout=0.2)
//             print(name, "starts")
//         except threading.BrokenBarrierError:
//             print(name, "gives up")

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <mutex>
#include <string>
#include <vector>

namespace th = plait::threading;
using namespace std::chrono_literals;

th::Barrier barrier(3);
th::Lock output;
int started = 0;
int gave_up = 0;

void run(const std::string& name) {
    bool starts = true;
    try {
        barrier.wait(1s);
    } catch (const plait::BrokenBarrierError&) {
        starts = false;
    }
    std::scoped_lock guard{output};
    ++(starts ? started : gave_up);
    std::cout << name << (starts ? " starts\n" : " gives up\n");
}

int main() {
    std::vector<th::Thread> runners;
    for (const char* name : {"Ada", "Grace", "Barbara", "Edsger", "Tony"}) runners.emplace_back(run, std::string(name));
    for (auto& runner : runners) runner.start();
    for (auto& runner : runners) runner.join();
    std::cout << started << " started, " << gave_up << " gave up\n";
    return started == 3 && gave_up == 2 ? 0 : 1;
}
