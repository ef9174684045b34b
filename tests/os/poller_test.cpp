// SPDX-License-Identifier: MIT
#include <plait/os/poller.hpp>

#include "support/catch.hpp"

#include <plait/os/channel.hpp>

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>

using namespace std::chrono_literals;
using namespace plait::os;
using plait::detail::Deadline;

TEST_CASE("poll tells which handles are ready, and passes over those that are none") {
    ChannelEnds one = make_channel();
    const ChannelEnds other = make_channel();
    const std::byte byte[1] = {};
    send_all(one.first, byte);
    PollItem items[] = {{one.second.get(), readable},
                        {other.second.get(), readable},
                        {Handle::none, readable},
                        {other.first.get(), writable}};
    CHECK(poll(items, Deadline::never()));
    CHECK(items[0].is_readable());
    CHECK_FALSE(items[1].is_ready());
    CHECK_FALSE(items[2].is_ready());
    CHECK(items[3].is_writable());
    CHECK_FALSE(items[3].is_readable());
}

TEST_CASE("the end of the other end is told without being asked for") {
    ChannelEnds channel = make_channel();
    PollItem item{channel.second.get(), 0};
    CHECK_FALSE(poll({&item, 1}, Deadline::at({})));
    CHECK_FALSE(item.has_hung_up());
    channel.first.reset();
    CHECK(poll({&item, 1}, Deadline::never()));
    CHECK(item.has_hung_up());
    CHECK(item.is_readable());
}

TEST_CASE("poll waits until its deadline and no less") {
    const ChannelEnds channel = make_channel();
    PollItem item{channel.second.get(), readable};
    CHECK_FALSE(poll({&item, 1}, Deadline::at({})));
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(poll({&item, 1}, Deadline{3500us}));
    CHECK(std::chrono::steady_clock::now() - begin >= 3500us);
    CHECK_FALSE(wait_readable(channel.second.get(), Deadline{0s}));
}

TEST_CASE("a signal does not end poll") {
    static std::atomic<int> signals{0};
    struct ::sigaction count{};
    struct ::sigaction before{};
    count.sa_handler = [](int) { ++signals; };
    ::sigaction(SIGUSR1, &count, &before);
    const ChannelEnds channel = make_channel();
    std::atomic<bool> ready{false};
    std::thread waiter{[&] { ready = wait_readable(channel.second.get(), Deadline{30s}); }};
    while (signals < 100) {
        ::pthread_kill(waiter.native_handle(), SIGUSR1);
        std::this_thread::yield();
    }
    CHECK_FALSE(ready);
    const std::byte byte[1] = {};
    send_all(channel.first, byte);
    waiter.join();
    CHECK(ready);
    ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("a waker is readable from wake to clear, however often it is woken") {
    Waker waker;
    PollItem item{waker.handle(), readable};
    CHECK_FALSE(poll({&item, 1}, Deadline::at({})));
    for (int i = 0; i < 200'000; ++i) waker.wake();  // more than its pipe holds: it must not block
    CHECK(poll({&item, 1}, Deadline::never()));
    waker.clear();
    CHECK_FALSE(poll({&item, 1}, Deadline::at({})));
    waker.clear();
    std::thread other{[&] { waker.wake(); }};
    CHECK(poll({&item, 1}, Deadline{30s}));
    other.join();
}
