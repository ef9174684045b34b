// SPDX-License-Identifier: MIT
//
// What does it cost to wait for a thousand things at once? One thread, and the time of the longest.
//
// Python:
//
//     async def sleeper(i):
//         await asyncio.sleep(i / 2000)
//         return i
//
//     async def main():
//         print(sum(await asyncio.gather(*(sleeper(i) for i in range(1000)))))

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <utility>
#include <vector>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

constexpr int sleepers = 1000;

aio::Coroutine<int> sleeper(int i) {
    co_await aio::sleep(i * 500us);  // up to half a second
    co_return i;
}

aio::Coroutine<int> sleep_all() {
    std::vector<aio::Coroutine<int>> all;
    for (int i = 0; i < sleepers; ++i) all.push_back(sleeper(i));
    int sum = 0;
    for (const int i : co_await aio::gather(std::move(all))) sum += i;
    co_return sum;
}

int main() {
    const auto begin = std::chrono::steady_clock::now();
    std::cout << aio::run(sleep_all()) << " is the sum of what " << sleepers << " sleepers gave\n";
    const auto took = std::chrono::steady_clock::now() - begin;
    std::cout << "one after the other they would have taken " << sleepers * (sleepers - 1) / 2 * 500us / 1s
              << " s; took " << std::chrono::duration<double>(took).count() << " s\n";
}
