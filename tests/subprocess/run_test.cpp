// SPDX-License-Identifier: MIT
#include <plait/subprocess.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/forked_child.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
namespace subprocess = plait::subprocess;
using subprocess::run;

TEST_CASE("a program's code is what it exits with, negative for a signal") {
    CHECK(run({"true"}).returncode == 0);
    CHECK(run({"sh", "-c", "exit 47"}).returncode == 47);
    CHECK(run({"sh", "-c", "kill -9 $$"}).returncode == -SIGKILL);
    CHECK(run({"sh", "-c", "exit 3"}).args == std::vector<std::string>{"sh", "-c", "exit 3"});
}

TEST_CASE("what a program writes is captured, each stream by itself or both as one") {
    const auto both = run({"sh", "-c", "echo pear; echo lemon >&2"}, {.capture_output = true});
    CHECK(both.out == "pear\n");
    CHECK(both.err == "lemon\n");
    const auto one = run({"sh", "-c", "echo pear; echo lemon >&2"},
                         {.standard_output = subprocess::PIPE, .standard_error = subprocess::DEVNULL});
    CHECK(one.out == "pear\n");
    CHECK(one.err.empty());
    const auto merged = run({"sh", "-c", "echo pear; echo lemon >&2"},
                            {.standard_output = subprocess::PIPE, .standard_error = subprocess::STANDARD_OUTPUT});
    CHECK(merged.out == "pear\nlemon\n");
    CHECK(merged.err.empty());
}

TEST_CASE("a program reads the input that is given, and its end where that is empty") {
    CHECK(run({"cat"}, {.input = "banana", .capture_output = true}).out == "banana");
    CHECK(run({"cat"}, {.input = "", .capture_output = true}).out.empty());
    CHECK(run({"cat"}, {.capture_output = true, .standard_input = subprocess::DEVNULL}).out.empty());
    CHECK(run({"cat"}, {.capture_output = true, .standard_input = subprocess::PIPE}).out.empty());
}

TEST_CASE("a program that fills both its outputs while it is given input does not block") {
    const std::string input(4 << 20, 'x');
    const auto done = run({"sh", "-c", "tee /dev/stderr"}, {.input = input, .capture_output = true});
    CHECK((done.out == input));
    CHECK((done.err == input));
}

TEST_CASE("a program that reads little of its input succeeds, and nobody gets SIGPIPE") {
    const std::string input(4 << 20, 'x');
    const auto before = ::signal(SIGPIPE, SIG_DFL);
    CHECK(run({"head", "-c", "3"}, {.input = input, .capture_output = true}).out == "xxx");
    CHECK(run({"sh", "-c", "exec 0<&-; exit 4"}, {.input = input}).returncode == 4);
    ::signal(SIGPIPE, before);
}

TEST_CASE("a program that fails is an exception where it is to succeed") {
    const auto error = caught<plait::CalledProcessError>(
        [] { run({"sh", "-c", "echo out; echo err >&2; exit 3"}, {.capture_output = true, .check = true}); });
    REQUIRE(error);
    CHECK(error->returncode() == 3);
    CHECK(error->out() == "out\n");
    CHECK(error->err() == "err\n");
    CHECK(run({"true"}, {.check = true}).returncode == 0);
}

TEST_CASE("a program that runs longer than its limit is killed and reaped, and what it wrote is kept") {
    const auto error = caught<plait::TimeoutExpired>([] {
        run({"sh", "-c", "trap '' TERM; echo out; echo err >&2; exec sleep 1000"},
            {.capture_output = true, .timeout = 3s});
    });
    REQUIRE(error);
    CHECK(error->out() == "out\n");
    CHECK(error->err() == "err\n");
    CHECK(std::string(error->what()).find("ran longer than 3 s") != std::string::npos);
    CHECK(error->command().substr(0, 5) == "sh -c");
    CHECK(children().empty());
}

TEST_CASE("a limit holds against a program that never stops writing") {
    CHECK(caught<plait::TimeoutExpired>([] { run({"yes"}, {.capture_output = true, .timeout = 50ms}); }));
    CHECK(children().empty());
}

TEST_CASE("a limit holds against a program that closed its pipes, and against one that is stopped") {
    CHECK(caught<plait::TimeoutExpired>(
        [] { run({"sh", "-c", "exec 1>&- 2>&-; exec sleep 1000"}, {.capture_output = true, .timeout = 50ms}); }));
    CHECK(caught<plait::TimeoutExpired>([] { run({"sh", "-c", "kill -STOP $$"}, {.timeout = 50ms}); }));
    CHECK(children().empty());
}

TEST_CASE("a limit holds against a grandchild that has the pipe") {
    Gate gate;
    const auto error = caught<plait::TimeoutExpired>([&] {
        run({"sh", "-c", "echo out; (read x < \"$0\") &", gate.path()}, {.capture_output = true, .timeout = 3s});
    });
    REQUIRE(error);
    CHECK(error->out() == "out\n");
    REQUIRE(gate.reached());
    gate.open();
}

TEST_CASE("a run waits for what a grandchild writes") {
    Gate gate;
    std::optional<subprocess::CompletedProcess> done;
    std::thread runner{[&] {
        done = run({"sh", "-c", "echo early; (read x < \"$0\"; echo late) &", gate.path()}, {.capture_output = true});
    }};
    CHECK(gate.reached());
    gate.open();
    runner.join();
    CHECK(done->out == "early\nlate\n");
    CHECK(done->returncode == 0);
}

TEST_CASE("a program that was stopped and continued has not ended between") {
    std::optional<subprocess::CompletedProcess> done;
    std::thread runner{[&] { done = run({"sh", "-c", "kill -STOP $$; echo on"}, {.capture_output = true}); }};
    int stopped = 0;
    CHECK(within(30s, [&] {
        for (const ProcessState& child : children())
            if (child.state == 'T') stopped = child.pid;
        return stopped != 0;
    }));
    ::kill(stopped, SIGCONT);
    runner.join();
    CHECK(done->out == "on\n");
    CHECK(done->returncode == 0);
}

TEST_CASE("a program gets the environment and the directory that are given") {
    const std::map<std::string, std::string> fruit{{"FRUIT", "orange"}};
    CHECK(run({"/usr/bin/env"}, {.capture_output = true, .environment = fruit}).out == "FRUIT=orange\n");
    ::setenv("PLAIT_TEST_FRUIT", "pear", 1);
    const auto value = [](const subprocess::RunOptions& options) {
        return run({"sh", "-c", "echo $PLAIT_TEST_FRUIT $HOME_MADE"}, options).out;
    };
    CHECK(value({.capture_output = true}) == "pear\n");
    CHECK(value({.capture_output = true, .extra_environment = {"PLAIT_TEST_FRUIT=fig", "HOME_MADE=jam"}}) ==
          "fig jam\n");
    ::unsetenv("PLAIT_TEST_FRUIT");
    CHECK(run({"pwd"}, {.capture_output = true, .working_directory = "/"}).out == "/\n");
}

TEST_CASE("a program that is missing is an error that names it, and nothing is left") {
    const auto open = open_descriptors();
    const auto error =
        caught<std::system_error>([] { run({"no-such-program"}, {.input = "x", .capture_output = true}); });
    REQUIRE(error);
    CHECK(error->code() == std::errc::no_such_file_or_directory);
    CHECK(std::string(error->what()).find("'no-such-program'") != std::string::npos);
    CHECK((open_descriptors() == open));
    CHECK((::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD));
}

TEST_CASE("two ways for one stream are a bad argument") {
    CHECK_THROWS_AS(run({"cat"}, {.input = "x", .standard_input = subprocess::DEVNULL}), std::invalid_argument);
    CHECK_THROWS_AS(run({"cat"}, {.capture_output = true, .standard_output = subprocess::PIPE}), std::invalid_argument);
    CHECK_THROWS_AS(run({"cat"}, {.capture_output = true, .standard_error = 2}), std::invalid_argument);
}

TEST_CASE("programs can be run from many threads at once") {
    std::atomic<int> right = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&right, i] {
            for (int round = 0; round < 5; ++round) {
                const std::string text(100'000, static_cast<char>('a' + i));
                if (run({"cat"}, {.input = text, .capture_output = true}).out == text) ++right;
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 40);
}

TEST_CASE("a run ends though the program ignores SIGCHLD or waits for every child itself, and never says 0 wrongly") {
    ForkedChild host{[] {
        ::signal(SIGCHLD, SIG_IGN);
        const auto ignored = run({"sh", "-c", "echo out; exit 3"}, {.capture_output = true});
        ::signal(SIGCHLD, SIG_DFL);
        std::atomic<bool> done = false;
        std::thread greedy{[&] {
            while (!done) ::waitpid(-1, nullptr, WNOHANG);
        }};
        bool right = ignored.out == "out\n" && (ignored.returncode == 3 || ignored.returncode == 255);
        for (int i = 0; i < 20; ++i) {
            const int code = run({"sh", "-c", "exit 3"}).returncode;
            right = right && (code == 3 || code == 255);
        }
        done = true;
        greedy.join();
        return right ? 0 : 1;
    }};
    CHECK(host.join(50s) == 0);
}

TEST_CASE("a run reaps nobody else's child") {
    ForkedChild other{[] { return 9; }};
    REQUIRE(within(30s, [&] { return is_zombie(other.pid()); }));
    CHECK(run({"true"}).returncode == 0);
    CHECK(caught<plait::TimeoutExpired>([] { run({"sleep", "1000"}, {.timeout = 20ms}); }));
    CHECK(other.join() == 9);
}
