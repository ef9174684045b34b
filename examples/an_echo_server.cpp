// SPDX-License-Identifier: MIT
//
// How do a TCP server and its client look? Each connection has a task of its own, which reads and writes as if it were
// alone.
//
// Python:
//
//     async def echo(reader, writer):
//         while line := await reader.readline():
//             writer.write(line)
//             await writer.drain()
//         writer.close()
//
//     async def main():
//         server = await asyncio.start_server(echo, "127.0.0.1", 0)
//         port = server.sockets[0].getsockname()[1]
//         await asyncio.gather(talk(port, "Alice"), talk(port, "Bob"))

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

aio::Coroutine<void> echo(aio::StreamReader reader, aio::StreamWriter writer) {
    for (;;) {
        std::string line = co_await reader.readline();
        if (line.empty()) break;  // the client has gone
        writer.write(line);
        co_await writer.drain();
    }
}  // the connection closes with its reader and writer

aio::Coroutine<void> talk(int port, std::string name) {
    auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
    for (int i = 1; i <= 3; ++i) {
        writer.write(name + " counts " + std::to_string(i) + '\n');
        co_await writer.drain();
        std::cout << co_await reader.readline();
        co_await aio::sleep(50ms);
    }
    writer.close();
    co_await writer.wait_closed();
}

aio::Coroutine<void> serve_and_talk() {
    aio::Server server = co_await aio::start_server(echo, "127.0.0.1", 0);
    co_await aio::gather(talk(server.port(), "Alice"), talk(server.port(), "Bob"));
    server.close();
    co_await server.wait_closed();
}

int main() { aio::run(serve_and_talk()); }
