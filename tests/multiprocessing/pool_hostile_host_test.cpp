// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/disposition.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// Pools of programs that fork by themselves, reap whatever there is, ignore signals or are ended by them.

using namespace std::chrono_literals;
using namespace support;
using plait::Future;
using plait::ProcessDied;
using plait::UsageError;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace {

void reap_everybody(int) {
    const int error = errno;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    errno = error;
}

/// A program of its own with a pool whose workers all stand at gates; it leads a process group.
struct Program {
    Program(const Shape& shape, int ignored_signal)
        : gates(shape.count()), processes{make_pipe()}, child{[&] { return run(shape, ignored_signal); }} {
        ::close(processes.second);
        for (std::size_t i = 0; i <= shape.count(); ++i) {
            int pid = 0;
            if (::read(processes.first, &pid, sizeof pid) == static_cast<ssize_t>(sizeof pid)) pids.push_back(pid);
        }
        ::close(processes.first);
    }

    static std::pair<int, int> make_pipe() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
        return {ends[0], ends[1]};
    }

    int run(const Shape& shape, int ignored_signal) {
        ::setpgid(0, 0);
        for (const int number : {SIGINT, SIGTERM, SIGHUP})
            ::signal(number, number == ignored_signal ? SIG_IGN : SIG_DFL);
        const int log = ::open(messages().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ::dup2(log, 2);
        Pool pool(shape.with());
        std::vector<std::string> paths;
        for (Gate& gate : gates) paths.push_back(gate.path());
        auto whole = pool.map_async(pass_gate, paths, 1);
        auto numbers = pids_of(pool);
        numbers.push_back(maker_of(pool));
        if (::write(processes.second, numbers.data(), numbers.size() * sizeof(int)) < 0) return 1;
        return whole.get(60s).size() == shape.count() ? 0 : 2;
    }
    [[nodiscard]] std::string messages() const { return folder.file("messages"); }
    [[nodiscard]] bool stands() {
        for (Gate& gate : gates)
            if (!gate.reached()) return false;
        return pids.size() == gates.size() + 1;
    }

    TemporaryFolder folder;
    std::vector<Gate> gates;
    std::pair<int, int> processes;
    std::vector<int> pids;
    ForkedChild child;
};

std::string lines_of(const char* command) {
    std::FILE* const pipe = ::popen(command, "r");
    std::string lines;
    for (int c = 0; (c = std::fgetc(pipe)) != EOF;) lines += static_cast<char>(c);
    ::pclose(pipe);
    return lines;
}

/// The sockets and files that `pid` has open or mapped by a name by which another program could open them, too.
std::vector<std::string> names_held_by(int pid) {
    std::set<std::string> bound;  // sockets with an address, by inode
    std::ifstream sockets{"/proc/net/unix"};
    for (std::string line; std::getline(sockets, line);) {
        std::istringstream words{line};
        std::string skipped;
        std::string inode;
        std::string path;
        for (int i = 0; i < 6; ++i) words >> skipped;
        if (words >> inode >> path) bound.insert("socket:[" + inode + "]");
    }
    std::vector<std::string> names;
    const auto note = [&](const std::string& target) {
        const bool deleted = target.ends_with(" (deleted)");
        if (bound.count(target) != 0 ||
            (!deleted && (target.starts_with("/dev/shm/") || target.starts_with("/tmp/plait"))))
            names.push_back(target);
    };
    const std::string folder = "/proc/" + std::to_string(pid);
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder + "/fd", ignored))
        note(std::filesystem::read_symlink(entry, ignored).string());
    std::ifstream maps{folder + "/maps"};
    for (std::string line; std::getline(maps, line);)
        if (const auto path = line.find('/'); path != std::string::npos) note(line.substr(path));
    return names;
}

/// What a program has one of, and a library must not change.
std::string state_of_this_program() {
    std::ostringstream state;
    for (int number = 1; number < 65; ++number) {
        struct ::sigaction action{};
        if (::sigaction(number, nullptr, &action) == 0)
            state << number << ':' << reinterpret_cast<const void*>(action.sa_handler) << ',' << action.sa_flags << ' ';
    }
    sigset_t mask;
    ::sigprocmask(SIG_BLOCK, nullptr, &mask);
    for (int number = 1; number < 65; ++number) state << ::sigismember(&mask, number);
    const mode_t creation = ::umask(0);
    ::umask(creation);
    state << " umask " << creation << " in " << std::filesystem::current_path() << " group " << ::getpgrp()
          << " session " << ::getsid(0) << " locale " << std::setlocale(LC_ALL, nullptr);
    return state.str();
}

/// Which signals a process blocks, and which it ignores.
std::pair<bool, bool> blocks_usr2_and_ignores_hup(int) {
    sigset_t mask;
    ::sigprocmask(SIG_BLOCK, nullptr, &mask);
    struct ::sigaction action{};
    ::sigaction(SIGHUP, nullptr, &action);
    return {::sigismember(&mask, SIGUSR2) == 1, action.sa_handler == SIG_IGN};
}

}  // namespace

TEST_CASE("a forked copy of the program neither uses nor ends the pool") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    auto pool = std::make_unique<Pool>(shape.with());
    Gate gate;
    auto running = pool->apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    const auto pids = pids_of(*pool);
    const int code = in_a_child([&] {
        int refused = 0;
        const auto is_refused = [&](auto use) {
            try {
                use();
            } catch (const UsageError&) {
                ++refused;
            }
        };
        is_refused([&] { pool->apply_async(square, 1).wait(); });
        is_refused([&] { static_cast<void>(pool->map(square, std::vector{1})); });
        is_refused([&] { static_cast<void>(pool->workers()); });
        is_refused([&] { pool->close(); });
        is_refused([&] { pool->terminate(); });
        is_refused([&] { pool->join(); });
        running = {};
        pool.reset();
        return 6 - refused;
    });
    CHECK(code == 0);
    CHECK_FALSE(running.ready());
    gate.open();
    CHECK(running.get(30s) == 1);
    CHECK(pool->map(square, numbers_up_to(3), 1) == std::vector{0, 1, 4});
    CHECK(pids_of(*pool) == pids);
}

TEST_CASE("a pool closes quickly though a copy of the program lives on") {
    const Shape shape{GENERATE(1, 8), any_start_method()};
    CAPTURE(shape);
    const ForkedChild before{[] { return wait_for_ever(); }};
    // Five seconds are what a maker is left that does not end.
    CHECK(is_quick(4s, [&] {
        Pool pool(shape.with());
        CHECK(pool.apply(square, 3) == 9);
        // It holds whatever the pool has open, and does not execute anything.
        const ForkedChild copy{[] { return wait_for_ever(); }};
        CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
        const auto begin = std::chrono::steady_clock::now();
        pool.close();
        CHECK(pool.join(30s));
        return begin;
    }));
}

TEST_CASE("a pool needs no SIGCHLD and reaps nobody else's child") {
    const Shape shape = any_shape();
    const auto handler = GENERATE(as<void (*)(int)>{}, SIG_DFL, SIG_IGN);
    CAPTURE(shape, handler == SIG_IGN);
    int status = -1;
    const pid_t stranger = ::fork();
    if (stranger == 0) ::_exit(7);
    // Collected first: who ignores SIGCHLD has none to collect.
    if (handler == SIG_IGN) ::waitpid(stranger, &status, 0);
    struct ::sigaction after{};
    {
        const support::Disposition disposition{SIGCHLD, handler, 0};
        {
            Pool pool(shape.with());
            CHECK(caught<ProcessDied>([&] { pool.apply(exit_with, 3); }).value().exitcode() == 3);
            CHECK(pool.apply(square, 3) == 9);
            CHECK(pool.apply([](int) { return WEXITSTATUS(std::system("exit 4")); }, 0) == 4);
        }
        ::sigaction(SIGCHLD, nullptr, &after);
    }
    CHECK(after.sa_handler == handler);
    if (handler != SIG_IGN) ::waitpid(stranger, &status, 0);
    CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("a pool lives with a program that reaps whatever ends") {
    const Shape shape = any_shape();
    const int way = GENERATE(0, 1, 2);
    CAPTURE(shape, way);
    std::atomic<bool> over{false};
    std::thread reaper;
    {
        const support::Disposition disposition{SIGCHLD, way == 0 ? reap_everybody : SIG_DFL,
                                               way == 1 ? SA_NOCLDWAIT | SA_RESTART : SA_RESTART};
        Pool pool(shape.with());
        if (way == 2)
            reaper = std::thread([&] {
                while (!over)
                    if (::waitpid(-1, nullptr, WNOHANG) <= 0) std::this_thread::yield();
            });
        for (int i = 0; i < 5; ++i) {
            CHECK(caught<ProcessDied>([&] { pool.apply_async(exit_with, 3).get(30s); }).value().exitcode() == 3);
            CHECK(pool.apply_async(square, i).get(30s) == i * i);
        }
        pool.close();
        CHECK(pool.join(30s));
        over = true;
        if (reaper.joinable()) reaper.join();
    }
    CHECK(children().empty());
}

TEST_CASE("writing to workers that died raises no SIGPIPE") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    const support::Disposition by_default{SIGPIPE, SIG_DFL};
    Pool pool(shape.with({.restart_limit = 1000}));  // they are killed while they start, too
    const std::vector<std::string> large(4, std::string(1 << 20, 'x'));
    for (int round = 0; round < rounds(5); ++round) {
        auto future = pool.map_async([](const std::string& text) { return text.size(); }, large, 1);
        for (const int pid : pids_of(pool)) ::kill(pid, SIGKILL);
        CHECK(end_of(future) != "no answer");
    }
}

TEST_CASE("a signal that ends the program, alone or with its group, ends its workers, and they say nothing") {
    const Shape shape = any_shape();
    const int number = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGKILL);
    const bool to_group = GENERATE(false, true);
    CAPTURE(shape, number, to_group);
    Program program{shape, 0};
    REQUIRE(program.stands());
    ::kill(to_group ? -program.child.pid() : program.child.pid(), number);
    CHECK(program.child.join(30s) == -number);
    CHECK(within(30s, [&] { return none_lives(program.pids); }));
    CHECK(std::filesystem::file_size(program.messages()) == 0);
}

TEST_CASE("an interrupt from the terminal that the program takes no notice of disturbs no worker") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Program program{shape, SIGINT};
    REQUIRE(program.stands());
    for (int i = 0; i < 3; ++i) ::kill(-program.child.pid(), SIGINT);
    for (Gate& gate : program.gates) gate.open();
    CHECK(program.child.join(30s) == 0);
    CHECK(within(30s, [&] { return none_lives(program.pids); }));
    CHECK(std::filesystem::file_size(program.messages()) == 0);
}

TEST_CASE("a program that is stopped for a while and goes on has lost nobody") {
    const Shape shape{8, any_start_method()};
    CAPTURE(shape);
    Program program{shape, 0};
    REQUIRE(program.stands());
    program.child.signal(SIGSTOP);
    for (Gate& gate : program.gates) gate.open();
    // Longer than anybody waits for a sign of life.
    CHECK_FALSE(program.child.join(1200ms));
    CHECK(is_alive(program.pids[0]));
    program.child.signal(SIGCONT);
    CHECK(program.child.join(30s) == 0);
}

TEST_CASE("of the signals that reach a worker those end it that end any process, and are told by name") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    // Before it is a worker a new process takes SIGINT as any other.
    REQUIRE(within(30s, [&] {
        const auto workers = pool.workers();
        return std::none_of(workers.begin(), workers.end(), [](const auto& worker) {
            return worker.state == plait::multiprocessing::WorkerInfo::State::starting;
        });
    }));
    for (const int harmless : {SIGINT, SIGCHLD, SIGWINCH, SIGURG, SIGCONT}) {
        CAPTURE(harmless);
        Gate gate;
        auto running = pool.apply_async(pass_gate, gate.path());
        REQUIRE(gate.reached());
        const auto pids = pids_of(pool);
        for (const int pid : pids) ::kill(pid, harmless);
        gate.open();
        CHECK(running.get(30s) == 1);
        CHECK(pids_of(pool) == pids);
    }
    for (const int deadly : {SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGKILL}) {
        CAPTURE(deadly);
        Gate gate;
        auto running = pool.apply_async(pass_gate, gate.path());
        REQUIRE(gate.reached());
        ::kill(busy_worker_of(pool), deadly);
        CHECK(caught<ProcessDied>([&] { running.get(30s); }).value().signal() == deadly);
    }
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("workers block and ignore the signals that the program blocked and ignored, replacements too") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    const support::Disposition ignored{SIGHUP, SIG_IGN};
    sigset_t blocked;
    sigset_t before;
    ::sigemptyset(&blocked);
    ::sigaddset(&blocked, SIGUSR2);
    ::sigprocmask(SIG_BLOCK, &blocked, &before);
    std::pair<bool, bool> first;
    std::pair<bool, bool> second;
    {
        Pool pool(shape.with());
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
        first = pool.apply(blocks_usr2_and_ignores_hup, 0);
        for (int i = 0; i < shape.processes; ++i) CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
        second = pool.apply(blocks_usr2_and_ignores_hup, 0);
    }
    CHECK(first == std::pair{true, true});
    CHECK(second == std::pair{true, true});
}

TEST_CASE("a pool changes nothing that the program has one of") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    const std::string before = state_of_this_program();
    {
        Pool pool(shape.with());
        CHECK(pool.apply(square, 3) == 9);
        CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
        CHECK(state_of_this_program() == before);
    }
    CHECK(state_of_this_program() == before);
}

TEST_CASE("what the program executes gets nothing of the pool") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto list = "ls /proc/self/fd";
    const std::string before = lines_of(list);
    Pool pool(shape.with());
    CHECK(pool.apply(square, 3) == 9);
    CHECK(lines_of(list) == before);
    CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
    CHECK(lines_of(list) == before);
}

TEST_CASE("nothing of a pool has a name by which another program could open it") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK(pool.map(square, numbers_up_to(20), 1).size() == 20);
    CHECK(pool.apply([](const std::string& text) { return text.size(); }, std::string(4 << 20, 'x')) == 4 << 20);
    auto pids = pids_of(pool);
    pids.push_back(maker_of(pool));
    pids.push_back(::getpid());
    for (const int pid : pids) CHECK(names_held_by(pid) == std::vector<std::string>{});
}

TEST_CASE("pools come and go while other threads hold the locks of the C library") {
    const Shape shape{GENERATE(1, 8), GENERATE(StartMethod::forkserver, StartMethod::spawn)};
    CAPTURE(shape);
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    std::FILE* const nowhere = std::fopen("/dev/null", "we");
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            while (!over) {
                const std::string filler(static_cast<std::size_t>(100 + 1000 * i), 'x');
                std::fprintf(nowhere, "%s", filler.c_str());
            }
        });
    for (int round = 0; round < rounds(5); ++round) {
        Pool pool(shape.with());
        CHECK(pool.apply_async(square, round).get(30s) == round * round);
        CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
    }
    over = true;
    for (std::thread& thread : threads) thread.join();
    std::fclose(nowhere);
}

TEST_CASE("a task that is stuck at a full standard output is that task's matter only") {
    const Shape shape{GENERATE(2, 8), any_start_method()};
    CAPTURE(shape);
    constexpr auto print_much = [](std::string gate) {
        static_cast<void>(pass_gate(std::move(gate)));
        const std::string line(100'000, 'x');
        return static_cast<int>(std::fwrite(line.data(), 1, line.size(), stdout));
    };
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    std::fflush(stdout);
    const int saved = ::fcntl(1, F_DUPFD_CLOEXEC, 100);
    ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
    const std::string page(4096, 'x');
    while (::write(ends[1], page.data(), page.size()) > 0) {
    }
    ::fcntl(ends[1], F_SETFL, 0);
    ::dup2(ends[1], 1);
    std::unique_ptr<Pool> pool;
    bool is_made = true;
    try {
        pool = std::make_unique<Pool>(shape.with());
        static_cast<void>(pool->apply(square, 3));
    } catch (...) {
        is_made = false;
    }
    ::dup2(saved, 1);
    ::close(saved);
    REQUIRE(is_made);
    Gate gate;
    auto stuck = pool->apply_async(print_much, gate.path());
    REQUIRE(gate.reached());  // it has begun
    gate.open();
    for (int i = 0; i < 20; ++i) CHECK(pool->apply_async(square, i).get(30s) == i * i);
    CHECK_FALSE(stuck.ready());
    pool->terminate();
    CHECK(pool->join(30s));
    CHECK(end_of(stuck) == "ProcessDied");
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("a pool that is static ends with its program, also by an exit in a callback") {
    const Shape shape = any_shape();
    const bool in_callback = GENERATE(false, true);
    CAPTURE(shape, in_callback);
    ForkedChild program{[&]() -> int {
        // The tests' own static objects are the parent's matter.
        static std::unique_ptr<Pool> pool;
        pool = std::make_unique<Pool>(shape.with());
        if (pool->apply(square, 3) != 9) return 1;
        if (in_callback) {
            pool->apply_async(square, 4).add_done_callback([](const Future<int>&) { std::exit(5); });
            wait_for_ever();
        }
        std::exit(5);
    }};
    CHECK(program.join(30s) == 5);
}
