// SPDX-License-Identifier: MIT
//
// Three at once: who is first, and what becomes of the others? `wait` sorts tasks, and leaves them to you.
//
// Python:
//
//     tasks = [asyncio.create_task(hello(name, delay)) for name, delay in guests]
//     done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
//     print(done.pop().result(), "is first,", len(pending), "are on their way")
//     done, pending = await asyncio.wait(tasks)
//     print("all", len(done), "are here")

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::Coroutine<std::string> hello(std::string name, std::chrono::milliseconds delay) {
    co_await aio::sleep(delay);
    std::cout << "hello " << name << '\n';
    co_return name;
}

aio::Coroutine<void> party() {
    std::vector<aio::Task<std::string>> guests;
    guests.push_back(aio::create_task(hello("Anna", 300ms)));
    guests.push_back(aio::create_task(hello("Bob", 100ms)));
    guests.push_back(aio::create_task(hello("Cleo", 200ms)));

    const auto early = co_await aio::wait(guests, {.return_when = aio::FIRST_COMPLETED});
    std::cout << early.done[0].result() << " is first, " << early.pending.size() << " are on their way\n";

    const auto all = co_await aio::wait(guests);
    std::cout << "all " << all.done.size() << " are here\n";
}

int main() { aio::run(party()); }
