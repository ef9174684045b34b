// SPDX-License-Identifier: MIT
#if __has_include(<sys/socket.h>)  // where a loop waits for handles
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/detail/reactor.hpp>
#  include <plait/asyncio/event.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/readiness.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/sleep.hpp>
#  include <plait/core/error.hpp>
#  include <plait/os/channel.hpp>

#  include "support/catch.hpp"
#  include "support/forked_child.hpp"

#  include <array>
#  include <atomic>
#  include <chrono>
#  include <cstddef>
#  include <optional>
#  include <thread>
#  include <vector>

// Calls from other threads, and forks, while the loop sleeps where it waits for handles.

using namespace std::chrono_literals;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::detail::LoopAccess;
using plait::asyncio::detail::Reactor;
namespace aio = plait::asyncio;
namespace os = plait::os;

namespace {

/// A loop that waits for a handle.
struct WaitingLoop {
    WaitingLoop() : channel{os::make_channel()}, waits{loop.create_task(aio::wait_readable(channel.second.get()))} {
        loop.run_until_complete(aio::sleep(0s));
    }

    os::ChannelEnds channel;
    EventLoop loop;
    aio::Task<void> waits;
};

void send_byte(const os::Handle& end) {
    const std::byte byte[1] = {};
    os::send_all(end, byte);
}

}  // namespace

TEST_CASE(
    "a million calls from eight threads run once each, and those of one thread in order, where a loop waits for "
    "handles") {
    constexpr std::size_t threads = 8;
    constexpr int calls = 1'000'000 / threads;
    WaitingLoop waiting;
    EventLoop& loop = waiting.loop;
    std::array<int, threads> next{};
    int done = 0;
    int disordered = 0;
    std::vector<std::thread> callers;
    for (std::size_t thread = 0; thread < threads; ++thread)
        callers.emplace_back([&, thread] {
            for (int call = 0; call < calls; ++call)
                loop.call_soon_threadsafe([&, thread, call] {
                    if (next[thread]++ != call) ++disordered;
                    if (++done == static_cast<int>(threads) * calls) loop.stop();
                });
        });
    loop.run_forever();
    for (std::thread& caller : callers) caller.join();
    CHECK(done == 1'000'000);
    CHECK(disordered == 0);
    CHECK_FALSE(waiting.waits.done());
    send_byte(waiting.channel.first);
    loop.run_until_complete(waiting.waits);
}

TEST_CASE("each call wakes a loop that sleeps for handles, also when its waker is full") {
    WaitingLoop waiting;
    EventLoop& loop = waiting.loop;
    Reactor& reactor = Reactor::of(LoopAccess::core(loop));
    constexpr int rounds = 2000;
    std::atomic<int> done{0};
    std::thread caller{[&] {
        for (int round = 0; round < rounds; ++round) {
            loop.call_soon_threadsafe([&, round] {
                if (round % 500 == 0)
                    for (int i = 0; i < 100'000; ++i) reactor.waker().wake();
                ++done;
            });
            while (done <= round) std::this_thread::yield();
            for (int delay = 0; delay < round; ++delay) plait::detail::relax_processor();
        }
        loop.call_soon_threadsafe([&] { loop.stop(); });
    }};
    loop.run_forever();
    caller.join();
    CHECK(done == rounds);
    CHECK_FALSE(waiting.waits.done());
    send_byte(waiting.channel.first);
    loop.run_until_complete(waiting.waits);
}

TEST_CASE(
    "a fork's copy of a loop that waits for handles refuses to, and dies without taking anything from the parent") {
    std::optional<WaitingLoop> waiting;
    waiting.emplace();
    const auto refuses = [&] {
        try {
            waiting->loop.add_reader(waiting->channel.first.get(), [] {});
        } catch (const UsageError&) {
            return true;
        }
        return false;
    };
    support::ForkedChild child{[&] {
        if (!refuses()) return 1;
        // A loop of the copy's own waits for the same.
        EventLoop own;
        auto waits = own.create_task(aio::wait_readable(waiting->channel.second.get()));
        own.run_until_complete(aio::sleep(0s));
        if (waits.done()) return 2;
        send_byte(waiting->channel.first);
        own.run_until_complete(waits);
        own.close();
        waiting.reset();
        return 0;
    }};
    CHECK(child.join() == 0);
    // The byte is still there; and what comes from elsewhere is heard, too.
    waiting->loop.run_until_complete(waiting->waits);
    auto again = waiting->loop.create_task(aio::wait_readable(waiting->channel.first.get()));
    std::thread sender{[&] { send_byte(waiting->channel.second); }};
    waiting->loop.run_until_complete(again);
    sender.join();
}

TEST_CASE(
    "a process forked in the midst of a loop that waits for handles runs loops of its own, and the parent's goes on") {
    const int got = aio::run([]() -> Coroutine<int> {
        const os::ChannelEnds channel = os::make_channel();
        auto waits = aio::create_task(aio::wait_readable(channel.second.get()));
        co_await aio::sleep(0s);
        support::ForkedChild child{[&] {
            return aio::run([&]() -> Coroutine<int> {
                auto own = aio::create_task(aio::wait_readable(channel.second.get()));
                co_await aio::sleep(1ms);
                if (own.done()) co_return 1;
                send_byte(channel.first);
                co_await own;
                co_return 0;
            });
        }};
        CHECK(child.join() == 0);
        co_await waits;
        co_return 1;
    });
    CHECK(got == 1);
}
#endif
