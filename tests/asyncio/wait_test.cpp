// SPDX-License-Identifier: MIT
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    co_return x;
}
Coroutine<int> fails(std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    throw std::runtime_error("failed");
}
std::chrono::seconds now() {
    return std::chrono::duration_cast<std::chrono::seconds>(aio::get_running_loop().time().time_since_epoch());
}
/// Three tasks that end after one, two and three seconds.
std::vector<Task<int>> three() {
    std::vector<Task<int>> tasks;
    for (int i = 1; i <= 3; ++i) tasks.push_back(aio::create_task(late(i, std::chrono::seconds(i))));
    return tasks;
}

}  // namespace

TEST_CASE("wait waits for all, and sorts them in the order in which they were given") {
    run_virtual([]() -> Coroutine<void> {
        const auto tasks = three();
        auto [done, pending] = co_await aio::wait(tasks);
        CHECK(done == tasks);
        CHECK(pending.empty());
        CHECK(now() == 3s);
    });
}

TEST_CASE("wait for nothing is an invalid argument") {
    run_virtual([]() -> Coroutine<void> {
        bool thrown = false;
        try {
            co_await aio::wait(std::vector<Task<int>>{});
        } catch (const std::invalid_argument&) {
            thrown = true;
        }
        CHECK(thrown);
    });
}

TEST_CASE("wait until the first ends gives all that have ended in that pass") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Task<int>> tasks = three();
        tasks.push_back(aio::create_task(late(4, 1s)));
        auto [done, pending] = co_await aio::wait(tasks, {.return_when = aio::FIRST_COMPLETED});
        CHECK(done == std::vector<Task<int>>{tasks[0], tasks[3]});
        CHECK(pending == std::vector<Task<int>>{tasks[1], tasks[2]});
        auto [again, others] = co_await aio::wait(tasks, {.return_when = aio::FIRST_COMPLETED});
        CHECK(again.size() == 2);
        CHECK(others.size() == 2);
        CHECK(now() == 1s);
    });
}

TEST_CASE("wait with a timeout gives what has ended by then, and cancels nothing") {
    run_virtual([]() -> Coroutine<void> {
        const auto tasks = three();
        auto [done, pending] = co_await aio::wait(tasks, {.timeout = 1500ms});
        CHECK(done.size() == 1);
        CHECK(pending.size() == 2);
        co_await aio::sleep(1h);
        CHECK(tasks[2].result() == 3);
        auto [all, none] = co_await aio::wait(tasks, {.timeout = 0s});
        CHECK(all.size() == 3);
        CHECK(none.empty());
    });
}

TEST_CASE("wait with a timeout of zero looks once") {
    run_virtual([]() -> Coroutine<void> {
        const auto tasks = three();
        auto [done, pending] = co_await aio::wait(tasks, {.timeout = 0s});
        CHECK(done.empty());
        CHECK(pending.size() == 3);
        CHECK(now() == 0s);
    });
}

TEST_CASE("wait until the first exception returns on that, throws nothing, and leaves the rest alone") {
    run_virtual([]() -> Coroutine<void> {
        auto bad = aio::create_task(fails(2s));
        auto slow = aio::create_task(late(1, 3s));
        auto quick = aio::create_task(late(1, 1s));
        const std::vector<Task<int>> tasks{bad, slow, quick};
        auto [done, pending] = co_await aio::wait(tasks, {.return_when = aio::FIRST_EXCEPTION});
        CHECK(done == std::vector<Task<int>>{bad, quick});
        CHECK(pending == std::vector<Task<int>>{slow});
        CHECK(bad.exception());
        const int value = co_await slow;
        CHECK(value == 1);
    });
}

TEST_CASE("without an exception FIRST_EXCEPTION waits for all, and a cancellation is none") {
    run_virtual([]() -> Coroutine<void> {
        const auto tasks = three();
        Task<int> victim = tasks[0];
        victim.cancel();
        auto [done, pending] = co_await aio::wait(tasks, {.return_when = aio::FIRST_EXCEPTION});
        CHECK(done.size() == 3);
        CHECK(done[0].cancelled());
        CHECK(now() == 3s);
    });
}

TEST_CASE("a cancelled wait leaves its tasks running") {
    run_virtual([]() -> Coroutine<void> {
        const auto tasks = three();
        auto waiting = aio::create_task(aio::wait(tasks, {.timeout = 10s}));
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        waiting.cancel();
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        CHECK(waiting.cancelled());
        CHECK_FALSE(tasks[0].done());
        co_await aio::sleep(1h);
        CHECK(tasks[2].result() == 3);
    });
}

TEST_CASE("wait takes packs and coroutines, and counts one that is given twice once") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(1));
        auto [done, pending] = co_await aio::wait(task, late(2), task);
        CHECK(done.size() == 2);
        CHECK(done[1].result() == 2);
        auto [first, rest] =
            co_await aio::wait(aio::WaitOptions{.return_when = aio::FIRST_COMPLETED}, late(1, 5s), late(2, 4s));
        CHECK(first.at(0).result() == 2);
        CHECK(rest.size() == 1);
        rest[0].cancel();
        std::vector<Coroutine<int>> coroutines;
        coroutines.push_back(late(1));
        auto [last, none] = co_await aio::wait(std::move(coroutines));
        CHECK(last.size() == 1);
        CHECK(none.empty());
    });
}

TEST_CASE("a wait destroyed with its loop leaves nothing behind") {
    support::ErrorLog log;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        log.watch(loop);
        auto waiting = loop.create_task(aio::wait(aio::WaitOptions{.timeout = 2h}, late(1, 1h), late(2, 1h)));
        loop.call_later(1s, [&] { loop.stop(); });
        loop.run_forever();
    }
    CHECK(log.messages.size() == 3);
}
