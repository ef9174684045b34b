// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/lifo_queue.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::LifoQueue;
using support::run_virtual;
namespace aio = plait::asyncio;

TEST_CASE("an async LIFO queue gives the newest item first") {
    run_virtual([]() -> Coroutine<void> {
        LifoQueue<std::unique_ptr<int>> pile(3);
        for (int i = 1; i <= 3; ++i) co_await pile.put(std::make_unique<int>(i));
        auto put = aio::create_task(pile.put(std::make_unique<int>(4)));
        co_await aio::sleep(0s);
        int order = 0;
        for (int i = 0; i < 4; ++i) {
            const auto item = co_await pile.get();
            order = 10 * order + *item;
            co_await aio::sleep(0s);
        }
        CHECK(order == 3421);
        CHECK(put.done());
        pile.put_nowait(std::make_unique<int>(5));
        pile.shutdown(true);
        CHECK_THROWS_AS(pile.get_nowait(), plait::QueueShutDown);
    });
}
