// SPDX-License-Identifier: MIT
//
// The program hangs: who waits for whom, and where? The task tree tells.
//
// Python 3.14:
//
//     python -m asyncio pstree PID

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

// Two philosophers, two forks, and each takes the left one first.
aio::Coroutine<void> dine(aio::Lock& left, aio::Lock& right) {
    const auto left_fork = co_await left.scoped();
    co_await aio::sleep(10ms);  // a thought
    const auto right_fork = co_await right.scoped();
    std::cout << "eats\n";
}

aio::Coroutine<void> dinner() {
    aio::Lock first_fork;
    aio::Lock second_fork;
    auto plato = aio::create_task(dine(first_fork, second_fork), {.name = "Plato"});
    auto socrates = aio::create_task(dine(second_fork, first_fork), {.name = "Socrates"});
    co_await aio::gather(plato, socrates);
}

int main() {
    aio::EventLoop loop;
    aio::Task<void> evening = loop.create_task(dinner(), {.name = "the evening"});
    loop.call_later(200ms, [&] {
        std::cout << aio::format_task_tree(loop) << '\n';  // print_task_tree(loop) writes it to standard error
        evening.cancel();
    });
    try {
        loop.run_until_complete(evening);
    } catch (const plait::CancelledError&) {
        std::cout << "everybody goes home hungry\n";
    }
}
