// SPDX-License-Identifier: MIT
//
// One of several tasks fails: what about the others? A group cancels them, waits for their end, and tells every error.
//
// Python:
//
//     try:
//         async with asyncio.TaskGroup() as group:
//             group.create_task(download("index.html", 0.05))
//             group.create_task(download("broken.html", 0.1))
//             group.create_task(download("film.mp4", 10))
//     except* ValueError as errors:
//         print(*errors.exceptions)

#include <plait/plait.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::Coroutine<void> download(std::string name, std::chrono::milliseconds takes) {
    try {
        co_await aio::sleep(takes);
    } catch (const plait::CancelledError&) {
        std::cout << name << " is cancelled\n";
        throw;
    }
    if (name == "broken.html") throw std::runtime_error(name + ": 404 not found");
    std::cout << name << " is there\n";
}

aio::Coroutine<void> download_all() {
    try {
        co_await aio::task_group([](aio::TaskGroup& group) -> aio::Coroutine<void> {
            group.create_task(download("index.html", 50ms));
            group.create_task(download("broken.html", 100ms));
            group.create_task(download("film.mp4", 10s));
            co_return;
        });  // here all three have ended
    } catch (const plait::ExceptionGroup& group) {
        std::cout << group.what() << '\n';
        for (const std::exception_ptr& error : group.exceptions()) {
            try {
                std::rethrow_exception(error);
            } catch (const std::runtime_error& e) {
                std::cout << "  " << e.what() << '\n';
            }
        }
    }
}

int main() { aio::run(download_all()); }
