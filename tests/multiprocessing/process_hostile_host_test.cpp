// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/os/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>

// Processes of programs that end, are killed, reap every child or none, and fork by themselves.

using namespace std::chrono_literals;
using namespace support;
using plait::UsageError;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace {

void do_nothing() {}
void run_exit_with(int code) { exit_with(code); }
void stand_at(const std::string& gate) { pass_gate(gate); }

StartMethod any_start_method() { return GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork); }

/// Runs `body` in a copy of this program, which is to be killed.
template <class Body>
pid_t fork_and_run(Body body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        try {
            body();
        } catch (...) {
            ::_exit(1);
        }
        ::_exit(0);
    }
    return pid;
}

}  // namespace

TEST_CASE("a daemon goes with its program, however that ends, and others stay") {
    const auto start_method = any_start_method();
    const int signal = GENERATE(SIGKILL, SIGTERM);
    Gate daemons_gate;
    Gate stopped_gate;
    Gate others_gate;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t program = fork_and_run([&] {
        ::signal(SIGTERM, SIG_DFL);
        Process daemon(ProcessOptions{.daemon = true, .start_method = start_method}, stand_at, daemons_gate.path());
        Process stopped(ProcessOptions{.daemon = true, .start_method = start_method}, stand_at, stopped_gate.path());
        Process other(ProcessOptions{.start_method = start_method}, stand_at, others_gate.path());
        daemon.start();
        stopped.start();
        other.start();
        const int pids[] = {static_cast<int>(*daemon.pid()), static_cast<int>(*stopped.pid()),
                            static_cast<int>(*other.pid())};
        if (::write(ends[1], pids, sizeof pids) < 0) ::_exit(1);
        for (;;) ::pause();
    });
    int pids[3] = {};
    const bool told = ::read(ends[0], pids, sizeof pids) == static_cast<ssize_t>(sizeof pids);
    ::close(ends[0]);
    ::close(ends[1]);
    const bool all_stand = daemons_gate.reached() && stopped_gate.reached() && others_gate.reached();
    // Not every system wakes the stopped one to hear of it.
    if (all_stand && plait::os::children_die_with_parent) ::kill(pids[1], SIGSTOP);
    ::kill(program, signal);
    ::waitpid(program, nullptr, 0);
    REQUIRE(told);
    REQUIRE(all_stand);
    const auto begin = std::chrono::steady_clock::now();
    CHECK(within(30s, [&] { return !is_alive(pids[0]) && !is_alive(pids[1]); }));
    CHECK(std::chrono::steady_clock::now() - begin < 2s);
    CHECK(is_alive(pids[2]));
    others_gate.open();
    CHECK(within(30s, [&] { return !is_alive(pids[2]); }));
}

TEST_CASE("a daemon that is stopped and goes on while it ends has ended by itself") {
    constexpr auto end_at = [](const std::string& gate) {
        static std::string path;
        path = gate;
        std::atexit([] { pass_gate(path); });
    };
    Gate gate;
    Process daemon(ProcessOptions{.daemon = true, .start_method = StartMethod::spawn}, end_at, gate.path());
    daemon.start();
    REQUIRE(gate.reached());
    const int pid = static_cast<int>(*daemon.pid());
    ::kill(pid, SIGSTOP);
    REQUIRE(within(30s, [&] { return process_state(pid).value().state == 'T'; }));
    ::kill(pid, SIGCONT);
    CHECK_FALSE(daemon.join(20ms));
    gate.open();
    daemon.join();
    CHECK(daemon.exit_status().text == "exited with status 0");
}

TEST_CASE("a daemon whose program ends at once does not stay") {
    const auto start_method = any_start_method();
    for (int round = 0; round < 10; ++round) {
        Gate gate;
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        const pid_t program = fork_and_run([&] {
            Process daemon(ProcessOptions{.daemon = true, .start_method = start_method}, stand_at, gate.path());
            daemon.start();
            const int pid = static_cast<int>(*daemon.pid());
            ::_exit(::write(ends[1], &pid, sizeof pid) == static_cast<ssize_t>(sizeof pid) ? 0 : 1);
        });
        int pid = 0;
        const bool told = ::read(ends[0], &pid, sizeof pid) == static_cast<ssize_t>(sizeof pid);
        ::close(ends[0]);
        ::close(ends[1]);
        ::waitpid(program, nullptr, 0);
        REQUIRE(told);
        CHECK(within(30s, [&] { return !is_alive(pid); }));
    }
}

TEST_CASE("a host that ignores SIGCHLD, or reaps every child, loses statuses at most") {
    struct ::sigaction ignore{};
    struct ::sigaction before{};
    ignore.sa_handler = SIG_IGN;
    const auto start_method = any_start_method();
    ::sigaction(SIGCHLD, &ignore, &before);
    {
        Process child(ProcessOptions{.start_method = start_method}, do_nothing);
        child.start();
        CHECK(child.join(30s));
        CHECK_FALSE(child.is_alive());
        CHECK(child.exitcode() == 0);  // it has said so itself
    }
    ::sigaction(SIGCHLD, &before, nullptr);
    {
        Process child(ProcessOptions{.start_method = start_method}, run_exit_with, 3);
        child.start();
        while (::waitpid(-1, nullptr, 0) < 0) {
        }
        CHECK(child.join(30s));
        CHECK_FALSE(child.is_alive());
        CHECK((!child.exitcode() || child.exitcode() == 3));
        child.terminate();
        child.kill();
    }
}

TEST_CASE("a child that is not ours keeps its status, and SIGCHLD its handler") {
    struct ::sigaction before{};
    ::sigaction(SIGCHLD, nullptr, &before);
    const pid_t stranger = fork_and_run([] { ::_exit(7); });
    Process child(do_nothing);
    child.start();
    child.join();
    int status = 0;
    CHECK(::waitpid(stranger, &status, 0) == stranger);
    CHECK(WEXITSTATUS(status) == 7);
    struct ::sigaction after{};
    ::sigaction(SIGCHLD, nullptr, &after);
    CHECK(after.sa_handler == before.sa_handler);
}

TEST_CASE("a forked copy of the program neither uses nor waits for the program's processes") {
    Gate gate;
    auto* const child = new Process(stand_at, gate.path());
    child->start();
    REQUIRE(gate.reached());
    const pid_t copy = fork_and_run([&] {
        int code = 1;
        try {
            child->join();
        } catch (const UsageError&) {
            code = 0;
        }
        delete child;
        ::_exit(code);
    });
    int status = -1;
    ::waitpid(copy, &status, 0);
    CHECK(status == 0);
    CHECK(child->is_alive());
    gate.open();
    delete child;
}
