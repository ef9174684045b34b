// SPDX-License-Identifier: MIT
//
// How do three waits take the time of one? Gathered in an event loop.
//
// Python:
//
//     async def hello(name):
//         print("hello", name)
//         await asyncio.sleep(1)
//         return len(name)
//
//     a, b, c = await asyncio.gather(hello("a"), hello("bb"), hello("ccc"))

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

// [readme]
aio::Coroutine<int> hello(std::string name) {
    std::cout << "hello " << name << '\n';
    co_await aio::sleep(1s);
    co_return static_cast<int>(name.size());
}

aio::Coroutine<int> all() {
    auto [a, b, c] = co_await aio::gather(hello("a"), hello("bb"), hello("ccc"));
    co_return a + b + c;
}

int main() {
    std::cout << aio::run(all()) << '\n';  // 6, after one second
}
// [/readme]
