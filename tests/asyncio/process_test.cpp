// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // where there are processes
#  include <plait/asyncio/process.hpp>

#  include <plait/asyncio.hpp>
#  include <plait/multiprocessing.hpp>

#  include "support/catch.hpp"
#  include "support/disposition.hpp"

#  include <signal.h>
#  include <sys/socket.h>
#  include <unistd.h>

#  include <chrono>
#  include <cstddef>
#  include <cstdint>
#  include <span>
#  include <string>
#  include <string_view>
#  include <utility>
#  include <vector>

// An event loop that waits for what other processes do.

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::asyncio::Coroutine;
namespace aio = plait::asyncio;
namespace mp = plait::multiprocessing;

namespace {

/// A process that ends with `code` once it is told to.
struct Obedient {
    explicit Obedient(int code) : process{mp::ProcessOptions{.daemon = true}, &obey, code, go} { process.start(); }

    static void obey(int code, mp::Event go) {
        go.wait();
        ::_exit(code);
    }

    mp::Event go;
    mp::Process process;
};

/// The bytes that `send(value)` writes.
template <class T>
std::string bytes_of_message(const T& value) {
    auto [from, to] = mp::Pipe();
    from.send(value);
    char bytes[4096];
    const auto size = ::recv(to.native_handle(), bytes, sizeof bytes, 0);
    REQUIRE(size > 0);
    return std::string(bytes, static_cast<std::size_t>(size));
}
void write_raw(mp::Connection& end, std::string_view bytes) {
    CHECK(::send(end.native_handle(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
}

}  // namespace

TEST_CASE("a process's end is awaited, before it or after, while the loop goes on") {
    aio::run([]() -> Coroutine<void> {
        Obedient child{3};
        auto joined = aio::create_task([&]() -> Coroutine<void> { co_await aio::join(child.process); });
        for (int i = 0; i < 10; ++i) co_await aio::sleep(0s);
        CHECK_FALSE(joined.done());
        child.go.set();
        co_await joined;
        CHECK(child.process.exitcode() == 3);
        co_await aio::join(child.process);
        mp::Process fresh{[] {}};
        bool refused = false;
        try {
            co_await aio::join(fresh);
        } catch (const plait::UsageError&) {
            refused = true;
        }
        CHECK(refused);
    });
}

TEST_CASE("many tasks wait for one process, and all see its code") {
    aio::run([]() -> Coroutine<void> {
        Obedient child{7};
        std::vector<aio::Task<std::int64_t>> tasks;
        for (int i = 0; i < 100; ++i)
            tasks.push_back(aio::create_task([&]() -> Coroutine<std::int64_t> {
                co_await aio::join(child.process);
                const auto code = child.process.exitcode();
                co_return code.value_or(-1);
            }));
        co_await aio::sleep(0s);
        CHECK(tasks[5].cancel());
        co_await aio::sleep(0s);
        CHECK(tasks[5].cancelled());
        child.go.set();
        int sevens = 0;
        for (auto& task : tasks) {
            if (task.cancelled()) continue;
            const std::int64_t code = co_await task;
            if (code == 7) ++sevens;
        }
        CHECK(sevens == 99);
    });
}

TEST_CASE("a wait for a process that runs out of time or is cancelled leaves it running") {
    aio::run([]() -> Coroutine<void> {
        Obedient child{0};
        bool late = false;
        try {
            co_await aio::wait_for(aio::join(child.process), 5ms);
        } catch (const plait::TimeoutError&) {
            late = true;
        }
        CHECK(late);
        CHECK(aio::detail::running_loop()->sleeper->listeners == 0);
        CHECK(child.process.is_alive());
        child.process.terminate();
        co_await aio::join(child.process);
        CHECK(child.process.exitcode() == -SIGTERM);
    });
}

TEST_CASE("a process's end is seen though children of its own go on") {
    mp::Event go;
    mp::Process child{[](const mp::Event& let_go) {
                          if (::fork() != 0) return;
                          let_go.wait();
                          ::_exit(0);
                      },
                      go};
    child.start();
    aio::run([&]() -> Coroutine<void> { co_await aio::join(child); });
    CHECK(child.exitcode() == 0);
    go.set();
}

TEST_CASE("a clock that jumps stands while a process is waited for") {
    aio::run({.manual_clock = true}, []() -> Coroutine<void> {
        Obedient child{4};
        child.go.set();
        co_await aio::wait_for(aio::join(child.process), 24h);
        CHECK(child.process.exitcode() == 4);
    });
}

TEST_CASE("a sentinel is readable at the end and not before, among other handles") {
    aio::run([]() -> Coroutine<void> {
        Obedient child{0};
        auto [left, right] = mp::Pipe();
        auto ended = aio::create_task(aio::wait_readable(child.process.sentinel()));
        auto heard = aio::create_task(aio::wait_readable(right.native_handle()));
        left.send(1);
        co_await heard;
        CHECK_FALSE(ended.done());
        child.go.set();
        co_await ended;
        CHECK_FALSE(child.process.is_alive());
        co_await aio::wait_readable(child.process.sentinel());
    });
}

TEST_CASE("what tells of a child can be joined too") {
    aio::run([]() -> Coroutine<void> {
        Obedient child{0};
        auto children = mp::active_children();
        REQUIRE(children.size() == 1);
        child.go.set();
        co_await aio::join(children[0]);
        CHECK_FALSE(child.process.is_alive());
        CHECK_THROWS_AS(mp::current_process().sentinel(), plait::UsageError);
    });
}

TEST_CASE("a child waits for its parent on a loop of its own") {
    auto [left, right] = mp::Pipe();
    mp::Process parent{[](mp::Connection to_test) {
                           mp::Process child{[](mp::Connection out) {
                                                 aio::run([&]() -> Coroutine<void> {
                                                     auto its_parent = mp::parent_process();
                                                     out.send(std::string("waits"));
                                                     co_await aio::join(*its_parent);
                                                     out.send(std::string("parent gone"));
                                                 });
                                             },
                                             std::move(to_test)};
                           child.start();
                           for (;;) ::pause();
                       },
                       std::move(right)};
    parent.start();
    CHECK(left.recv<std::string>() == "waits");
    parent.kill();
    CHECK(left.recv<std::string>() == "parent gone");
}

TEST_CASE("a message is awaited, several at once too, and the end of the stream is an error") {
    aio::run([]() -> Coroutine<void> {
        auto [left, right] = mp::Pipe();
        mp::Process child{[](mp::Connection end) {
                              end.send(std::string("first"));
                              for (int i = 0; i < 20; ++i) end.send(i);
                              end.send_bytes(std::as_bytes(std::span{"bytes", 5}));
                          },
                          std::move(right)};
        child.start();
        const std::string first = co_await aio::recv<std::string>(left);
        CHECK(first == "first");
        for (int i = 0; i < 20; ++i) {
            const int number = co_await aio::recv<int>(left);
            CHECK(number == i);
        }
        const auto bytes = co_await aio::recv_bytes(left);
        CHECK(bytes.size() == 5);
        bool ended = false;
        try {
            static_cast<void>(co_await aio::recv<int>(left));
        } catch (const plait::EndOfStream&) {
            ended = true;
        }
        CHECK(ended);
        co_await aio::join(child);
    });
}

TEST_CASE("a message that is sent in part does not hold up the loop, and a cancelled wait loses none of it") {
    aio::run([]() -> Coroutine<void> {
        auto [left, right] = mp::Pipe();
        const std::string bytes = bytes_of_message(std::string(100, 'x'));
        const std::string_view all{bytes};
        write_raw(left, all.substr(0, 40));
        auto abandoned = aio::create_task(aio::recv<std::string>(right));
        for (int i = 0; i < 50; ++i) co_await aio::sleep(0s);
        CHECK_FALSE(abandoned.done());
        write_raw(left, all.substr(40, 30));
        for (int i = 0; i < 50; ++i) co_await aio::sleep(0s);
        abandoned.cancel();
        auto task = aio::create_task(aio::recv<std::string>(right));
        for (int i = 0; i < 50; ++i) co_await aio::sleep(0s);
        CHECK(abandoned.cancelled());
        CHECK_FALSE(task.done());
        write_raw(left, all.substr(70));
        const std::string text = co_await task;
        CHECK(text == std::string(100, 'x'));
    });
}

TEST_CASE("an event of several processes is awaited, and a cancelled wait leaves no waiter behind") {
    aio::run([]() -> Coroutine<void> {
        mp::Event asked;
        mp::Event answered;
        mp::Process child{[](mp::Event question, mp::Event answer) {
                              question.wait();
                              answer.set();
                          },
                          asked, answered};
        child.start();
        auto waits = aio::create_task(aio::wait_until_set(answered));
        while (answered.waiting() == 0) co_await aio::sleep(1ms);
        CHECK_FALSE(waits.done());
        asked.set();
        co_await waits;
        co_await aio::wait_until_set(answered);
        co_await aio::join(child);

        mp::Event never;
        auto cancelled = aio::create_task(aio::wait_until_set(never));
        while (never.waiting() == 0) co_await aio::sleep(1ms);
        cancelled.cancel();
        static_cast<void>(co_await aio::wait(cancelled));
        CHECK(cancelled.cancelled());
        CHECK(never.waiting() == 0);
    });
}

TEST_CASE("a process forked while a loop has signal handlers ends when it is asked to") {
    const support::Disposition by_default{SIGTERM, SIG_DFL};
    aio::run([]() -> Coroutine<void> {
        int calls = 0;
        aio::get_running_loop().add_signal_handler(SIGTERM, [&calls] { ++calls; });
        auto [left, right] = mp::Pipe();
        auto child = mp::Process::forked([&right] {
            right.send(1);
            for (;;) ::pause();
        });
        child.start();
        const int begun = co_await aio::recv<int>(left);
        CHECK(begun == 1);
        child.terminate();
        co_await aio::join(child);
        CHECK(child.exitcode() == -SIGTERM);
        CHECK(calls == 0);
    });
}
#endif
