// SPDX-License-Identifier: MIT
//
// How does a coroutine run side by side with the one that starts it? As a task, by create_task.
//
// Python:
//
//     async def main():
//         task = asyncio.create_task(bake("bread"))
//         print("the table is being laid")
//         await asyncio.sleep(0.05)
//         print("the table is laid")
//         print(await asyncio.ensure_future(task))          # a task already: no other
//         print(await asyncio.ensure_future(bake("cake")))  # a coroutine: becomes one

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <utility>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::Coroutine<std::string> bake(std::string what) {
    std::cout << what << " is put in the oven\n";
    co_await aio::sleep(100ms);
    co_return what + " is ready";
}

// Takes either; Python's libraries do it this way.
template <class Awaitable>
aio::Coroutine<void> serve(Awaitable dish) {
    aio::Task<std::string> task = aio::ensure_future(std::move(dish));
    std::cout << task.name() << ": " << co_await task << '\n';
}

aio::Coroutine<void> dinner() {
    aio::Task<std::string> bread = aio::create_task(bake("bread"));  // begins when this coroutine next waits
    std::cout << "the table is being laid\n";
    co_await aio::sleep(50ms);
    std::cout << "the table is laid\n";

    co_await serve(bread);         // the task that it is
    co_await serve(bake("cake"));  // a coroutine, which becomes one
    std::cout << "and once more: " << bread.result() << '\n';
}

int main() { aio::run(dinner()); }
