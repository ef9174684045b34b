// SPDX-License-Identifier: MIT
//
// What becomes of a program when somebody types Ctrl-C? Its main task is cancelled, and cleans up; then `run` throws
// KeyboardInterrupt. A second Ctrl-C, for who cannot wait for that, ends the program at once.
//
// Python:
//
//     async def work():
//         try:
//             while True:
//                 print("working")
//                 await asyncio.sleep(0.1)
//         finally:
//             await save()
//
//     try:
//         asyncio.run(work())
//     except KeyboardInterrupt:
//         print("interrupted")

#include <plait/plait.hpp>

#include <chrono>
#include <csignal>
#include <exception>
#include <iostream>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::Coroutine<void> save() {
    co_await aio::sleep(50ms);
    std::cout << "all is saved\n";
}

aio::Coroutine<void> work() {
    std::exception_ptr end;
    try {
        for (;;) {
            std::cout << "working; Ctrl-C ends it\n";
            co_await aio::sleep(100ms);
        }
    } catch (const plait::CancelledError&) {
        end = std::current_exception();
    }
    co_await save();  // in C++ no handler of an exception may await: so after it
    std::rethrow_exception(end);
}

aio::Coroutine<void> work_until_interrupted() {
    aio::get_running_loop().call_later(250ms, [] { std::raise(SIGINT); });  // the example types it itself
    co_await work();
}

int main() {
    try {
        aio::run(work_until_interrupted());
    } catch (const plait::KeyboardInterrupt&) {
        std::cout << "interrupted\n";
    }
}
