// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"
#include "support/served.hpp"

#include <plait/os/process.hpp>

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

// Processes of programs that end, are killed, reap every child or none, and fork by themselves.

using namespace std::chrono_literals;
using namespace support;
using plait::UsageError;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace {

/// As after a change of its user, say: the system does not wake it at its parent's end.
void stand_unwoken_at(const std::string& gate) {
    ::prctl(PR_SET_PDEATHSIG, 0);
    pass_gate(gate);
}
void spin(int) {
    for (volatile int turns = 0;;) turns = turns + 1;
}

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
        Process busy(ProcessOptions{.daemon = true, .start_method = start_method}, spin, 0);
        Process other(ProcessOptions{.start_method = start_method}, stand_at, others_gate.path());
        daemon.start();
        // The end of the thread that started it is no end of the program.
        std::thread([&] { stopped.start(); }).join();
        busy.start();
        other.start();
        const int pids[] = {static_cast<int>(*daemon.pid()), static_cast<int>(*stopped.pid()),
                            static_cast<int>(*busy.pid()), static_cast<int>(*other.pid())};
        if (::write(ends[1], pids, sizeof pids) < 0) ::_exit(1);
        for (;;) ::pause();
    });
    int pids[4] = {};
    const bool told = ::read(ends[0], pids, sizeof pids) == static_cast<ssize_t>(sizeof pids);
    ::close(ends[0]);
    ::close(ends[1]);
    const bool all_stand = daemons_gate.reached() && stopped_gate.reached() && others_gate.reached();
    // Only a server, or another process with a watch for it, ends a stopped one.
    if (all_stand && (plait::os::can_watch_processes() || start_method == StartMethod::forkserver)) {
        ::kill(pids[1], SIGSTOP);
        CHECK(within(30s, [&] { return process_state(pids[1]).value().state == 'T'; }));
    }
    ::kill(program, signal);
    ::waitpid(program, nullptr, 0);
    REQUIRE(told);
    REQUIRE(all_stand);
    CHECK(within(30s, [&] { return !is_alive(pids[0]) && !is_alive(pids[1]) && !is_alive(pids[2]); }));
    CHECK(is_alive(pids[3]));
    others_gate.open();
    CHECK(within(30s, [&] { return !is_alive(pids[3]); }));
}

TEST_CASE("a daemon goes with its program also where the server was killed before, and where a host's fork lives on") {
    const bool server_is_killed = GENERATE(true, false);
    if (!server_is_killed && !plait::os::can_watch_processes()) return;  // the fork holds the only sign of the end
    Gate gate;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t program = fork_and_run([&] {
        Process daemon(ProcessOptions{.daemon = true}, stand_at, gate.path());
        daemon.start();
        pid_t copy = 0;
        if (server_is_killed)
            ::kill(static_cast<pid_t>(*fork_server().pid()), SIGKILL);
        else if ((copy = ::fork()) == 0)
            for (;;) ::pause();
        const int pids[] = {static_cast<int>(*daemon.pid()), copy};
        if (::write(ends[1], pids, sizeof pids) < 0) ::_exit(1);
        for (;;) ::pause();
    });
    int pids[2] = {};
    const bool told = ::read(ends[0], pids, sizeof pids) == static_cast<ssize_t>(sizeof pids);
    ::close(ends[0]);
    ::close(ends[1]);
    const bool stands = gate.reached();
    ::kill(program, SIGKILL);
    ::waitpid(program, nullptr, 0);
    const bool ends_too = within(30s, [&] { return told && !is_alive(pids[0]); });
    if (pids[1] > 0) ::kill(pids[1], SIGKILL);
    CHECK(stands);
    CHECK(ends_too);
}

TEST_CASE("a stopped daemon that nothing wakes goes with its program, also where the server was let go of") {
    if (!plait::os::can_watch_processes()) return;  // then no server sees to what it did not make
    const auto start_method = GENERATE(StartMethod::spawn, StartMethod::fork);
    const bool lets_go = GENERATE(false, true);
    Gate gate;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t program = fork_and_run([&] {
        Process daemon(ProcessOptions{.daemon = true, .start_method = start_method}, stand_unwoken_at, gate.path());
        daemon.start();
        if (lets_go) static_cast<void>(fork_server().stop());
        const int pid = static_cast<int>(*daemon.pid());
        if (::write(ends[1], &pid, sizeof pid) < 0) ::_exit(1);
        for (;;) ::pause();
    });
    int pid = 0;
    const bool told = ::read(ends[0], &pid, sizeof pid) == static_cast<ssize_t>(sizeof pid);
    ::close(ends[0]);
    ::close(ends[1]);
    const bool stands = gate.reached();
    if (stands && told) {
        ::kill(pid, SIGSTOP);
        CHECK(within(30s, [&] { return process_state(pid).value().state == 'T'; }));
    }
    ::kill(program, SIGKILL);
    ::waitpid(program, nullptr, 0);
    REQUIRE((told && stands));
    CHECK(within(30s, [&] { return !is_alive(pid); }));
}

TEST_CASE("an interrupt of the program's group ends it and its children, and leaves no server") {
    Gate gate;
    Gate other;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t program = fork_and_run([&] {
        ::setpgid(0, 0);
        ::signal(SIGINT, SIG_DFL);
        Process child(stand_at, gate.path());
        Process daemon(ProcessOptions{.daemon = true}, stand_at, other.path());
        child.start();
        daemon.start();
        const int pids[] = {static_cast<int>(*child.pid()), static_cast<int>(*daemon.pid()),
                            static_cast<int>(*fork_server().pid())};
        if (::write(ends[1], pids, sizeof pids) < 0) ::_exit(1);
        for (;;) ::pause();
    });
    int pids[3] = {};
    const bool told = ::read(ends[0], pids, sizeof pids) == static_cast<ssize_t>(sizeof pids);
    ::close(ends[0]);
    ::close(ends[1]);
    const bool all_stand = gate.reached() && other.reached();
    ::kill(-program, SIGINT);
    int status = 0;
    ::waitpid(program, &status, 0);
    REQUIRE((told && all_stand));
    CHECK(WTERMSIG(status) == SIGINT);
    for (const int pid : pids) CHECK(within(30s, [&] { return !is_alive(pid); }));
}

TEST_CASE("a daemon's own daemons go with it") {
    const auto start_method = any_start_method();
    Gate gate;
    TemporaryFolder folder;
    Process daemon(
        ProcessOptions{.daemon = true, .start_method = start_method},
        [](const std::string& path, const std::string& file, StartMethod method) {
            Process grandchild(ProcessOptions{.daemon = true, .start_method = method}, stand_at, path);
            grandchild.start();
            std::ofstream{file} << *grandchild.pid() << std::flush;
            grandchild.join();
        },
        gate.path(), folder.file("pid"), start_method);
    daemon.start();
    REQUIRE(gate.reached());
    int grandchild = 0;
    CHECK(within(30s, [&] { return static_cast<bool>(std::ifstream{folder.file("pid")} >> grandchild); }));
    CHECK(is_alive(grandchild));
    daemon.kill();
    daemon.join();
    CHECK(within(30s, [&] { return !is_alive(grandchild); }));
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
        while (::waitpid(-1, nullptr, 0) < 0 && errno != ECHILD) {
        }
        CHECK(child.join(30s));
        CHECK_FALSE(child.is_alive());
        CHECK((!child.exitcode() || child.exitcode() == 3));
        child.terminate();
        child.kill();
    }
}

TEST_CASE("a host whose thread reaps every child loses statuses at most") {
    const auto start_method = any_start_method();
    std::atomic<bool> over{false};
    std::thread reaper{[&] {
        while (!over) ::waitpid(-1, nullptr, WNOHANG);
    }};
    bool all_ended = true;
    for (int i = 0; i < 20; ++i) {
        Process child(ProcessOptions{.start_method = start_method}, run_exit_with, 3);
        child.start();
        all_ended = all_ended && child.join(30s) && !child.is_alive() && child.exitcode().value_or(3) == 3;
    }
    over = true;
    reaper.join();
    CHECK(all_ended);
}

TEST_CASE("a process's number is not signalled after its end, whoever has it then") {
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn);
    CHECK(in_a_child([&] {
              Process child(ProcessOptions{.start_method = start_method}, do_nothing);
              child.start();
              child.join();
              auto number = static_cast<pid_t>(*child.pid());
              if (!within(30s, [&] { return !process_state(number); })) return 1;
              clone_args arguments{};
              arguments.exit_signal = SIGCHLD;
              arguments.set_tid = reinterpret_cast<std::uintptr_t>(&number);
              arguments.set_tid_size = 1;
              const long other = ::syscall(SYS_clone3, &arguments, sizeof arguments);
              if (other == 0)
                  for (;;) ::pause();
              if (other < 0) return 0;  // this user may not choose a number
              child.terminate();
              child.kill();
              const bool untouched = child.join(1s) && ::waitpid(number, nullptr, WNOHANG) == 0 && is_alive(number);
              ::kill(number, SIGKILL);
              ::waitpid(number, nullptr, 0);
              return untouched ? 0 : 2;
          }) == 0);
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
