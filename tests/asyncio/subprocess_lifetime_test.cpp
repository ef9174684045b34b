// SPDX-License-Identifier: MIT
#include <plait/asyncio/subprocess.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/forked_child.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/asyncio.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>

using namespace std::chrono_literals;
namespace aio = plait::asyncio;
using namespace support;

// What becomes of a program whose handle, whose loop, or whose host goes its own way.

namespace {

/// A program that lives until it is told, or killed.
aio::Coroutine<aio::Subprocess> start_cat() {
    return aio::create_subprocess_exec({"cat"}, {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
}

int pid_of(const aio::Subprocess& child) { return static_cast<int>(child.pid()); }

aio::Coroutine<void> until_gone(int pid) {
    while (process_state(pid)) co_await aio::sleep(1ms);
}

}  // namespace

TEST_CASE("a program that still runs when its handle goes is killed and reaped, and its loop goes on") {
    aio::run([]() -> aio::Coroutine<void> {
        std::optional<aio::Subprocess> child;
        child.emplace(co_await aio::create_subprocess_exec({"sh", "-c", "trap '' TERM; echo ready; exec sleep 1000"},
                                                           {.standard_output = aio::PIPE}));
        const std::string line = co_await child->standard_output().readline();
        CHECK(line == "ready\n");
        const int pid = pid_of(*child);
        child.reset();
        co_await until_gone(pid);
        CHECK(children().empty());
    });
}

TEST_CASE("programs that run when their loop closes are killed and reaped") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess dropped = co_await start_cat();
        aio::Subprocess waited = co_await start_cat();
        aio::Task<int> wait = aio::create_task(waited.wait());
        co_await aio::sleep(0ms);
        CHECK_FALSE(wait.done());
    });
    CHECK(children().empty());
}

TEST_CASE("a handle that outlives its loop tells that the program was killed with it") {
    std::optional<aio::Subprocess> child;
    aio::run([&]() -> aio::Coroutine<void> { child.emplace(co_await start_cat()); });
    CHECK(child->returncode() == -SIGKILL);
    CHECK(children().empty());
    child->kill();
}

TEST_CASE("who waits for a program whose handle goes sees that it was killed") {
    aio::run([]() -> aio::Coroutine<void> {
        std::optional<aio::Subprocess> child;
        child.emplace(co_await start_cat());
        aio::Task<int> wait = aio::create_task(child->wait());
        co_await aio::sleep(0ms);
        child.reset();
        const int code = co_await wait;
        CHECK(code == -SIGKILL);
        aio::Subprocess other = co_await start_cat();
        aio::Task<aio::SubprocessOutput> talk = aio::create_task(other.communicate("one"));
        co_await aio::sleep(0ms);
        aio::Subprocess third = co_await start_cat();
        const int pid = pid_of(other);
        other = std::move(third);
        co_await until_gone(pid);
        static_cast<void>(co_await talk);
    });
    CHECK(children().empty());
}

TEST_CASE("a copied stream lives on when the handle goes, with what the program wrote before") {
    aio::run([]() -> aio::Coroutine<void> {
        std::optional<aio::Subprocess> child;
        child.emplace(co_await start_cat());
        child->standard_input().write("one\ntwo\n");
        const aio::StreamReader reader = child->standard_output();
        const std::string line = co_await reader.readline();
        CHECK(line == "one\n");
        child.reset();
        const std::string rest = co_await reader.read();
        CHECK(rest == "two\n");
    });
}

TEST_CASE("a wait that is cancelled leaves the others waiting") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await start_cat();
        aio::Task<int> first = aio::create_task(child.wait());
        aio::Task<int> second = aio::create_task(child.wait());
        co_await aio::sleep(0ms);
        first.cancel();
        child.standard_input().close();
        const int code = co_await second;
        CHECK(code == 0);
        CHECK(first.cancelled());
    });
}

TEST_CASE("a grace that is cancelled kills nobody") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"sh", "-c", "trap 'echo asked' TERM; echo ready; while :; do read x && exit $x; done"},
            {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
        std::string line = co_await child.standard_output().readline();
        CHECK(line == "ready\n");
        aio::Task<int> end = aio::create_task(child.terminate(1h));
        line = co_await child.standard_output().readline();
        CHECK(line == "asked\n");
        end.cancel();
        child.standard_input().write("5\n");
        const int code = co_await child.wait();
        CHECK(code == 5);
        CHECK(end.cancelled());
    });
}

TEST_CASE("a program is waited for without a thread, and without a handler for SIGCHLD") {
    struct ::sigaction before{};
    ::sigaction(SIGCHLD, nullptr, &before);
    const auto threads_before = threads().size();
    aio::run([&]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await start_cat();
        aio::Task<int> wait = aio::create_task(child.wait());
        co_await aio::sleep(1ms);
        struct ::sigaction now{};
        ::sigaction(SIGCHLD, nullptr, &now);
        CHECK(now.sa_handler == before.sa_handler);
        CHECK(threads().size() == threads_before);
        child.standard_input().close();
        const int code = co_await wait;
        CHECK(code == 0);
    });
}

TEST_CASE("a program belongs to the loop that started it") {
    aio::EventLoop first;
    std::optional<aio::Subprocess> child;
    first.run_until_complete(
        [](std::optional<aio::Subprocess>& to) -> aio::Coroutine<void> { to.emplace(co_await start_cat()); }(child));
    CHECK_THROWS_AS(aio::run(child->wait()), plait::UsageError);
    CHECK_THROWS_AS(aio::run(child->communicate()), plait::UsageError);
    CHECK_THROWS_AS(aio::run(child->terminate(1s)), plait::UsageError);
    child->standard_input().close();
    CHECK(first.run_until_complete(child->wait()) == 0);
    CHECK(aio::run(child->wait()) == 0);  // it has ended: nothing is waited for
}

TEST_CASE("a wait ends where the program ignores SIGCHLD, or waits for every child itself, with the code or 255") {
    ForkedChild host{[] {
        const auto code_of_three = [] {
            return aio::run([]() -> aio::Coroutine<int> {
                aio::Subprocess child =
                    co_await aio::create_subprocess_shell("read x; exit 3", {.standard_input = aio::PIPE});
                aio::Task<int> wait = aio::create_task(child.wait());
                co_await aio::sleep(0ms);
                child.standard_input().close();
                co_return co_await wait;
            });
        };
        const auto is_right = [](int code) { return code == 3 || code == 255; };
        ::signal(SIGCHLD, SIG_IGN);
        bool right = is_right(code_of_three());
        ::signal(SIGCHLD, SIG_DFL);
        std::atomic<bool> done = false;
        std::thread greedy{[&] {
            while (!done) ::waitpid(-1, nullptr, WNOHANG);
        }};
        for (int i = 0; i < 20; ++i) right = is_right(code_of_three()) && right;
        done = true;
        greedy.join();
        return right ? 0 : 1;
    }};
    CHECK(host.join(50s) == 0);
}

TEST_CASE("nobody else's child is reaped") {
    ForkedChild other{[] { return 9; }};
    REQUIRE(within(30s, [&] { return is_zombie(other.pid()); }));
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await start_cat();
        const int code = co_await child.terminate(1h);
        CHECK(code == -SIGTERM);
        aio::Subprocess dropped = co_await start_cat();
    });
    CHECK(other.join() == 9);
}

TEST_CASE("a copy of the program that a fork made leaves the child to its parent") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await start_cat();
        ForkedChild copy{[&] {
            const aio::Subprocess taken = std::move(child);
            return 0;
        }};
        CHECK(copy.join() == 0);
        child.standard_input().write("still here\n");
        const std::string line = co_await child.standard_output().readline();
        CHECK(line == "still here\n");
        child.standard_input().close();
        const int code = co_await child.wait();
        CHECK(code == 0);
    });
}

TEST_CASE("a program that a debugger holds has not ended until that lets go, and keeps its code") {
    int to_debugger[2];
    int from_debugger[2];
    REQUIRE(::pipe2(to_debugger, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(from_debugger, O_CLOEXEC) == 0);
    aio::run([&]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await start_cat();
        ForkedChild debugger{[&] {
            char byte = ::ptrace(PTRACE_SEIZE, pid_of(child), nullptr, nullptr) == 0 ? 'y' : 'n';
            ::close(to_debugger[1]);
            if (::write(from_debugger[1], &byte, 1) == 1) static_cast<void>(!::read(to_debugger[0], &byte, 1));
            return 0;
        }};
        char seized = 0;
        CHECK(::read(from_debugger[0], &seized, 1) == 1);
        aio::Task<int> wait = aio::create_task(child.wait());
        child.kill();
        if (seized == 'y') {
            while (!is_zombie(pid_of(child))) co_await aio::sleep(0ms);
            co_await aio::sleep(20ms);
            CHECK_FALSE(wait.done());
        }
        ::close(to_debugger[1]);
        const int code = co_await wait;
        CHECK(code == -SIGKILL);
        debugger.join();
    });
    for (const int end : {to_debugger[0], from_debugger[0], from_debugger[1]}) ::close(end);
}

TEST_CASE("a manual clock stands while a program is waited for") {
    aio::run(
        []() -> aio::Coroutine<void> {
            auto child = co_await aio::create_subprocess_exec({"sleep", "0.1"});
            const int code = co_await aio::wait_for(child.wait(), 1h);
            CHECK(code == 0);
            auto other = co_await aio::create_subprocess_exec(
                {"cat"}, {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
            const aio::SubprocessOutput output = co_await aio::wait_for(other.communicate("words"), 1h);
            CHECK(output.out == "words");
        },
        aio::EventLoopOptions{.manual_clock = true});
}

TEST_CASE("a manual clock passes over the grace of a program that takes no notice") {
    aio::run(
        []() -> aio::Coroutine<void> {
            auto child = co_await aio::create_subprocess_exec(
                {"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"}, {.standard_output = aio::PIPE});
            const std::string line = co_await child.standard_output().readline();
            CHECK(line == "ready\n");
            const int code = co_await child.terminate(1s);
            CHECK(code == -SIGKILL);
        },
        aio::EventLoopOptions{.manual_clock = true});
}

TEST_CASE("a stream that was asked for lives on when the handle goes") {
    aio::run([]() -> aio::Coroutine<void> {
        auto child = co_await aio::create_subprocess_exec({"sleep", "1000"}, {.standard_output = aio::PIPE});
        auto reading = aio::create_task(child.standard_output().read());
        co_await aio::sleep(0s);
        {
            const aio::Subprocess dropped = std::move(child);
        }
        const std::string rest = co_await reading;
        CHECK(rest.empty());
    });
}
