// SPDX-License-Identifier: MIT
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/timeout.hpp>
#include <plait/asyncio/wait_for.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::TimeoutError;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::TimeoutScope;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x, std::chrono::seconds delay = 1s) {
    co_await aio::sleep(delay);
    co_return x;
}
std::chrono::seconds now() {
    return std::chrono::duration_cast<std::chrono::seconds>(aio::get_running_loop().time().time_since_epoch());
}
template <class A>
Coroutine<std::string> ending(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const CancelledError& error) {
        co_return std::string("cancelled: ") + error.message();
    } catch (const TimeoutError&) {
        co_return "timeout";
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a body that ends in time gives its value, of whatever type") {
    run_virtual([]() -> Coroutine<void> {
        const int value = co_await aio::timeout(2s, []() -> Coroutine<int> { co_return co_await late(4); });
        CHECK(value == 4);
        const int with_scope = co_await aio::timeout(2s, [](TimeoutScope& scope) -> Coroutine<int> {
            const int five = co_await late(5);
            co_return scope.expired() ? 0 : five;
        });
        CHECK(with_scope == 5);
        const int of_awaitable = co_await aio::timeout(2s, late(6));
        CHECK(of_awaitable == 6);
        auto moved =
            co_await aio::timeout(2s, []() -> Coroutine<std::unique_ptr<int>> { co_return std::make_unique<int>(7); });
        CHECK(*moved == 7);
        int place = 0;
        int& reference = co_await aio::timeout(2s, [&]() -> Coroutine<int&> { co_return place; });
        CHECK(&reference == &place);
        co_await aio::timeout(2s, aio::sleep(1s));
        auto task = aio::create_task(late(8));
        const int of_task = co_await aio::timeout(2s, task);
        CHECK(of_task == 8);
        CHECK(now() == 5s);
        CHECK(aio::current_task().cancelling() == 0);
        CHECK(aio::detail::LoopAccess::core(aio::get_running_loop()).timers.empty());
    });
}

TEST_CASE("a timeout strikes inside the body, and becomes TimeoutError at its edge only") {
    run_virtual([]() -> Coroutine<void> {
        bool cancelled_inside = false;
        bool expired_inside = false;
        const auto body = [&](TimeoutScope& scope) -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled_inside = true;
                expired_inside = scope.expired();
                throw;
            }
        };
        const std::string end = co_await ending(aio::timeout(2s, body));
        CHECK(end == "timeout");
        CHECK(cancelled_inside);
        CHECK(expired_inside);
        CHECK(now() == 2s);
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);
    });
}

TEST_CASE("a body's captures live as long as it") {
    run_virtual([]() -> Coroutine<void> {
        auto shared = std::make_shared<int>(3);
        const std::weak_ptr<int> weak = shared;
        auto body = [shared]() -> Coroutine<int> {
            co_await aio::sleep(1s);
            co_return *shared;
        };
        auto limited = aio::timeout(2s, std::move(body));
        shared = nullptr;
        const int value = co_await std::move(limited);
        CHECK(value == 3);
        CHECK(weak.expired());
    });
}

TEST_CASE("a timeout of zero lets the body begin, and ends its first wait") {
    run_virtual([]() -> Coroutine<void> {
        int steps = 0;
        const auto body = [&]() -> Coroutine<void> {
            ++steps;
            co_await aio::sleep(0s);
            ++steps;
        };
        const std::string end = co_await ending(aio::timeout(0s, body));
        CHECK(end == "timeout");
        CHECK(steps == 1);
        const int without_wait = co_await aio::timeout(-1s, []() -> Coroutine<int> { co_return 4; });
        CHECK(without_wait == 4);
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);  // nothing is left over
    });
}

TEST_CASE("a timeout that is never has no limit") {
    run_virtual([]() -> Coroutine<void> {
        const int value = co_await aio::timeout(plait::Timeout::never(), [](TimeoutScope& scope) -> Coroutine<int> {
            const bool unlimited = scope.when() == TimeoutScope::TimePoint::max();
            CHECK(aio::detail::LoopAccess::core(aio::get_running_loop()).timers.empty());
            co_return unlimited ? co_await late(4, 24h) : 0;
        });
        CHECK(value == 4);
        const int at_never = co_await aio::timeout_at(TimeoutScope::TimePoint::max(), late(5, 24h));
        CHECK(at_never == 5);
    });
}

TEST_CASE("timeout_at ends at a time of the loop's clock, at once where that has passed") {
    run_virtual([]() -> Coroutine<void> {
        const auto begin = aio::get_running_loop().time();
        const std::string end =
            co_await ending(aio::timeout_at(begin + 3s, [&](TimeoutScope& scope) -> Coroutine<void> {
                CHECK(scope.when() == begin + 3s);
                co_await aio::sleep(1h);
            }));
        CHECK(end == "timeout");
        CHECK(now() == 3s);
        const std::string passed = co_await ending(aio::timeout_at(begin, late(1)));
        CHECK(passed == "timeout");
        CHECK(now() == 3s);
        const int value = co_await aio::timeout_at(begin + 5s, late(6));
        CHECK(value == 6);
    });
}

TEST_CASE("a cancellation of one's own before the time is up is no timeout") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(aio::timeout(10s, []() -> Coroutine<void> {
            aio::current_task().cancel("own");
            co_await aio::sleep(1h);
        }));
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: own");
        CHECK(now() == 0s);
    });
}

TEST_CASE("an error at the timeout stands, and takes the request with it") {
    run_virtual([]() -> Coroutine<void> {
        const auto body = []() -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                throw std::runtime_error("while cleaning up");
            }
        };
        const std::string end = co_await ending(aio::timeout(1s, body));
        CHECK(end == "error: while cleaning up");
        CHECK(aio::current_task().cancelling() == 0);
        const auto at_once = []() -> Coroutine<void> {
            throw std::runtime_error("before a wait");
            co_return;
        };
        const std::string of_zero = co_await ending(aio::timeout(0s, at_once));
        CHECK(of_zero == "error: before a wait");
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);
    });
}

TEST_CASE("a body that makes a value of its cancellation gives that") {
    run_virtual([]() -> Coroutine<void> {
        const int value = co_await aio::timeout(1s, []() -> Coroutine<int> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
            }
            co_return 42;
        });
        CHECK(value == 42);
        CHECK(aio::current_task().cancelling() == 0);
    });
}

TEST_CASE("a cancellation from outside is not swallowed by a timeout of the same pass, whichever is first") {
    const bool outside_first = GENERATE(false, true);
    const bool awaits_task = GENERATE(false, true);
    run_virtual([=]() -> Coroutine<void> {
        TimeoutScope* scope = nullptr;
        plait::asyncio::Task<void> task;
        // Timers of one time fire in the order in which they were made: this callback has its turn before the task.
        aio::get_running_loop().call_later(2s, [&] {
            task.cancel("from outside");
            if (outside_first) scope->reschedule(0s);
        });
        const auto body = [&](TimeoutScope& given) -> Coroutine<void> {
            scope = &given;
            if (!awaits_task) co_await aio::sleep(1h);
            auto inner = aio::create_task(late(1, 1h));
            co_await inner;
        };
        task = aio::create_task(aio::timeout(std::chrono::hours(outside_first ? 1 : 0) + 2s, body));
        const std::string end = co_await ending(task);
        CHECK(end == "cancelled: from outside");
        CHECK(task.cancelling() == 1);
        CHECK(now() == 2s);
    });
}

TEST_CASE("a body that can be called with and without the scope is given it") {
    run_virtual([]() -> Coroutine<void> {
        const auto body = [](auto&... scope) -> Coroutine<int> { co_return static_cast<int>(sizeof...(scope)); };
        const int given = co_await aio::timeout(1s, body);
        CHECK(given == 1);
    });
}

TEST_CASE("a cancellation that was due before the block is not taken for its timeout") {
    run_virtual([]() -> Coroutine<void> {
        for (const auto limit : {0s, 1s}) {
            auto task = aio::create_task(
                [](std::chrono::seconds seconds) -> Coroutine<void> {
                    aio::current_task().cancel("older");
                    co_await aio::timeout(seconds, late(1, 2s));
                },
                limit);
            const std::string end = co_await ending(task);
            CHECK(end == "cancelled: older");
        }
    });
}

TEST_CASE("of nested timeouts the one that expires throws, of several the outermost") {
    run_virtual([]() -> Coroutine<void> {
        bool inner_threw = false;
        const auto nested = [&](std::chrono::seconds inner) -> Coroutine<void> {
            inner_threw = false;
            try {
                co_await aio::timeout(inner, late(1, 1h));
            } catch (const TimeoutError&) {
                inner_threw = true;
            }
            co_await aio::sleep(0s);
        };
        co_await aio::timeout(10s, nested(1s));
        CHECK(inner_threw);
        const std::string outer_first = co_await ending(aio::timeout(1s, nested(10s)));
        CHECK(outer_first == "timeout");
        CHECK_FALSE(inner_threw);
        const std::string both = co_await ending(aio::timeout(1s, nested(1s)));
        CHECK(both == "timeout");
        CHECK_FALSE(inner_threw);
        const std::string both_at_once = co_await ending(aio::timeout(0s, nested(0s)));
        CHECK(both_at_once == "timeout");
        CHECK_FALSE(inner_threw);
        CHECK(aio::current_task().cancelling() == 0);
        co_await aio::sleep(1s);
    });
}

TEST_CASE("where a busy loop makes both of two nested timeouts late, the outer one throws") {
    bool inner_threw = false;
    const auto body = [&]() -> Coroutine<void> {
        const auto outer = [&]() -> Coroutine<void> {
            try {
                co_await aio::timeout(1ms, []() -> Coroutine<void> {
                    const auto begin = std::chrono::steady_clock::now();
                    while (std::chrono::steady_clock::now() - begin < 4ms) {
                    }
                    co_await aio::sleep(1h);
                });
            } catch (const TimeoutError&) {
                inner_threw = true;
            }
            if (inner_threw) co_await aio::sleep(1h);
        };
        const std::string end = co_await ending(aio::timeout(2ms, outer));
        CHECK(end == "timeout");
        CHECK(aio::current_task().cancelling() == 0);
    };
    aio::run(body);
    CHECK_FALSE(inner_threw);
}

TEST_CASE("a timeout is set anew while its time is not up, later, earlier, or to none") {
    run_virtual([]() -> Coroutine<void> {
        const std::string later = co_await ending(aio::timeout(1s, [](TimeoutScope& scope) -> Coroutine<void> {
            scope.reschedule(5s);
            CHECK(scope.when() == aio::get_running_loop().time() + 5s);
            co_await aio::sleep(1h);
        }));
        CHECK(later == "timeout");
        CHECK(now() == 5s);
        const std::string earlier = co_await ending(aio::timeout(1h, [](TimeoutScope& scope) -> Coroutine<void> {
            co_await aio::sleep(1s);
            scope.reschedule(aio::get_running_loop().time() + 1s);
            co_await aio::sleep(1h);
        }));
        CHECK(earlier == "timeout");
        CHECK(now() == 7s);
        co_await aio::timeout(1s, [](TimeoutScope& scope) -> Coroutine<void> {
            scope.reschedule(plait::Timeout::never());
            co_await aio::sleep(10s);
        });
        CHECK(now() == 17s);
        const std::string passed = co_await ending(aio::timeout(1h, [](TimeoutScope& scope) -> Coroutine<void> {
            scope.reschedule(0s);
            co_await aio::sleep(1h);
        }));
        CHECK(passed == "timeout");
        CHECK(now() == 17s);
        CHECK(aio::detail::LoopAccess::core(aio::get_running_loop()).timers.empty());
    });
}

TEST_CASE("a timeout whose time is up cannot be set anew") {
    run_virtual([]() -> Coroutine<void> {
        std::string text;
        const std::string end = co_await ending(aio::timeout(1s, [&](TimeoutScope& scope) -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                try {
                    scope.reschedule(1h);
                } catch (const UsageError& error) {
                    text = error.what();
                }
                throw;
            }
        }));
        CHECK(end == "timeout");
        CHECK(text == "TimeoutScope::reschedule: the time is up, and the body is being cancelled; do it before");
    });
}

TEST_CASE("another task may set a timeout anew, and so end it") {
    run_virtual([]() -> Coroutine<void> {
        TimeoutScope* scope = nullptr;
        auto task = aio::create_task(aio::timeout(1h, [&](TimeoutScope& given) -> Coroutine<void> {
            scope = &given;
            co_await aio::sleep(2h);
        }));
        co_await aio::sleep(1s);
        scope->reschedule(0s);
        const std::string end = co_await ending(task);
        CHECK(end == "timeout");
        CHECK(now() == 1s);
    });
}

TEST_CASE("a timeout is awaited once") {
    run_virtual([]() -> Coroutine<void> {
        auto limited = aio::timeout(1s, aio::sleep(0s));
        co_await limited;
        const std::string end = co_await ending(std::move(limited));
        CHECK(end == "error: this Coroutine was awaited or started before: call the coroutine function again");
    });
}

TEST_CASE("a loop that closes in the midst of a timeout destroys it") {
    support::ErrorLog log;
    auto kept = std::make_shared<int>(1);
    {
        aio::EventLoop loop;
        log.watch(loop);
        auto task = loop.create_task(
            [](std::shared_ptr<int> local) -> Coroutine<void> {
                const auto body = [local]() -> Coroutine<void> { co_await aio::sleep(2h); };
                co_await aio::timeout(1h, body);
            },
            kept);
        loop.call_soon([&] { loop.stop(); });
        loop.run_forever();
        CHECK(kept.use_count() > 1);
    }
    CHECK(kept.use_count() == 1);
    CHECK(log.messages.size() == 1);
}
