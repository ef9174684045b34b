// SPDX-License-Identifier: MIT
//
// How do two things happen at once, each in a process of its own? And whose child is whose?
//
// Python:
//
//     def sing(): ...
//
//     if __name__ == "__main__":
//         singer, dancer = Process(target=sing, args=("la",)), Process(target=dance)
//         singer.start(); dancer.start()
//         singer.join(); dancer.join()

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>

using namespace std::chrono_literals;
namespace mp = plait::multiprocessing;

void say(const std::string& what) {
    std::ostringstream line;  // in one piece, for both print at once
    line << mp::current_process().name() << ", a child of " << mp::parent_process()->name() << ": " << what << '\n';
    std::cout << line.str() << std::flush;
}

void sing(const std::string& syllable) {
    for (int verse = 1; verse <= 3; ++verse) {
        say(syllable + " " + syllable);
        std::this_thread::sleep_for(20ms);
    }
}

void dance(int steps) {
    for (int step = 1; step <= steps; ++step) {
        say("step " + std::to_string(step));
        std::this_thread::sleep_for(20ms);
    }
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);  // the first line of main, as if __name__ == "__main__" in Python

    mp::Process singer(mp::ProcessOptions{.name = "singer"}, sing, "la");
    mp::Process dancer(mp::ProcessOptions{.name = "dancer"}, dance, 3);
    singer.start();
    dancer.start();
    std::cout << mp::active_children().size() << " children run\n";
    singer.join();
    dancer.join();
    std::cout << "the singer ended with " << singer.exitcode().value() << ", the dancer with "
              << dancer.exitcode().value() << '\n';
}
