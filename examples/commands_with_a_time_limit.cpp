// SPDX-License-Identifier: MIT
//
// How does one run other programs, and not wait for ever? `subprocess::run` for one, which kills it at the limit;
// coroutines for many at once.
//
// Python:
//
//     print(subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout)
//     try:
//         subprocess.run(["sleep", "10"], timeout=0.2)
//     except subprocess.TimeoutExpired as error:
//         print(error)
//
//     async def measure(*command):
//         child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
//         try:
//             out, _ = await asyncio.wait_for(child.communicate(), 0.5)
//             ...

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace aio = plait::asyncio;
namespace subprocess = plait::subprocess;
using namespace std::chrono_literals;

/// What a command says within half a second.
aio::Coroutine<std::string> ask(std::vector<std::string> command) {
    aio::Subprocess child = co_await aio::create_subprocess_exec(command, {.standard_output = aio::PIPE});
    try {
        aio::SubprocessOutput output = co_await aio::wait_for(child.communicate(), 500ms);
        co_return command[0] + " said " + output.out;
    } catch (const plait::TimeoutError&) {
        child.kill();
    }
    int code = co_await child.wait();
    co_return command[0] + " took too long, and ended with " + std::to_string(code) + '\n';
}

aio::Coroutine<void> ask_all() {
    std::vector<aio::Coroutine<std::string>> asked;
    asked.push_back(ask({"expr", "6", "*", "7"}));
    asked.push_back(ask({"uname"}));
    asked.push_back(ask({"sleep", "10"}));
    std::vector<std::string> answers = co_await aio::gather(std::move(asked));
    for (const std::string& answer : answers) std::cout << answer;
}

int main() {
    std::cout << subprocess::run({"echo", "hello"}, {.capture_output = true}).out;
    std::cout << subprocess::run({"sort"}, {.input = "pear\nfig\napple\n", .capture_output = true}).out;
    try {
        subprocess::run({"sleep", "10"}, {.timeout = 200ms});
    } catch (const plait::TimeoutExpired& error) {
        std::cout << error.what() << '\n';
    }
    try {
        subprocess::run({"sh", "-c", "exit 3"}, {.check = true});
    } catch (const plait::CalledProcessError& error) {
        std::cout << error.what() << '\n';
    }
    aio::run(ask_all());
}
