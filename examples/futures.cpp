// SPDX-License-Identifier: MIT
//
// How does one call something now and look at the result later? By its future.
//
// Python:
//
//     with ThreadPoolExecutor(2) as pool:
//         future = pool.submit(pow, 323, 12)
//         future.add_done_callback(print)
//         print(future.result())
//         texts = {pool.submit(read_file, name): name for name in names}
//         for future in as_completed(texts):
//             ...

#include <plait/plait.hpp>

#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace th = plait::threading;

const std::map<std::string, std::string> files{{"poem.txt", "Tyger Tyger"}, {"list.txt", "milk, eggs"}};

std::string read_file(const std::string& name) {
    const auto file = files.find(name);
    if (file == files.end()) throw std::runtime_error("there is no " + name);
    return file->second;
}

int main() {
    th::ThreadPool pool(2);

    plait::Future<std::string> poem = pool.apply_async(read_file, "poem.txt");
    poem.add_done_callback([](const plait::Future<std::string>& future) {
        std::cout << "read: " << future.get() << '\n';  // on the pool's thread
    });
    poem.wait();

    // Which call a future is of: it may be a key.
    std::unordered_map<plait::Future<std::string>, std::string> names;
    std::vector<plait::Future<std::string>> futures;
    for (const std::string name : {"list.txt", "lost.txt"}) {
        futures.push_back(pool.apply_async(read_file, name));
        names[futures.back()] = name;
    }
    int failed = 0;
    for (const auto& future : plait::as_completed(futures)) {
        try {
            const std::string& text = future.get();
            std::cout << names[future] << ": " << text << '\n';
        } catch (const std::runtime_error& error) {
            std::cout << names[future] << " failed: " << error.what() << '\n';
            ++failed;
        }
    }
    return failed == 1 ? 0 : 1;
}
