// SPDX-License-Identifier: MIT
//
// How does a coroutine compute for long without holding up all the others? It awaits a pool, whose worker does it.
//
// Python:
//
//     async def tick():
//         while True:
//             print("tick")
//             await asyncio.sleep(0.1)
//
//     async def main():
//         ticker = asyncio.create_task(tick())
//         loop = asyncio.get_running_loop()
//         with ProcessPoolExecutor() as pool:
//             print(await loop.run_in_executor(pool, count_primes, 2_000_000), "primes")
//         ticker.cancel()

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>

namespace aio = plait::asyncio;
namespace mp = plait::multiprocessing;
using namespace std::chrono_literals;

int count_primes(int limit) {
    int primes = 0;
    for (int n = 2; n < limit; ++n) {
        bool is_prime = true;
        for (int d = 2; d * d <= n && is_prime; ++d) is_prime = n % d != 0;
        primes += is_prime;
    }
    return primes;
}

aio::Coroutine<void> tick() {
    for (;;) {
        std::cout << "tick" << std::endl;
        co_await aio::sleep(100ms);
    }
}

aio::Coroutine<void> count() {
    aio::Task<void> ticker = aio::create_task(tick());
    mp::Pool pool(1);  // a ThreadPool does as well, and takes any callable
    std::cout << co_await pool.apply_async(count_primes, 2'000'000) << " primes\n";
    ticker.cancel();
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    aio::run(count());
}
