// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <exception>
#include <stdexcept>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::gather;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

TEST_CASE("a hundred thousand gathers within one another are made, completed, failed and cancelled at constant stack") {
    struct Nest {
        static Coroutine<> of(int depth, int ending) {
            if (depth != 0) {
                static_cast<void>(co_await gather(of(depth - 1, ending)));
            } else if (ending == 1) {
                throw std::runtime_error("at the bottom");
            } else if (ending == 2) {
                co_await aio::sleep(1h);
            }
        }
    };
    constexpr int depth = 100'000;
    aio::run(Nest::of(depth, 0));
    CHECK_THROWS_AS(aio::run(Nest::of(depth, 1)), std::runtime_error);
    CHECK_THROWS_AS(aio::run([]() -> Coroutine<> {
                        auto nest = aio::create_task(Nest::of(depth, 2));
                        for (int i = 0; i < depth + 2; ++i) co_await aio::sleep(0s);
                        CHECK(nest.cancel());
                        co_await nest;
                    }),
                    plait::CancelledError);
}

TEST_CASE("a cancellation that meets a failure in a gather is thrown at the next await") {
    run_virtual([]() -> Coroutine<> {
        bool cancelled_later = false;
        auto task = aio::create_task([&]() -> Coroutine<> {
            const auto cleans_up = []() -> Coroutine<> {
                std::exception_ptr cancellation;
                try {
                    co_await aio::sleep(1h);
                } catch (const plait::CancelledError&) {
                    cancellation = std::current_exception();
                }
                co_await aio::sleep(1s);
                std::rethrow_exception(cancellation);
            };
            const auto fails = []() -> Coroutine<> {
                co_await aio::sleep(1s);
                throw std::runtime_error("failed");
            };
            bool failed = false;
            try {
                static_cast<void>(co_await gather(cleans_up(), fails()));
            } catch (const std::runtime_error&) {
                failed = true;
            }
            CHECK(failed);
            try {
                co_await aio::sleep(0s);
            } catch (const plait::CancelledError&) {
                cancelled_later = true;
            }
        });
        co_await aio::sleep(1500ms);
        CHECK(task.cancel());
        co_await task;
        CHECK(cancelled_later);
    });
}

TEST_CASE("a ring of an await and a gather can be cancelled") {
    run_virtual([]() -> Coroutine<> {
        Task<> gathering;
        auto awaiting = aio::create_task([&]() -> Coroutine<> { co_await gathering; });
        gathering = aio::create_task([&]() -> Coroutine<> { static_cast<void>(co_await gather(awaiting)); });
        for (int i = 0; i < 3; ++i) co_await aio::sleep(0s);
        CHECK(awaiting.cancel());
        for (int i = 0; i < 5; ++i) co_await aio::sleep(0s);
        CHECK(awaiting.done());
        CHECK(gathering.done());
    });
}
