// SPDX-License-Identifier: MIT
#include <plait/asyncio/subprocess.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/asyncio.hpp>

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
namespace aio = plait::asyncio;
using plait::UsageError;
using support::caught;
using support::Gate;

namespace {

/// Waits until a program has written a line.
auto line_of(const aio::Subprocess& child) { return child.standard_output().readline(); }

}  // namespace

TEST_CASE("a program is started, and waited for by any number of tasks, which all see the same code") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_exec({"cat"}, {.standard_input = aio::PIPE});
        CHECK(child.pid() > 0);
        CHECK_FALSE(child.returncode());
        std::vector<aio::Task<int>> waits;
        for (int i = 0; i < 10; ++i) waits.push_back(aio::create_task(child.wait()));
        child.kill();
        const std::vector<int> codes = co_await aio::gather(std::move(waits));
        CHECK(codes == std::vector<int>(10, -SIGKILL));
        const int code = co_await child.wait();
        CHECK(code == -SIGKILL);
        CHECK(child.returncode() == -SIGKILL);
    });
}

TEST_CASE("a shell's command is started, and its code is what it exits with") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_shell("exit 7");
        const int code = co_await child.wait();
        CHECK(code == 7);
        aio::Subprocess pipeline =
            co_await aio::create_subprocess_shell("printf 'b\\na\\n' | sort", {.standard_output = aio::PIPE});
        const aio::SubprocessOutput output = co_await pipeline.communicate();
        CHECK(output.out == "a\nb\n");
        CHECK(output.err.empty());
    });
}

TEST_CASE("a program's words may be arguments, as in Python, or a range") {
    aio::run([]() -> aio::Coroutine<void> {
        auto child = co_await aio::create_subprocess_exec("sh", "-c", "exit 3");
        const int first = co_await child.wait();
        CHECK(first == 3);
        const std::vector<std::string> words{"sh", "-c", "exit 4"};
        auto other = co_await aio::create_subprocess_exec(words);
        const int second = co_await other.wait();
        CHECK(second == 4);
    });
}

TEST_CASE("words and options may be temporaries of the awaiting expression") {
    aio::run([]() -> aio::Coroutine<void> {
        const std::string name = "lvalue";
        const std::map<std::string, std::string> fruit{{"FRUIT", "fig"}};
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"/bin/sh", "-c", "echo $0 $1 $FRUIT $JAM", name, std::string("a temporary of some length")},
            {.standard_output = aio::PIPE,
             .environment = fruit,
             .extra_environment = {"JAM=" + std::string("made at home")}});
        const aio::SubprocessOutput output = co_await child.communicate();
        CHECK(output.out == "lvalue a temporary of some length fig made at home\n");
    });
}

TEST_CASE("texts are copied by the call, and the program is started where that is awaited") {
    aio::run([]() -> aio::Coroutine<void> {
        std::optional<aio::Coroutine<aio::Subprocess>> later;
        {
            const std::vector<std::string> words{"echo", "a word of some length, kept"};
            later.emplace(aio::create_subprocess_exec(words, {.standard_output = aio::PIPE}));
        }
        CHECK(support::children().empty());
        aio::Subprocess child = co_await std::move(*later);
        const aio::SubprocessOutput output = co_await child.communicate();
        CHECK(output.out == "a word of some length, kept\n");
        aio::Coroutine<aio::Subprocess> never = aio::create_subprocess_exec({"echo"});
        never.close();
    });
    CHECK_THROWS_AS(aio::create_subprocess_exec({"a", std::string("b\0c", 3)}), std::invalid_argument);
    CHECK_THROWS_AS(aio::create_subprocess_exec("cat", {.limit = 0}), std::invalid_argument);
}

TEST_CASE("a program is given its input and its outputs are read") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"sh", "-c", "cat; echo err >&2"},
            {.standard_input = aio::PIPE, .standard_output = aio::PIPE, .standard_error = aio::PIPE});
        const aio::SubprocessOutput output = co_await child.communicate("some data");
        CHECK(output.out == "some data");
        CHECK(output.err == "err\n");
        CHECK(child.returncode() == 0);
    });
}

TEST_CASE("a program that fills both its pipes while it is given input does not block") {
    aio::run([]() -> aio::Coroutine<void> {
        const std::string input(4 << 20, 'x');
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"tee", "/dev/stderr"},
            {.standard_input = aio::PIPE, .standard_output = aio::PIPE, .standard_error = aio::PIPE});
        const aio::SubprocessOutput output = co_await child.communicate(input);
        CHECK((output.out == input));
        CHECK((output.err == input));
    });
}

TEST_CASE("a program may leave its input unread: the broken pipe is nobody's error") {
    aio::run([]() -> aio::Coroutine<void> {
        const std::string input(4 << 20, 'x');
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"head", "-c", "3"}, {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
        const aio::SubprocessOutput output = co_await child.communicate(input);
        CHECK(output.out == "xxx");
        aio::Subprocess none = co_await aio::create_subprocess_exec({"true"}, {.standard_input = aio::PIPE});
        co_await none.wait();
        const aio::SubprocessOutput nothing = co_await none.communicate(input);
        CHECK(nothing.out.empty());
        CHECK(none.returncode() == 0);
    });
}

TEST_CASE("a dialogue goes by the streams, and what a program wrote can be read after its end") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child =
            co_await aio::create_subprocess_exec({"cat"}, {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
        child.standard_input().write("one\n");
        const std::string first = co_await line_of(child);
        CHECK(first == "one\n");
        child.standard_input().write("two\nthree\n");
        child.standard_input().close();
        const int code = co_await child.wait();
        CHECK(code == 0);
        const std::string second = co_await line_of(child);
        CHECK(second == "two\n");
        const std::string rest = co_await child.standard_output().read();
        CHECK(rest == "three\n");
    });
}

TEST_CASE("a writer to a program that does not read stops at the high-water mark") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"sh", "-c", "kill -STOP $$; exec wc -c"}, {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
        const aio::StreamWriter& writer = child.standard_input();
        writer.write(std::string(1 << 20, 'x'));
        aio::Task<void> drained =
            aio::create_task([](aio::StreamWriter to) -> aio::Coroutine<void> { co_await to.drain(); }, writer);
        while (writer.waiting() == 0) co_await aio::sleep(0ms);
        CHECK(writer.write_buffer_size() > 800'000);
        while (!drained.done()) {
            child.send_signal(SIGCONT);  // it may not have stopped yet
            co_await aio::sleep(1ms);
        }
        co_await drained;
        writer.close();
        const std::string count = co_await line_of(child);
        CHECK(count == "1048576\n");
        const int code = co_await child.wait();
        CHECK(code == 0);
    });
}

TEST_CASE("the streams that are no pipes are not to be had") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_exec({"true"}, {.standard_input = aio::DEVNULL});
        const auto error = caught<UsageError>([&] { static_cast<void>(child.standard_output()); });
        CHECK(std::string(error.value().what()).find(".standard_output = PIPE") != std::string::npos);
        CHECK_THROWS_AS(child.standard_input(), UsageError);
        CHECK_THROWS_AS(child.standard_error(), UsageError);
        bool refused = false;
        try {
            co_await child.communicate("input");
        } catch (const UsageError&) {
            refused = true;
        }
        CHECK(refused);
        co_await child.communicate();
        const aio::Subprocess moved = std::move(child);
        CHECK_THROWS_AS(child.pid(), UsageError);
        CHECK(moved.returncode() == 0);
    });
}

TEST_CASE("a program that is missing is an error that names it, and nothing is left") {
    const auto open = support::open_descriptors();
    aio::run([]() -> aio::Coroutine<void> {
        try {
            static_cast<void>(co_await aio::create_subprocess_exec(
                {"no-such-program"}, {.standard_input = aio::PIPE, .standard_output = aio::PIPE}));
            CHECK(false);
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::no_such_file_or_directory);
            CHECK(std::string(error.what()).find("'no-such-program'") != std::string::npos);
        }
    });
    CHECK((support::open_descriptors() == open));
    CHECK((::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD));
}

TEST_CASE("signals after the end reach nobody and are no error") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_exec({"true"});
        // It may have ended and not be reaped, or be reaped.
        while (!support::is_zombie(static_cast<int>(child.pid())) && !child.returncode()) co_await aio::sleep(0ms);
        child.terminate();
        const int code = co_await child.wait();
        CHECK(code == 0);
        child.send_signal(SIGUSR1);
        child.terminate();
        child.kill();
        const int again = co_await child.terminate(1s);
        CHECK(again == 0);
    });
}

TEST_CASE("a program is told by a signal, and one that is stopped has not ended") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"sh", "-c", "trap 'echo told; exit 4' USR1; echo ready; while :; do read x || :; done"},
            {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
        const std::string ready = co_await line_of(child);
        CHECK(ready == "ready\n");
        child.send_signal(SIGSTOP);
        const auto is_stopped = [&] { return support::process_state(static_cast<int>(child.pid()))->state == 'T'; };
        while (!is_stopped()) co_await aio::sleep(0ms);
        bool ended = true;
        try {
            co_await aio::wait_for(child.wait(), 20ms);
        } catch (const plait::TimeoutError&) {
            ended = false;
        }
        CHECK_FALSE(ended);
        child.send_signal(SIGUSR1);
        child.send_signal(SIGCONT);
        const std::string told = co_await line_of(child);
        CHECK(told == "told\n");
        const int code = co_await child.wait();
        CHECK(code == 4);
    });
}

TEST_CASE("a program that is asked to end has a grace for it, and is killed where it takes no notice") {
    aio::run([]() -> aio::Coroutine<void> {
        aio::Subprocess polite = co_await aio::create_subprocess_exec({"cat"}, {.standard_input = aio::PIPE});
        const int asked = co_await polite.terminate(1h);
        CHECK(asked == -SIGTERM);
        aio::Subprocess deaf = co_await aio::create_subprocess_exec(
            {"sh", "-c", "trap '' TERM; echo ready; exec sleep 1000"}, {.standard_output = aio::PIPE});
        const std::string ready = co_await line_of(deaf);
        CHECK(ready == "ready\n");
        const int killed = co_await deaf.terminate(20ms);
        CHECK(killed == -SIGKILL);
        CHECK_FALSE(support::process_state(static_cast<int>(deaf.pid())));
    });
}

TEST_CASE("a program that closes its pipes and lives on is waited for") {
    aio::run([]() -> aio::Coroutine<void> {
        Gate gate;
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"sh", "-c", "echo out; exec 1>&- 2>&-; read x < \"$0\"; exit 6", gate.path()},
            {.standard_output = aio::PIPE, .standard_error = aio::PIPE});
        aio::Task<aio::SubprocessOutput> talk = aio::create_task(child.communicate());
        const std::string end = co_await aio::to_thread([&] { return std::string(gate.reached() ? "reached" : ""); });
        CHECK(end == "reached");
        co_await aio::sleep(0ms);
        CHECK_FALSE(talk.done());
        gate.open();
        const aio::SubprocessOutput output = co_await talk;
        CHECK(output.out == "out\n");
        CHECK(child.returncode() == 6);
    });
}

TEST_CASE("a grandchild that holds the pipe keeps communicate waiting, and wait not") {
    aio::run([]() -> aio::Coroutine<void> {
        Gate gate;
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"sh", "-c", "(read x < \"$0\"; echo late) & echo early; read go || exit 3", gate.path()},
            {.standard_input = aio::PIPE, .standard_output = aio::PIPE});
        const std::string early = co_await line_of(child);
        CHECK(early == "early\n");
        aio::Task<int> wait = aio::create_task(child.wait());
        co_await aio::sleep(0ms);
        child.standard_input().close();
        const int code = co_await wait;
        CHECK(code == 3);
        aio::Task<aio::SubprocessOutput> talk = aio::create_task(child.communicate());
        const bool stands = co_await aio::to_thread([&] { return gate.reached(); });
        CHECK(stands);
        CHECK_FALSE(talk.done());
        gate.open();
        const aio::SubprocessOutput output = co_await talk;
        CHECK(output.out == "late\n");
    });
}

TEST_CASE("a communicate that is cancelled loses nothing, and the program goes on") {
    aio::run([]() -> aio::Coroutine<void> {
        Gate gate;
        aio::Subprocess child = co_await aio::create_subprocess_exec(
            {"sh", "-c", "cat; echo error >&2; exec 2>&-; read x < \"$0\"; echo last", gate.path()},
            {.standard_input = aio::PIPE, .standard_output = aio::PIPE, .standard_error = aio::PIPE});
        aio::Task<aio::SubprocessOutput> first = aio::create_task(child.communicate("first "));
        const bool stands = co_await aio::to_thread([&] { return gate.reached(); });
        CHECK(stands);
        first.cancel();
        bool cancelled = false;
        try {
            co_await first;
        } catch (const plait::CancelledError&) {
            cancelled = true;
        }
        CHECK(cancelled);
        CHECK_FALSE(child.returncode());
        gate.open();
        const aio::SubprocessOutput output = co_await child.communicate();
        CHECK(output.out == "first last\n");
        CHECK(output.err == "error\n");
        CHECK(child.returncode() == 0);
    });
}

TEST_CASE("a hundred programs run at once") {
    aio::run([]() -> aio::Coroutine<void> {
        std::vector<aio::Coroutine<std::string>> talks;
        for (int i = 0; i < 100; ++i)
            talks.push_back([](int number) -> aio::Coroutine<std::string> {
                aio::Subprocess child = co_await aio::create_subprocess_exec({"echo", std::to_string(number)},
                                                                             {.standard_output = aio::PIPE});
                aio::SubprocessOutput output = co_await child.communicate();
                co_return std::move(output.out);
            }(i));
        const std::vector<std::string> texts = co_await aio::gather(std::move(talks));
        CHECK(texts.front() == "0\n");
        CHECK(texts.back() == "99\n");
    });
}
