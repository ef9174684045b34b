// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // where there are such signals
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/event.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/signals.hpp>
#  include <plait/asyncio/sleep.hpp>
#  include <plait/core/error.hpp>

#  include "support/catch.hpp"
#  include "support/deadline.hpp"
#  include "support/descriptor_limit.hpp"
#  include "support/disposition.hpp"
#  include "support/forked_child.hpp"

#  include <signal.h>
#  include <unistd.h>

#  include <atomic>
#  include <chrono>
#  include <memory>
#  include <optional>
#  include <stdexcept>
#  include <thread>
#  include <utility>

// Ctrl-C while `run` runs, as the signal that it is.

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::KeyboardInterrupt;
using plait::asyncio::Coroutine;
using support::Disposition;
using support::disposition_of;
using support::ForkedChild;
namespace aio = plait::asyncio;

namespace {

void press_ctrl_c() { ::kill(::getpid(), SIGINT); }
void do_nothing(int) {}

/// Waits until it is cancelled, then calls `clean_up`, and goes on with what that returns: whether to be cancelled.
template <class CleanUp>
Coroutine<int> until_cancelled(CleanUp clean_up) {
    bool cancelled = false;
    try {
        co_await aio::sleep(std::chrono::hours::max());
    } catch (const CancelledError&) {
        cancelled = true;
    }
    if (!cancelled) co_return 1;
    co_await aio::sleep(1ms);
    if (clean_up()) throw CancelledError();
    co_return 2;
}

}  // namespace

TEST_CASE("Ctrl-C cancels the main coroutine, its cleanup runs, and run throws KeyboardInterrupt") {
    const Disposition by_default{SIGINT, SIG_DFL};
    for (const bool manual : {false, true}) {
        bool cleaned = false;
        bool other_cleaned = false;
        const auto body = [&]() -> Coroutine<int> {
            static_cast<void>(aio::create_task(until_cancelled([&] { return other_cleaned = true; })));
            press_ctrl_c();
            co_return co_await until_cancelled([&] { return cleaned = true; });
        };
        CHECK_THROWS_AS(aio::run({.manual_clock = manual}, body), KeyboardInterrupt);
        CHECK(cleaned);
        CHECK(other_cleaned);
        CHECK(disposition_of(SIGINT) == SIG_DFL);
    }
}

TEST_CASE("a handler of one's own takes Ctrl-C from run, and gives it back when it is removed") {
    const Disposition by_default{SIGINT, SIG_DFL};
    int heard = 0;
    const auto body = [&]() -> Coroutine<int> {
        aio::EventLoop& loop = aio::get_running_loop();
        CHECK_FALSE(loop.remove_signal_handler(SIGINT));  // there is none but run's
        loop.add_signal_handler(SIGINT, [&] { ++heard; });
        press_ctrl_c();
        press_ctrl_c();
        co_await aio::sleep(1ms);
        CHECK(heard == 1);
        CHECK(loop.remove_signal_handler(SIGINT));
        press_ctrl_c();
        co_return co_await until_cancelled([] { return true; });
    };
    CHECK_THROWS_AS(aio::run(body), KeyboardInterrupt);
    CHECK(heard == 1);
    CHECK(disposition_of(SIGINT) == SIG_DFL);
}

TEST_CASE("Ctrl-C ends a loop that sleeps for ever, in whichever thread it comes") {
    const Disposition by_default{SIGINT, SIG_DFL};
    for (int round = 0; round < 100; ++round) {
        std::atomic<bool> begun{false};
        std::thread presser{[&] {
            while (!begun) std::this_thread::yield();
            for (int delay = 0; delay < round * 100; ++delay) plait::detail::relax_processor();
            if (round % 2 == 0)
                press_ctrl_c();
            else
                ::raise(SIGINT);
        }};
        const auto body = [&]() -> Coroutine<void> {
            begun = true;
            aio::Event never;
            co_await never.wait();
        };
        CHECK_THROWS_AS(aio::run({.manual_clock = round % 3 == 0}, body), KeyboardInterrupt);
        presser.join();
    }
}

TEST_CASE("a coroutine that carries on after Ctrl-C gives its value, and one that fails its error") {
    const Disposition by_default{SIGINT, SIG_DFL};
    const auto carries_on = []() -> Coroutine<std::unique_ptr<int>> {
        press_ctrl_c();
        const int value = co_await until_cancelled([] { return false; });
        co_return std::make_unique<int>(value);
    };
    CHECK(*aio::run(carries_on) == 2);
    const auto fails = []() -> Coroutine<int> {
        press_ctrl_c();
        co_return co_await until_cancelled([]() -> bool { throw std::runtime_error("while cleaning up"); });
    };
    CHECK_THROWS_WITH(aio::run(fails), "while cleaning up");
    CHECK(disposition_of(SIGINT) == SIG_DFL);
}

TEST_CASE("a coroutine that is cancelled otherwise is no KeyboardInterrupt") {
    const Disposition by_default{SIGINT, SIG_DFL};
    const auto body = []() -> Coroutine<void> {
        aio::current_task().cancel();
        co_await aio::sleep(1h);
    };
    CHECK_THROWS_AS(aio::run(body), CancelledError);
}

TEST_CASE("the second Ctrl-C ends the program at once, be the loop busy or the first not yet heard") {
    const auto ends_by = [](auto body) {
        return ForkedChild{[body] {
                   ::signal(SIGINT, SIG_DFL);
                   aio::run(body);
                   return 0;
               }}
            .join();
    };
    CHECK(ends_by([]() -> Coroutine<int> {
              press_ctrl_c();
              co_return co_await until_cancelled([] {
                  press_ctrl_c();
                  return true;
              });
          }) == -SIGINT);
    CHECK(ends_by([]() -> Coroutine<int> {
              press_ctrl_c();
              press_ctrl_c();
              co_return 0;
          }) == -SIGINT);
}

TEST_CASE("Ctrl-C that comes too late to cancel anything ends the program when run has cleaned up") {
    support::SharedVariable<std::atomic<bool>> cleaned{false};
    ForkedChild child{[&] {
        ::signal(SIGINT, SIG_DFL);
        aio::run([&]() -> Coroutine<int> {
            static_cast<void>(aio::create_task([&]() -> Coroutine<int> {
                bool cancelled = false;
                try {
                    co_await aio::sleep(1h);
                } catch (const CancelledError&) {
                    cancelled = true;
                }
                if (cancelled) press_ctrl_c();
                co_await aio::sleep(1ms);
                *cleaned = true;
                co_return 0;
            }));
            co_await aio::sleep(1ms);
            co_return 0;
        });
        return 0;
    }};
    CHECK(child.join() == -SIGINT);
    CHECK(*cleaned);
}

TEST_CASE("run leaves SIGINT alone where the program has decided otherwise, and on other threads") {
    const auto untouched = [](void (*handler)(int)) {
        return aio::run([handler]() -> Coroutine<bool> { co_return disposition_of(SIGINT) == handler; });
    };
    {
        const Disposition ignored{SIGINT, SIG_IGN};
        CHECK(untouched(SIG_IGN));
    }
    {
        const Disposition host{SIGINT, do_nothing};
        CHECK(untouched(do_nothing));
    }
    const Disposition by_default{SIGINT, SIG_DFL};
    CHECK_FALSE(untouched(SIG_DFL));
    bool on_thread = false;
    std::thread{[&] { on_thread = untouched(SIG_DFL); }}.join();
    CHECK(on_thread);
}

TEST_CASE("SIGINT is given back whatever run ends with") {
    const Disposition by_default{SIGINT, SIG_DFL};
    aio::run(aio::sleep(1ms));
    CHECK(disposition_of(SIGINT) == SIG_DFL);
    CHECK_THROWS_AS(aio::run([]() -> Coroutine<void> {
                        throw std::runtime_error("failed");
                        co_return;
                    }),
                    std::runtime_error);
    CHECK(disposition_of(SIGINT) == SIG_DFL);
    CHECK_THROWS_AS(aio::run([]() -> Coroutine<void> {
                        aio::get_running_loop().stop();
                        co_await aio::sleep(1h);
                    }),
                    plait::UsageError);
    CHECK(disposition_of(SIGINT) == SIG_DFL);
}

TEST_CASE("a handler of one's own for SIGINT takes the place of run's") {
    const Disposition by_default{SIGINT, SIG_DFL};
    const int calls = aio::run([]() -> Coroutine<int> {
        int count = 0;
        aio::get_running_loop().add_signal_handler(SIGINT, [&count] { ++count; });
        for (int i = 1; i <= 3; ++i) {
            press_ctrl_c();
            while (count < i) co_await aio::sleep(0s);
        }
        CHECK(aio::get_running_loop().remove_signal_handler(SIGINT));
        CHECK(disposition_of(SIGINT) != SIG_DFL);  // it is run's again
        co_return count;
    });
    CHECK(calls == 3);
}

TEST_CASE("run goes on without Ctrl-C where there is no descriptor left") {
    const Disposition by_default{SIGINT, SIG_DFL};
    const support::DescriptorLimit limit{0};
    const bool untouched = aio::run([]() -> Coroutine<bool> {
        co_await aio::sleep(1ms);
        co_return disposition_of(SIGINT) == SIG_DFL;
    });
    CHECK(untouched);
}

TEST_CASE(
    "in a copy of the program that was forked while it ran, Ctrl-C ends the copy, and its own run is cancelled by it") {
    const Disposition by_default{SIGINT, SIG_DFL};
    aio::run([]() -> Coroutine<void> {
        ForkedChild plain{[] {
            press_ctrl_c();
            return 0;
        }};
        CHECK(plain.join() == -SIGINT);
        ForkedChild runs{[] {
            try {
                aio::run([]() -> Coroutine<int> {
                    press_ctrl_c();
                    co_return co_await until_cancelled([] { return true; });
                });
            } catch (const KeyboardInterrupt&) {
                return disposition_of(SIGINT) == SIG_DFL ? 0 : 1;
            }
            return 2;
        }};
        CHECK(runs.join() == 0);
        co_await aio::sleep(1ms);
    });
}
#endif
