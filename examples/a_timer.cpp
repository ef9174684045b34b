// SPDX-License-Identifier: MIT
//
// How do I do something later, unless I change my mind? With a Timer.
//
// Python:
//
//     tea = threading.Timer(0.3, lambda: print("The tea is ready."))
//     tea.start()
//     alarm = threading.Timer(3600, sound_the_alarm)
//     alarm.start()
//     alarm.cancel()
//     tea.join()

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>

using namespace std::chrono_literals;
namespace th = plait::threading;

void announce(const char* what) { std::cout << what << " is ready, says " << th::current_thread().name() << ".\n"; }

int main() {
    th::Timer tea(300ms, announce, "The tea");  // fires once, in a thread of its own
    tea.start();

    th::Timer alarm(1h, announce, "The alarm");
    alarm.start();
    if (alarm.cancel()) std::cout << "The alarm will never sound.\n";

    std::cout << "Waiting for the tea...\n";
    tea.join();
    std::cout << std::boolalpha << "Could it still be cancelled? " << tea.cancel() << '\n';
}
