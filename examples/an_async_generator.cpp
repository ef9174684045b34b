// SPDX-License-Identifier: MIT
//
// How does a coroutine give its results one by one, and wait in between? As an async generator.
//
// Python:
//
//     async def readings(n):
//         for i in range(n):
//             await asyncio.sleep(0.1)
//             yield 20 + i % 3
//
//     async for celsius in readings(5):
//         print(celsius, "degrees")

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::AsyncGenerator<int> readings(int n) {
    for (int i = 0; i < n; ++i) {
        co_await aio::sleep(100ms);
        co_yield 20 + i % 3;
    }
}

aio::AsyncGenerator<double> fahrenheit(aio::AsyncGenerator<int> celsius) {
    while (const auto reading = co_await celsius.next()) co_yield *reading * 1.8 + 32;
}

aio::Coroutine<void> watch() {
    auto thermometer = fahrenheit(readings(5));
    while (const auto degrees = co_await thermometer.next()) std::cout << *degrees << " °F" << std::endl;
    std::cout << "the battery is empty\n";
}

int main() { aio::run(watch()); }
