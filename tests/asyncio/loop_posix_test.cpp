// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // where there are forks
#  include <plait/asyncio/create_task.hpp>
#  include <plait/asyncio/executor.hpp>
#  include <plait/asyncio/loop.hpp>
#  include <plait/asyncio/readiness.hpp>
#  include <plait/asyncio/run.hpp>
#  include <plait/asyncio/sleep.hpp>
#  include <plait/core/error.hpp>
#  include <plait/os/channel.hpp>

#  include "support/catch.hpp"
#  include "support/forked_child.hpp"

#  include <sys/socket.h>
#  include <sys/wait.h>
#  include <unistd.h>

#  include <chrono>
#  include <optional>
#  include <string>

// A fork in the midst of a loop's run, as a Process with StartMethod::fork makes.

using namespace std::chrono_literals;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
namespace aio = plait::asyncio;

namespace {

template <class F>
bool refuses(F f) {
    try {
        f();
    } catch (const UsageError&) {
        return true;
    }
    return false;
}

Coroutine<int> later(int x) {
    co_await aio::sleep(1ms);
    co_return x;
}

}  // namespace

TEST_CASE("a fork's copy of a loop refuses every call, and dies without a trace") {
    std::optional<EventLoop> loop;
    loop.emplace();
    loop->run_until_complete(aio::to_thread([] {}));
    auto pending = loop->create_task(later(1));
    support::ForkedChild child{[&] {
        if (!refuses([&] { loop->call_soon([] {}); })) return 1;
        if (!refuses([&] { loop->run_forever(); })) return 2;
        if (!refuses([&] { loop->run_until_complete(later(2)); })) return 3;
        if (!refuses([&] { static_cast<void>(loop->create_task(later(2))); })) return 4;
        loop.reset();
        return pending.done() ? 5 : 0;
    }};
    CHECK(child.join() == 0);
    CHECK(loop->run_until_complete(pending) == 1);
    CHECK(loop->run_until_complete(aio::to_thread([] { return 2; })) == 2);
}

TEST_CASE("a process that was forked in the midst of a loop runs loops of its own, and the parent's goes on") {
    const int got = aio::run([]() -> Coroutine<int> {
        auto task = aio::create_task(later(1));
        support::ForkedChild child{[] {
            if (!refuses([] { static_cast<void>(aio::get_running_loop()); })) return 1;
            if (!refuses([] { static_cast<void>(aio::get_event_loop()); })) return 2;
            if (aio::run(later(3)) != 3) return 3;
            EventLoop own;
            return own.run_until_complete(later(4)) == 4 ? 0 : 4;
        }};
        CHECK(child.join() == 0);
        co_return co_await task;
    });
    CHECK(got == 1);
}

TEST_CASE("a task that forks and goes on in the copy finds its loop refuse, and takes nothing that is the parent's") {
    plait::os::ChannelEnds channel = plait::os::make_channel();
    std::string got;
    const pid_t parent = ::getpid();
    pid_t child = 0;
    const auto read_all = [&]() -> Coroutine<void> {
        for (int i = 0; i < 3; ++i) {
            co_await aio::wait_readable(channel.second.get());
            char byte = 0;
            if (::recv(channel.second.get(), &byte, 1, MSG_DONTWAIT) == 1) got += byte;
        }
    };
    const auto body = [&]() -> Coroutine<void> {
        auto reader = aio::create_task(read_all);
        co_await aio::sleep(0s);
        child = ::fork();
        co_await aio::sleep(1ms);
        // Only the parent comes here.
        int status = -1;
        CHECK(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
        CHECK(::send(channel.first.get(), "abc", 3, 0) == 3);
        co_await reader;
    };
    bool refused = false;
    try {
        aio::run(body);
    } catch (const UsageError&) {
        refused = true;
    }
    if (::getpid() != parent) ::_exit(refused ? 0 : 1);
    CHECK_FALSE(refused);
    CHECK(got == "abc");
}
#endif
