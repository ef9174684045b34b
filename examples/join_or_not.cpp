// SPDX-License-Identifier: MIT
//
// Must one wait for a process? Its end of scope does; who wants to know more joins, with patience or without.
//
// Python:
//
//     child = Process(target=work)
//     child.start()
//     child.join(0.01)
//     if child.is_alive():
//         child.terminate()
//     child.join()
//     print(child.exitcode)    # -15

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
namespace mp = plait::multiprocessing;

void work(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds{milliseconds}); }

void fail() { throw std::out_of_range("there is no such page"); }

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    {
        mp::Process quick(work, 10);
        quick.start();
    }  // not joined by hand: its destructor waits for it
    std::cout << "the quick one has ended\n";

    mp::Process slow(work, 60'000);
    slow.start();
    if (!slow.join(10ms)) slow.terminate();
    slow.join();
    std::cout << "the slow one was " << slow.exit_status().text << '\n';

    mp::Process failing(fail);
    failing.start();  // what leaves the target is printed over there, and kept
    failing.join();
    try {
        if (failing.exception()) std::rethrow_exception(failing.exception());
    } catch (const std::out_of_range& error) {
        std::cout << "the failing one: " << error.what() << '\n';
    }
}
