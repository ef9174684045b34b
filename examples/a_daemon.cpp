// SPDX-License-Identifier: MIT
//
// What becomes of a helper process when its program ends? A daemon goes with it, however it ended.
//
// Python:
//
//     helper = Process(target=keep_watch, daemon=True)
//     helper.start()
//     # the program ends, and helper is terminated

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <thread>

using namespace std::chrono_literals;
namespace mp = plait::multiprocessing;

void keep_watch(mp::Event begun) {
    begun.set();
    for (;;) std::this_thread::sleep_for(1h);
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    mp::Event begun;
    mp::Process helper(mp::ProcessOptions{.name = "watch", .daemon = true}, keep_watch, begun);
    helper.start();
    begun.wait();
    std::cout << helper.name() << " runs: " << std::boolalpha << helper.is_alive() << '\n';
    std::cout << "the program ends, and does not wait for it\n";
}
