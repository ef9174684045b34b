// SPDX-License-Identifier: MIT
//
// How are many waits shared out among several processors? A pool's tasks each run an event loop.
//
// Python:
//
//     async def visit(page):
//         await asyncio.sleep(0.1)
//         return len(page)
//
//     async def visit_all(pages):
//         return sum(await asyncio.gather(*(visit(page) for page in pages)))
//
//     def work(pages):
//         return asyncio.run(visit_all(pages))
//
//     if __name__ == "__main__":
//         with multiprocessing.Pool(2) as pool:
//             print(sum(pool.map(work, sites)))

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace aio = plait::asyncio;
namespace mp = plait::multiprocessing;
using namespace std::chrono_literals;

aio::Coroutine<int> visit(std::string page) {
    co_await aio::sleep(100ms);  // the network, say
    co_return static_cast<int>(page.size());
}

aio::Coroutine<int> visit_all(std::vector<std::string> pages) {
    std::vector<aio::Coroutine<int>> visits;
    for (const std::string& page : pages) visits.push_back(visit(page));
    int sum = 0;
    for (const int size : co_await aio::gather(std::move(visits))) sum += size;
    co_return sum;
}

int work(const std::vector<std::string>& pages) { return aio::run(visit_all(pages)); }

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    std::vector<std::vector<std::string>> sites;
    for (int site = 0; site < 4; ++site)
        for (sites.emplace_back(); sites.back().size() < 250;) sites.back().push_back("/" + std::to_string(site));

    mp::Pool pool(2);
    const auto begin = std::chrono::steady_clock::now();
    int sum = 0;
    for (const int size : pool.map(work, sites)) sum += size;
    const auto took = std::chrono::steady_clock::now() - begin;

    std::cout << "1000 pages, " << sum << " characters\n";
    std::cout << (took < 10s ? "in less than the hundred seconds that one after the other take\n" : "slowly\n");
}
