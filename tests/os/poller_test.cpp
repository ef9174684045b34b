// SPDX-License-Identifier: MIT
#include <plait/os/poller.hpp>

#include "support/catch.hpp"

#include <plait/os/channel.hpp>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

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

namespace {

struct Told {
    NativeHandle handle;
    std::uint32_t stamp;
    short events;
};

std::vector<Told> look(Poller& poller) {
    std::vector<Told> told;
    poller.wait(Deadline::at({}), [&](NativeHandle handle, std::uint32_t stamp, short events) {
        told.push_back({handle, stamp, events});
    });
    return told;
}

}  // namespace

TEST_CASE("a poller tells what is ready, with its stamp, as long as it is") {
    ChannelEnds channel = make_channel();
    Poller poller;
    CHECK(look(poller).empty());
    poller.add(channel.second.get(), readable, 7);
    CHECK(look(poller).empty());
    const std::byte byte[1] = {};
    send_all(channel.first, byte);
    for (int i = 0; i < 2; ++i) {
        const auto told = look(poller);
        REQUIRE(told.size() == 1);
        CHECK(told[0].handle == channel.second.get());
        CHECK(told[0].stamp == 7);
        CHECK((told[0].events & (readable | hung_up)) == readable);
    }
    poller.change(channel.second.get(), writable, 8);
    const auto told = look(poller);
    REQUIRE(told.size() == 1);
    CHECK(told[0].stamp == 8);
    CHECK(told[0].events == writable);
    poller.remove(channel.second.get());
    CHECK(look(poller).empty());
    poller.add(channel.second.get(), readable, 9);
    CHECK(look(poller).size() == 1);
}

TEST_CASE("a poller tells of an end that it was not asked for") {
    ChannelEnds channel = make_channel();
    Poller poller;
    poller.add(channel.second.get(), writable, 0);
    channel.first.reset();
    const auto told = look(poller);
    REQUIRE(told.size() == 1);
    CHECK((told[0].events & hung_up) != 0);
}

TEST_CASE("a poller of many tells of each that is ready, and of them alone") {
    std::vector<ChannelEnds> channels;
    Poller poller;
    for (std::uint32_t i = 0; i < 400; ++i) {
        channels.push_back(make_channel());
        poller.add(channels.back().second.get(), readable, i);
    }
    for (std::size_t i = 0; i < channels.size(); i += 2) {
        const std::byte byte[1] = {};
        send_all(channels[i].first, byte);
    }
    for (std::size_t i = 0; i < channels.size(); i += 4) poller.remove(channels[i].second.get());
    CHECK(look(poller).size() == 100);
    for (const Told& told : look(poller)) CHECK(told.stamp % 4 == 2);
}

TEST_CASE("a poller's wait ends at its deadline, to the millisecond, and not before") {
    Poller poller;
    const auto begin = Deadline::Clock::now();
    poller.wait(Deadline{1500us}, [](NativeHandle, std::uint32_t, short) {});
    const auto waited = Deadline::Clock::now() - begin;
    CHECK(waited >= 1500us);
    CHECK(waited < 20s);
}

TEST_CASE("a poller refuses a handle that is closed, and takes another of its number") {
    Poller poller;
    ChannelEnds first = make_channel();
    const NativeHandle number = first.second.get();
    poller.add(number, readable, 1);
    first.second.reset();
    CHECK_THROWS_AS(poller.change(number, readable, 2), std::system_error);
    ChannelEnds second = make_channel();
    REQUIRE(::dup2(second.second.get(), number) == number);
    const Handle reused{number};
    poller.change(number, readable, 3);
    const std::byte byte[1] = {};
    send_all(second.first, byte);
    const auto told = look(poller);
    REQUIRE(told.size() == 1);
    CHECK(told[0].stamp == 3);
}
