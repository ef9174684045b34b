// SPDX-License-Identifier: MIT
//
// How long do you wait for an answer? `timeout` cancels what takes too long; the answerer may still tidy up.
//
// Python:
//
//     async def answer(question, takes):
//         try:
//             await asyncio.sleep(takes)
//             return 42
//         except asyncio.CancelledError:
//             print("was asked to stop, and puts its books away")
//             raise
//
//     try:
//         async with asyncio.timeout(0.1):
//             print(await answer("the meaning of life", 10))
//     except TimeoutError:
//         print("too late")

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::Coroutine<int> answer(std::string question, std::chrono::milliseconds takes) {
    try {
        co_await aio::sleep(takes);
        co_return 42;
    } catch (const plait::CancelledError&) {  // no std::exception: nobody swallows it by accident
        std::cout << question << ": was asked to stop, and puts its books away\n";
        throw;
    }
}

aio::Coroutine<void> ask() {
    try {
        std::cout << co_await aio::timeout(1s, answer("six times seven", 10ms)) << '\n';
        std::cout << co_await aio::timeout(100ms, answer("the meaning of life", 10s)) << '\n';
    } catch (const plait::TimeoutError&) {
        std::cout << "too late\n";
    }
}

int main() { aio::run(ask()); }
