// SPDX-License-Identifier: MIT
//
// How does a server compute for its clients without keeping the others waiting, and live on where the work crashes? Each
// piece of work goes to a process of a pool: a crash there is an exception here, and an answer to one client.
//
// Python, where the first crash breaks the pool for all:
//
//     async def serve(reader, writer):
//         n = int(await reader.readline())
//         try:
//             answer = await loop.run_in_executor(pool, longest_walk, n)
//         except BrokenProcessPool:
//             answer = "the pool is dead"
//         writer.write(f"{n}: {answer}\n".encode())

#include <plait/plait.hpp>

#include <csignal>
#include <iostream>
#include <stdexcept>
#include <string>

namespace aio = plait::asyncio;
namespace mp = plait::multiprocessing;

/// The most steps that a number below `n` takes to 1 (halved if even, else three times it and one). Somebody else's work,
/// which was never tried with 0.
long longest_walk(long n) {
    if (n == 0) std::raise(SIGSEGV);
    long longest = 0;
    for (long start = 1; start < n; ++start) {
        long steps = 0;
        for (long x = start; x != 1; x = x % 2 == 0 ? x / 2 : 3 * x + 1) ++steps;
        longest = steps > longest ? steps : longest;
    }
    return longest;
}

aio::Coroutine<void> answer(mp::Pool& pool, aio::StreamReader reader, aio::StreamWriter writer) {
    std::string question = co_await reader.readline();
    if (question.empty()) co_return;
    question.pop_back();
    std::string answer;
    try {
        long longest = co_await pool.apply_async(longest_walk, std::stol(question));
        answer = std::to_string(longest) + " steps";
    } catch (const plait::ProcessDied& death) {
        answer = std::string{"the worker crashed"} + (death.signal() == SIGSEGV ? " (SIGSEGV)" : "");
    } catch (const std::logic_error&) {
        answer = "no number";
    }
    writer.write(question + ": " + answer + '\n');
}

aio::Coroutine<std::string> ask(int port, std::string question) {
    auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
    writer.write(question + '\n');
    co_return co_await reader.readline();
}

aio::Coroutine<void> serve(mp::Pool& pool) {
    aio::Server server = co_await aio::start_server(
        [&pool](aio::StreamReader reader, aio::StreamWriter writer) { return answer(pool, reader, writer); },
        "127.0.0.1", 0);
    auto [first, crash, last, none] = co_await aio::gather(ask(server.port(), "300000"), ask(server.port(), "0"),
                                                           ask(server.port(), "1000"), ask(server.port(), "many"));
    std::cout << first << crash << last << none;
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    mp::Pool pool(2);
    aio::run(serve(pool));
}
