// SPDX-License-Identifier: MIT
//
// How long do twenty pages take that each take a tenth of a second? Two seconds one after the other, and a tenth of one
// together: who waits for one may ask for the next.
//
// Python:
//
//     async def fetch(page):
//         reader, writer = await asyncio.open_connection("127.0.0.1", port)
//         writer.write(f"GET /{page} HTTP/1.0\r\n\r\n".encode())
//         answer = await reader.read()
//         writer.close()
//         return len(answer)
//
//     one_by_one = [await fetch(page) for page in range(20)]
//     at_once = await asyncio.gather(*(fetch(page) for page in range(20)))

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

namespace aio = plait::asyncio;
using namespace std::chrono_literals;

constexpr int pages = 20;

/// A web server whose pages take their time.
aio::Coroutine<void> give_page(aio::StreamReader reader, aio::StreamWriter writer) {
    std::string request = co_await reader.readuntil("\r\n\r\n");
    co_await aio::sleep(100ms);
    writer.write("HTTP/1.0 200 OK\r\n\r\nYou asked: " + request.substr(0, request.find('\r')) + '\n');
}

aio::Coroutine<std::size_t> fetch(int port, int page) {
    auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
    writer.write("GET /" + std::to_string(page) + " HTTP/1.0\r\n\r\n");
    std::string answer = co_await reader.read();
    co_return answer.size();
}

void print(const char* how, const std::vector<std::size_t>& sizes, std::chrono::steady_clock::time_point begin) {
    std::cout << how << ": " << std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}) << " bytes in "
              << std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count()
              << " ms\n";
}

aio::Coroutine<void> compare() {
    aio::Server server = co_await aio::start_server(give_page, "127.0.0.1", 0);

    auto begin = std::chrono::steady_clock::now();
    std::vector<std::size_t> sizes;
    for (int page = 0; page < pages; ++page) sizes.push_back(co_await fetch(server.port(), page));
    print("one by one", sizes, begin);

    begin = std::chrono::steady_clock::now();
    std::vector<aio::Coroutine<std::size_t>> fetches;
    for (int page = 0; page < pages; ++page) fetches.push_back(fetch(server.port(), page));
    print("at once", co_await aio::gather(std::move(fetches)), begin);
}

int main() { aio::run(compare()); }
