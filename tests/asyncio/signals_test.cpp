// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // where there are such signals
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/event.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/readiness.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/signals.hpp>
#  include <plait/asyncio/sleep.hpp>
#  include <plait/core/error.hpp>

#  include "asyncio/virtual_time.hpp"
#  include "support/catch.hpp"
#  include "support/descriptor_limit.hpp"
#  include "support/disposition.hpp"
#  include "support/forked_child.hpp"

#  include <fcntl.h>
#  include <pthread.h>
#  include <signal.h>
#  include <sys/types.h>
#  include <unistd.h>

#  include <atomic>
#  include <chrono>
#  include <memory>
#  include <optional>
#  include <stdexcept>
#  include <string>
#  include <system_error>
#  include <thread>
#  include <vector>

using namespace std::chrono_literals;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using support::Disposition;
using support::disposition_of;
using support::ForkedChild;
namespace aio = plait::asyncio;

namespace {

std::atomic<int> calls_of_host{0};
void count_call(int) { ++calls_of_host; }

/// One pass, and what it queues.
void pass(EventLoop& loop) { loop.run_until_complete(aio::sleep(0s)); }

}  // namespace

TEST_CASE("a signal's handler is called on the loop with its arguments, each time that the signal comes") {
    EventLoop loop;
    std::string seen;
    loop.add_signal_handler(
        SIGUSR1,
        [&](std::string text, int number) {
            CHECK(loop.is_running());
            seen += text + std::to_string(number);
        },
        std::string("a long enough text "), 1);
    pass(loop);
    CHECK(seen.empty());
    ::raise(SIGUSR1);
    pass(loop);
    ::raise(SIGUSR1);
    pass(loop);
    CHECK(seen == "a long enough text 1a long enough text 1");
}

TEST_CASE("several signals of one kind before its turn are one call, those of several kinds one each") {
    EventLoop loop;
    std::vector<int> seen;
    for (const int number : {SIGUSR2, SIGUSR1, SIGHUP})
        loop.add_signal_handler(number, [&seen, number] { seen.push_back(number); });
    for (int i = 0; i < 5; ++i)
        for (const int number : {SIGUSR2, SIGUSR1}) ::raise(number);
    pass(loop);
    pass(loop);
    CHECK(seen == std::vector<int>{SIGUSR1, SIGUSR2});
}

TEST_CASE("a signal wakes a loop that sleeps, in whichever thread it comes") {
    aio::run([]() -> Coroutine<void> {
        EventLoop& loop = aio::get_running_loop();
        constexpr int rounds = 300;
        std::atomic<int> round{0};
        aio::Event came;
        loop.add_signal_handler(SIGUSR1, [&] { came.set(); });
        std::thread sender{[&] {
            for (int sent = 0; sent < rounds; ++sent) {
                while (round <= sent) std::this_thread::yield();
                // The loop is about to sleep, or does, by then.
                for (int delay = 0; delay < sent * 50; ++delay) plait::detail::relax_processor();
                if (sent % 2 == 0)
                    ::pthread_kill(::pthread_self(), SIGUSR1);
                else
                    ::kill(::getpid(), SIGUSR1);
            }
        }};
        while (round < rounds) {
            ++round;
            co_await came.wait();
            came.clear();
        }
        sender.join();
    });
}

TEST_CASE("a loop that never sleeps hears a signal, and so does one whose clock jumps") {
    for (const bool manual : {false, true}) {
        bool came = false;
        aio::run({.manual_clock = manual}, [&came]() -> Coroutine<void> {
            aio::get_running_loop().add_signal_handler(SIGUSR1, [&] { came = true; });
            ::raise(SIGUSR1);
            while (!came) co_await aio::sleep(0s);
            came = false;
            const auto begin = aio::get_running_loop().time();
            ::raise(SIGUSR1);
            co_await aio::sleep(1ms);
            CHECK(came);
            CHECK(aio::get_running_loop().time() - begin < 30s);
        });
    }
    // A handler does not hold up that clock.
    support::run_virtual([]() -> Coroutine<void> {
        aio::get_running_loop().add_signal_handler(SIGUSR1, [] {});
        co_await aio::sleep(24h);
    });
}

TEST_CASE(
    "the handler of a signal is replaced or removed, and the loop's end removes it: then the signal does what it did "
    "before") {
    const Disposition host{SIGUSR1, count_call};
    calls_of_host = 0;
    std::string seen;
    auto kept = std::make_shared<int>(1);
    {
        EventLoop loop;
        CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
        loop.add_signal_handler(SIGUSR1, [&seen, kept] { seen += "first"; });
        loop.add_signal_handler(SIGUSR1, [&seen] { seen += "second"; });
        CHECK(kept.use_count() == 1);
        ::raise(SIGUSR1);
        pass(loop);
        CHECK(seen == "second");
        CHECK(loop.remove_signal_handler(SIGUSR1));
        CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
        CHECK(disposition_of(SIGUSR1) == &count_call);
        loop.add_signal_handler(SIGUSR1, [&seen, kept] { seen += "third"; });
        CHECK(disposition_of(SIGUSR1) != &count_call);
        loop.close();
        CHECK(disposition_of(SIGUSR1) == &count_call);
        CHECK(kept.use_count() == 1);
        CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
        CHECK_THROWS_AS(loop.add_signal_handler(SIGUSR1, [] {}), plait::UsageError);
    }
    CHECK(calls_of_host == 0);
    CHECK(seen == "second");
}

TEST_CASE("a signal that came and was not told when its handler goes does what it did before") {
    const Disposition host{SIGUSR1, count_call};
    calls_of_host = 0;
    EventLoop loop;
    loop.add_signal_handler(SIGUSR1, [] {});
    ::raise(SIGUSR1);
    CHECK(calls_of_host == 0);
    loop.remove_signal_handler(SIGUSR1);
    CHECK(calls_of_host == 1);
    loop.add_signal_handler(SIGUSR1, [] {});
    pass(loop);
    loop.run_until_complete([]() -> Coroutine<void> {
        ::raise(SIGUSR1);
        co_return;
    }());
    loop.close();
    CHECK(calls_of_host == 2);
}

TEST_CASE("handlers may remove themselves and each other, add others, and throw") {
    EventLoop loop;
    support::ErrorLog log;
    log.watch(loop);
    std::vector<int> seen;
    loop.add_signal_handler(SIGUSR1, [&] {
        seen.push_back(1);
        loop.remove_signal_handler(SIGUSR1);
        loop.add_signal_handler(SIGTERM, [&] { seen.push_back(3); });
        ::raise(SIGTERM);
        throw std::runtime_error("a handler failed");
    });
    loop.add_signal_handler(SIGUSR2, [&seen] { seen.push_back(2); });
    ::raise(SIGUSR1);
    ::raise(SIGUSR2);
    pass(loop);
    CHECK(seen == std::vector<int>{1, 2, 3});
    CHECK(log.texts == std::vector<std::string>{"a handler failed"});
    CHECK(disposition_of(SIGUSR1) == SIG_DFL);
}

TEST_CASE("a signal is one loop's, and some cannot be handled") {
    EventLoop first;
    EventLoop second;
    first.add_signal_handler(SIGUSR1, [] {});
    CHECK_THROWS_AS(second.add_signal_handler(SIGUSR1, [] {}), plait::UsageError);
    CHECK_FALSE(second.remove_signal_handler(SIGUSR1));
    second.add_signal_handler(SIGUSR2, [] {});
    first.remove_signal_handler(SIGUSR1);
    second.add_signal_handler(SIGUSR1, [] {});
    for (const int number : {0, -1, 1000, SIGKILL, SIGSTOP, SIGSEGV})
        CHECK_THROWS_AS(first.add_signal_handler(number, [] {}), std::invalid_argument);
}

TEST_CASE("where there is no descriptor left, a handler is refused and the signal left alone") {
    EventLoop loop;
    {
        const support::DescriptorLimit limit{0};
        CHECK_THROWS_AS(loop.add_signal_handler(SIGUSR1, [] {}), std::system_error);
    }
    CHECK(disposition_of(SIGUSR1) == SIG_DFL);
    loop.add_signal_handler(SIGUSR1, [] {});
}

TEST_CASE("in a fork's copy of a loop with handlers a signal does what it did before, and the parent's loop goes on") {
    const Disposition ends{SIGTERM, SIG_DFL};
    std::optional<EventLoop> loop;
    loop.emplace();
    int calls = 0;
    loop->add_signal_handler(SIGTERM, [&calls] { ++calls; });
    CHECK(ForkedChild{[] {
              ::raise(SIGTERM);
              return 0;
          }}.join() == -SIGTERM);
    ForkedChild child{[&] {
        if (loop->remove_signal_handler(SIGTERM)) return 1;
        try {
            loop->add_signal_handler(SIGTERM, [] {});
            return 2;
        } catch (const plait::UsageError&) {
        }
        // A loop of the copy's own may have it.
        EventLoop own;
        bool came = false;
        own.add_signal_handler(SIGTERM, [&came] { came = true; });
        loop.reset();
        ::raise(SIGTERM);
        pass(own);
        own.close();
        return came && disposition_of(SIGTERM) == SIG_DFL ? 0 : 3;
    }};
    CHECK(child.join() == 0);
    pass(*loop);
    CHECK(calls == 0);
    ::raise(SIGTERM);
    pass(*loop);
    CHECK(calls == 1);
}

TEST_CASE("ten thousand signals a second lose no byte of a stream and stretch no timeout") {
    const Disposition ignored{SIGUSR1, SIG_IGN};
    int ends[2];
    REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    int calls = 0;
    int stretched = 0;
    aio::run([&]() -> Coroutine<void> {
        aio::get_running_loop().add_signal_handler(SIGUSR1, [&calls] { ++calls; });
        std::atomic<bool> stop{false};
        std::thread storm{[&] {
            auto next = std::chrono::steady_clock::now();
            while (!stop) {
                ::kill(::getpid(), SIGUSR1);
                next += 100us;
                while (!stop && std::chrono::steady_clock::now() < next) std::this_thread::yield();
            }
        }};
        auto reader = aio::create_task([&]() -> Coroutine<int> {
            int sum = 0;
            unsigned char byte = 0;
            for (;;) {
                const auto size = ::read(ends[0], &byte, 1);
                if (size == 0) break;
                if (size == 1)
                    sum += byte;
                else
                    co_await aio::wait_readable(ends[0]);
            }
            co_return sum;
        });
        const auto begin = std::chrono::steady_clock::now();
        int rounds = 0;
        for (; rounds < 100 || calls <= 100; ++rounds) {
            const unsigned char byte = 7;
            CHECK(::write(ends[1], &byte, 1) == 1);
            const auto before = std::chrono::steady_clock::now();
            co_await aio::sleep(2ms);
            // Never early; late only as far as the machine is busy.
            if (std::chrono::steady_clock::now() - before < 2ms) ++stretched;
        }
        CHECK(std::chrono::steady_clock::now() - begin < 50s);
        ::close(ends[1]);
        const int sum = co_await reader;
        CHECK(sum == 7 * rounds);
        stop = true;
        storm.join();
    });
    ::close(ends[0]);
    CHECK(stretched == 0);
    CHECK(calls > 100);
}
#endif
