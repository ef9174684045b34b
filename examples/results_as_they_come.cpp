// SPDX-License-Identifier: MIT
//
// How are results shown as soon as they are there? With imap_unordered, which gives first what is ready first.
//
// Python:
//
//     with ThreadPool(3) as pool:
//         for name in pool.imap_unordered(brew, ["coffee", "tea", "water"]):
//             print(name, "is ready")

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace th = plait::threading;
using namespace std::chrono_literals;

struct Drink {
    std::string name;
    std::chrono::milliseconds takes;
};

std::string brew(const Drink& drink) {
    std::this_thread::sleep_for(drink.takes);
    return drink.name;
}

int main() {
    th::ThreadPool pool(3);
    const std::vector<Drink> drinks{{"coffee", 300ms}, {"tea", 200ms}, {"water", 100ms}};
    for (const std::string& name : pool.imap_unordered(brew, drinks)) std::cout << name << " is ready\n";

    std::cout << "and in the order of the list:\n";
    for (const std::string& name : pool.imap(brew, drinks)) std::cout << name << " is ready\n";
}
