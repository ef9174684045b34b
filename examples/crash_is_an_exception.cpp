// SPDX-License-Identifier: MIT
//
// What happens when a task of a process pool crashes? Its caller gets an exception, and the pool goes on.
//
// Python, where the same program waits for ever:
//
//     with multiprocessing.Pool(4) as pool:
//         print(pool.map(square, [1, 2, 3]))
//         pool.apply(parse, ["hostile bytes"])

#include <plait/plait.hpp>

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

namespace mp = plait::multiprocessing;

int square(int x) { return x * x; }

int parse(const std::string& bytes) {
    if (bytes.starts_with("hostile")) std::raise(SIGSEGV);  // a parser with a bug
    return static_cast<int>(bytes.size());
}

// [readme]
int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    mp::Pool pool(4);
    for (int x : pool.map(square, std::vector{1, 2, 3})) std::cout << x << '\n';
    try {
        pool.apply(parse, "hostile bytes");
    } catch (const plait::ProcessDied& death) {
        std::cout << death.what() << '\n';  // worker 4711 was killed by SIGSEGV …
    }
    std::cout << pool.apply(parse, "good bytes") << '\n';  // the pool goes on
}
// [/readme]
