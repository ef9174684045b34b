// SPDX-License-Identifier: MIT
//
// What do four workers do with five tasks? Four begin at once, and whoever is done first takes the fifth.
//
// Python, as the textbooks have it:
//
//     def long_time_task(name):
//         time.sleep(0.3)
//         return f"task {name} is done"
//
//     if __name__ == "__main__":
//         with multiprocessing.Pool(4) as pool:
//             results = [pool.apply_async(long_time_task, (i,)) for i in range(5)]
//             pool.close()
//             pool.join()
//         for result in results:
//             print(result.get())

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace mp = plait::multiprocessing;
using namespace std::chrono_literals;

std::string long_time_task(int name) {
    std::this_thread::sleep_for(300ms);
    return "task " + std::to_string(name) + " is done";
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    mp::Pool pool(4);
    std::vector<plait::Future<std::string>> results;
    for (int i = 0; i < 5; ++i) results.push_back(pool.apply_async(long_time_task, i));

    std::cout << "waiting for all of them\n";
    pool.close();  // no more tasks
    pool.join();   // until these are done, and the workers gone

    for (const auto& result : results) std::cout << result.get() << '\n';
}
