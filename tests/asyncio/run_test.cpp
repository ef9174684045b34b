// SPDX-License-Identifier: MIT
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::asyncio::Coroutine;
using support::run_virtual;
namespace aio = plait::asyncio;

TEST_CASE("run gives the value of the main coroutine, or throws its error") {
    CHECK(aio::run([](int x) -> Coroutine<int> { co_return x + 1; }, 2) == 3);
    CHECK(*aio::run([]() -> Coroutine<std::unique_ptr<int>> { co_return std::make_unique<int>(4); }) == 4);
    aio::run(aio::sleep(1ms));
    CHECK_THROWS_WITH(aio::run([]() -> Coroutine<void> {
                          throw std::runtime_error("failed");
                          co_return;
                      }),
                      "failed");
    CHECK_THROWS_AS(aio::run([]() -> Coroutine<void> {
                        throw CancelledError();
                        co_return;
                    }),
                    CancelledError);
}

TEST_CASE("run keeps a lambda and its arguments until the end") {
    const std::string text(100, 'x');
    auto argument = std::make_unique<std::string>("y");
    const auto size = aio::run(
        [text](const std::unique_ptr<std::string>& more) -> Coroutine<std::size_t> {
            co_await aio::sleep(1ms);
            co_return text.size() + more->size();
        },
        std::move(argument));
    CHECK(size == 101);
}

TEST_CASE("run inside a running loop is a usage error") {
    run_virtual([]() -> Coroutine<void> {
        CHECK_THROWS_AS(aio::run(aio::sleep(0s)), plait::UsageError);
        CHECK_THROWS_AS(aio::run([]() -> Coroutine<void> { co_return; }), plait::UsageError);
        co_return;
    });
}

TEST_CASE("run cancels what still runs, waits for it, and lets it clean up") {
    std::vector<std::string> log;
    run_virtual([&]() -> Coroutine<int> {
        static_cast<void>(aio::create_task([&]() -> Coroutine<void> {
            bool cancelled = false;
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (!cancelled) co_return;
            co_await aio::sleep(1s);
            log.push_back("cleaned up");
            // What is started only now is cancelled in its turn.
            static_cast<void>(aio::create_task([&]() -> Coroutine<void> {
                try {
                    co_await aio::sleep(1h);
                } catch (const CancelledError&) {
                    log.push_back("never started");
                }
            }));
            static_cast<void>(co_await aio::sleep(1s, 0));
        }));
        co_await aio::sleep(1s);
        co_return 0;
    });
    CHECK(log == std::vector<std::string>{"cleaned up"});
}

TEST_CASE("run cleans up too when the main coroutine fails") {
    bool cleaned = false;
    const auto body = [&]() -> Coroutine<void> {
        static_cast<void>(aio::create_task([&]() -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cleaned = true;
                throw;
            }
        }));
        co_await aio::sleep(1s);
        throw std::runtime_error("failed");
    };
    CHECK_THROWS_WITH(run_virtual(body), "failed");
    CHECK(cleaned);
}

TEST_CASE("errors of tasks that run cancelled at its end go to the exception handler") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        auto task = aio::create_task([]() -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                throw std::runtime_error("while cleaning up");
            }
        });
        task.set_name("broken");
        co_await aio::sleep(1s);
    });
    CHECK(log.tasks == std::vector<std::string>{"broken"});
    CHECK(log.texts == std::vector<std::string>{"while cleaning up"});
}

TEST_CASE("a task that was cancelled before is cancelled again at the end of run") {
    int caught = 0;
    run_virtual([&]() -> Coroutine<void> {
        auto task = aio::create_task([&]() -> Coroutine<void> {
            while (caught < 2) {
                try {
                    co_await aio::sleep(1h);
                } catch (const CancelledError&) {
                    ++caught;
                }
            }
        });
        co_await aio::sleep(1s);
        task.cancel();
        co_await aio::sleep(1s);
    });
    CHECK(caught == 2);
}

TEST_CASE("a task that does not end at the end of run is reported by name") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        auto task = aio::create_task([]() -> Coroutine<void> {
            bool cancelled = false;
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (cancelled) co_await aio::sleep(1min);
        });
        task.set_name("stubborn");
        co_await aio::sleep(1s);
    });
    CHECK(log.tasks == std::vector<std::string>{"stubborn"});
}

TEST_CASE("after stop in the main coroutine run says so, and cleans up") {
    bool cleaned = false;
    const auto body = [&]() -> Coroutine<void> {
        try {
            aio::get_running_loop().stop();
            co_await aio::sleep(1h);
        } catch (const CancelledError&) {
            cleaned = true;
            throw;
        }
    };
    CHECK_THROWS_AS(run_virtual(body), plait::UsageError);
    CHECK(cleaned);
}

TEST_CASE("run calls the callbacks of the tasks that it cancels") {
    bool cancelled = false;
    run_virtual([&]() -> Coroutine<void> {
        auto task = aio::create_task(aio::sleep(1h));
        task.add_done_callback([&](const aio::AnyTask& ended) { cancelled = ended.cancelled(); });
        co_await aio::sleep(1s);
    });
    CHECK(cancelled);
}

TEST_CASE("run takes a function with options, after it or before its arguments") {
    const auto an_hour_later = [](int x) -> Coroutine<int> {
        co_await aio::sleep(1h);
        co_return x;
    };
    CHECK(aio::run({.manual_clock = true}, an_hour_later, 1) == 1);
    CHECK(aio::run([&]() -> Coroutine<int> { return an_hour_later(2); }, {.manual_clock = true}) == 2);
}
