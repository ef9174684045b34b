// SPDX-License-Identifier: MIT
#include <plait/asyncio/readiness.hpp>

#include "support/catch.hpp"

#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/os/channel.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
namespace aio = plait::asyncio;
using aio::Coroutine;
using plait::os::ChannelEnds;
using plait::os::Handle;
using plait::os::make_channel;

namespace {

void put(const Handle& end, std::string_view text) { REQUIRE(::send(end.get(), text.data(), text.size(), 0) > 0); }

std::string take(const Handle& end) {
    char text[64];
    const auto size = ::recv(end.get(), text, sizeof text, MSG_DONTWAIT);
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : size == 0 ? "end" : "nothing";
}

Coroutine<std::string> read(const Handle& end) {
    co_await aio::wait_readable(end.get());
    co_return take(end);
}

}  // namespace

TEST_CASE("a task waits until a handle can be read, and others run meanwhile") {
    const std::string text = aio::run([]() -> Coroutine<std::string> {
        ChannelEnds channel = make_channel();
        auto reader = aio::create_task(read(channel.second));
        co_await aio::sleep(0s);
        CHECK_FALSE(reader.done());
        put(channel.first, "words");
        co_return co_await reader;
    });
    CHECK(text == "words");
}

TEST_CASE("what is ready already takes a pass, and not more") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        co_await aio::wait_writable(channel.first.get());
        put(channel.first, "a");
        const std::string text = co_await read(channel.second);
        CHECK(text == "a");
    });
}

TEST_CASE("any number of tasks wait for one handle, and each is told, in the order in which they came") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        std::vector<int> told;
        const auto wait = [&](int number) -> Coroutine<void> {
            co_await aio::wait_readable(channel.second.get());
            told.push_back(number);
        };
        auto writer = aio::create_task([&]() -> Coroutine<void> {
            co_await aio::sleep(0s);
            put(channel.first, "a");
        });
        co_await aio::gather(wait(1), wait(2), wait(3));
        CHECK(told == std::vector{1, 2, 3});
        co_await writer;
    });
}

TEST_CASE("the end of the other end wakes who reads and who writes") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        auto reader = aio::create_task(read(channel.second));
        co_await aio::sleep(0s);
        channel.first.reset();
        const std::string text = co_await reader;
        CHECK(text == "end");
        co_await aio::wait_writable(channel.second.get());
    });
}

TEST_CASE("a cancelled wait leaves nothing behind: what comes then is there for the next") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        CHECK_THROWS_AS(co_await aio::wait_for(aio::wait_readable(channel.second.get()), 1ms), plait::TimeoutError);
        put(channel.first, "later");
        co_await aio::sleep(1ms);
        const std::string text = co_await read(channel.second);
        CHECK(text == "later");
    });
}

TEST_CASE("a cancellation that meets the readiness is told, and the handle stays ready") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        auto reader = aio::create_task(read(channel.second));
        put(channel.first, "kept");
        co_await aio::wait_readable(channel.second.get());  // told first; the reader is awake, too
        reader.cancel();
        CHECK_THROWS_AS(co_await reader, plait::CancelledError);
        CHECK(take(channel.second) == "kept");
    });
}

TEST_CASE("what cannot be waited for is an error that names the call") {
    aio::run([]() -> Coroutine<void> {
        CHECK_THROWS_AS(co_await aio::wait_readable(-1), plait::UsageError);
        ChannelEnds channel = make_channel();
        const int closed = channel.second.get();
        channel.second.reset();
        CHECK_THROWS_AS(co_await aio::wait_readable(closed), std::system_error);
        CHECK_THROWS_AS(co_await aio::wait_readable(2'000'000'000), std::system_error);
        const Handle file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
        CHECK_THROWS_AS(co_await aio::wait_readable(file.get()), std::system_error);
    });
}

TEST_CASE("a number that was closed and is another's now tells of that one alone") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds first = make_channel();
        const int number = first.second.get();
        put(first.first, "a");
        const std::string text = co_await read(first.second);
        CHECK(text == "a");
        // A copy keeps the first alive, as a forked process would.
        const Handle copy = plait::os::duplicate(first.second);
        first.second.reset();
        ChannelEnds second = make_channel();
        if (second.first.get() == number) std::swap(second.first, second.second);
        REQUIRE(second.second.get() == number);
        auto reader = aio::create_task(read(second.second));
        co_await aio::sleep(0s);
        put(first.first, "to nobody");
        co_await aio::sleep(2ms);
        co_await aio::sleep(2ms);
        CHECK_FALSE(reader.done());
        put(second.first, "b");
        const std::string other = co_await reader;
        CHECK(other == "b");
    });
}

TEST_CASE("a number that was a stranger's and is a connection's now is listened to") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds first = make_channel();
        const int number = first.second.get();
        put(first.first, "a");
        std::string text = co_await read(first.second);
        CHECK(text == "a");
        first.second.reset();
        ChannelEnds second = make_channel();
        if (second.first.get() == number) std::swap(second.first, second.second);
        REQUIRE(second.second.get() == number);
        auto writer = aio::create_task([&]() -> Coroutine<void> {
            co_await aio::sleep(0s);
            put(second.first, "b");
        });
        using aio::detail::Direction;
        co_await aio::detail::Readiness<Direction::read, aio::detail::Whose::ours>{number};
        CHECK(take(second.second) == "b");
        co_await writer;
        aio::detail::Reactor::of_running_loop().forget(number);
    });
}

TEST_CASE("a loop that waits for a handle is woken by other threads, and keeps the time") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        auto reader = aio::create_task(read(channel.second));
        aio::EventLoop& loop = aio::get_running_loop();
        for (int i = 0; i < 100; ++i) {
            aio::Event called;
            std::thread caller([&] { loop.call_soon_threadsafe([&] { called.set(); }); });
            co_await called.wait();
            caller.join();
        }
        const auto begin = loop.time();
        co_await aio::sleep(3ms);
        CHECK(loop.time() - begin >= 3ms);
        put(channel.first, "x");
        co_await reader;
    });
}

TEST_CASE("handles are looked at while tasks always have something to do") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        auto reader = aio::create_task(read(channel.second));
        co_await aio::sleep(0s);
        put(channel.first, "x");
        int passes = 0;
        while (!reader.done() && passes < 1000) {
            ++passes;
            co_await aio::sleep(0s);
        }
        CHECK(passes < 100);
    });
}

TEST_CASE("with a manual clock, what has come by a handle comes before what time brings") {
    aio::run(
        []() -> Coroutine<void> {
            ChannelEnds channel = make_channel();
            put(channel.first, "x");
            const std::string text = co_await aio::wait_for(read(channel.second), 1h);
            CHECK(text == "x");
            CHECK_THROWS_AS(co_await aio::wait_for(read(channel.second), 1h), plait::TimeoutError);
        },
        aio::EventLoopOptions{.manual_clock = true});
}

TEST_CASE("add_reader calls as long as there is something to read, until remove_reader") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        aio::EventLoop& loop = aio::get_running_loop();
        std::string text;
        aio::Event ended;
        loop.add_reader(channel.second.get(), [&] {
            char byte;
            if (::recv(channel.second.get(), &byte, 1, 0) == 1) text += byte;
            if (byte == '.') {
                CHECK(loop.remove_reader(channel.second.get()));
                ended.set();
            }
        });
        put(channel.first, "one by one. not this");
        co_await ended.wait();
        co_await aio::sleep(1ms);
        CHECK(text == "one by one.");
        CHECK_FALSE(loop.remove_reader(channel.second.get()));
    });
}

TEST_CASE("a second add_reader takes the place of the first, and add_writer stands beside it") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        aio::EventLoop& loop = aio::get_running_loop();
        int first = 0;
        aio::Event second;
        aio::Event writable;
        loop.add_reader(channel.second.get(), [&] { ++first; });
        loop.add_reader(channel.second.get(), [&](int number) { number == 5 ? second.set() : second.clear(); }, 5);
        loop.add_writer(channel.second.get(), [&] { writable.set(); });
        put(channel.first, "x");
        co_await second.wait();
        co_await writable.wait();
        CHECK(first == 0);
        CHECK(loop.remove_writer(channel.second.get()));
        CHECK(loop.remove_reader(channel.second.get()));
    });
}

TEST_CASE("a reader that is removed in the pass in which it is ready is not called") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds one = make_channel();
        ChannelEnds other = make_channel();
        aio::EventLoop& loop = aio::get_running_loop();
        int calls = 0;
        const auto call = [&] {
            ++calls;
            loop.remove_reader(one.second.get());
            loop.remove_reader(other.second.get());
        };
        loop.add_reader(one.second.get(), call);
        loop.add_reader(other.second.get(), call);
        put(one.first, "x");
        put(other.first, "x");
        co_await aio::sleep(1ms);
        CHECK(calls == 1);
    });
}

TEST_CASE("what a reader throws goes to the exception handler, and it is called again") {
    aio::run([]() -> Coroutine<void> {
        ChannelEnds channel = make_channel();
        aio::EventLoop& loop = aio::get_running_loop();
        int reports = 0;
        aio::Event twice;
        loop.set_exception_handler([&](aio::EventLoop&, const aio::ErrorContext&) {
            if (++reports == 2) twice.set();
        });
        loop.add_reader(channel.second.get(), [] { throw std::runtime_error("no"); });
        put(channel.first, "x");
        co_await twice.wait();
        loop.remove_reader(channel.second.get());
    });
}

TEST_CASE("a loop that closes lets go of readers and of those who wait") {
    ChannelEnds channel = make_channel();
    auto kept = std::make_shared<int>(1);
    {
        aio::EventLoop loop;
        loop.add_reader(channel.second.get(), [kept] {});
        static_cast<void>(loop.create_task(read(channel.first)));
        loop.call_soon([&] { loop.stop(); });
        loop.set_exception_handler([](aio::EventLoop&, const aio::ErrorContext&) {});
        loop.run_forever();
        CHECK(kept.use_count() == 2);
    }
    CHECK(kept.use_count() == 1);
}

TEST_CASE("a fork's copy of a loop that waits for handles takes nothing from its parent") {
    ChannelEnds channel = make_channel();
    aio::EventLoop loop;
    loop.call_soon([&] { loop.stop(); });
    auto reader = loop.create_task(read(channel.second));
    loop.run_forever();
    const pid_t child = ::fork();
    if (child == 0) {
        // What waits there, and the loop, go as they do in a program that ends.
        loop.close();
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    put(channel.first, "x");
    CHECK(loop.run_until_complete(reader) == "x");
}
