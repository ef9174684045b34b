// SPDX-License-Identifier: MIT
//
// What is a coroutine? A function that can stop in its midst, and lets others run until it goes on.
//
// Python:
//
//     async def hello():
//         print("hello")
//         await asyncio.sleep(1)
//         print("hello again")
//
//     asyncio.run(hello())

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::Coroutine<void> hello() {
    std::cout << "hello" << std::endl;
    co_await aio::sleep(1s);
    std::cout << "hello again\n";
}

int main() {
    aio::run(hello());  // calling hello() alone runs nothing of it
}
