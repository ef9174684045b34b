// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/worker.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/process_info.hpp>

#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

// What a task may do to the process that it runs in.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::ProcessDied;
using plait::UsageError;
using plait::multiprocessing::CallOptions;
using plait::multiprocessing::current_process;
using plait::multiprocessing::parent_process;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::ProcessInfo;
using plait::multiprocessing::StartMethod;

namespace {

/// Writes `bytes` to whatever the worker has open beyond the standard streams, as much as that takes at once.
int write_everywhere(const std::string& bytes) {
    int written = 0;
    for (const Descriptor& descriptor : open_descriptors()) {
        if (descriptor.number <= 2) continue;
        for (std::size_t at = 0; at < bytes.size(); at += 4096) {
            pollfd item{descriptor.number, POLLOUT, 0};
            if (::poll(&item, 1, 0) != 1 || (item.revents & POLLOUT) == 0) break;
            if (::write(descriptor.number, bytes.data() + at, (std::min)(bytes.size() - at, std::size_t{4096})) < 0)
                break;
            ++written;
        }
    }
    return written;
}

/// Overwrites all memory that the worker shares with anybody: with `byte`, or by chance where that is negative.
int scribble_over_shared_memory(int byte) {
    struct Range {
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
    };
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT}) ::signal(number, SIG_DFL);  // it may well die of this
    std::vector<Range> ranges;
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);) {
        Range range;
        char kind[5] = {};
        if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s", &range.begin, &range.end, kind) == 3 &&
            std::string_view{kind} == "rw-s")
            ranges.push_back(range);
    }
    std::minstd_rand random;
    for (const Range& range : ranges)
        for (std::uintptr_t at = range.begin; at < range.end; ++at)
            *reinterpret_cast<volatile unsigned char*>(at) =
                static_cast<unsigned char>(byte < 0 ? random() >> 8 : static_cast<unsigned>(byte));
    return static_cast<int>(ranges.size());
}

/// How a task ends that does its worst to its worker. Where it does not end its pool is over.
template <class T>
std::string end_of_hostile(Pool& pool, const plait::Future<T>& future) {
    std::string end = end_of(future);
    if (end == "no answer") pool.terminate();
    return end;
}

int close_everything(int) {
    for (const Descriptor& descriptor : open_descriptors()) ::close(descriptor.number);
    return 1;
}
int close_everything_and_stay(int) {
    close_everything(0);
    return run_for_ever(0);
}

std::string contents(const std::string& file) {
    std::ifstream in{file};
    return {std::istreambuf_iterator<char>{in}, {}};
}

std::string family() {
    const ProcessInfo self = current_process();
    const ProcessInfo parent = parent_process().value();
    return self.name() + (self.pid() == ::getpid() ? " of " : " (another) of ") + parent.name() + " " +
           std::to_string(parent.pid()) + (parent.is_alive() ? "" : " (dead)");
}

}  // namespace

TEST_CASE("a worker knows its own name and its parent, which is the program") {
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    CHECK(pool.apply(family) == "PoolWorker-1 of MainProcess " + std::to_string(::getpid()));
}

TEST_CASE("a task that writes to whatever its worker has open costs that worker at most") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.termination_grace = 100ms}));
    Gate gate;
    auto sibling = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    if (shape.processes == 1) gate.open();
    const std::string garbage[] = {
        "x",
        "eight...",
        "this is nothing that anybody waits for, but long enough for something of that kind",
        std::string(8, '\xFF'),
        std::string(64, '\0'),
        std::string(100'000, '\xFF'),
    };
    for (const std::string& bytes : garbage) {
        CAPTURE(bytes.size());
        const std::string end = end_of_hostile(pool, pool.apply_async(write_everywhere, bytes));
        CAPTURE(end);
        REQUIRE((end == "value" || end == "ProcessDied"));
        CHECK(pool.apply_async(square, 3).get(30s) == 9);
    }
    gate.open();
    if (shape.processes > 1) CHECK(sibling.get(30s) == 1);
}

TEST_CASE("a task that scribbles over what its worker shares with the program costs that worker at most") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    for (const int byte : {0, 0xFF, 1, 0x80, -1}) {
        CAPTURE(byte);
        Pool pool(shape.with({.termination_grace = 100ms}));
        for (int round = 0; round < 3; ++round) {
            REQUIRE(end_of_hostile(pool, pool.apply_async(scribble_over_shared_memory, byte)) != "no answer");
            REQUIRE(end_of_hostile(pool, pool.apply_async(square, 3)) == "value");
        }
        REQUIRE(end_of_hostile(pool, pool.map_async(square, numbers_up_to(20), 3)) == "value");
        pool.close();
        CHECK(pool.join(30s));
    }
}

TEST_CASE("a task that scribbles and stays is ended by its time limit") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto scribble_and_stay = [](int with) {
        scribble_over_shared_memory(with);
        return run_for_ever(0);
    };
    for (const int byte : {0, 0xFF, -1}) {
        CAPTURE(byte);
        Pool pool(shape.with({.task_timeout = 100ms, .termination_grace = 100ms}));
        const std::string end = end_of_hostile(pool, pool.apply_async(scribble_and_stay, byte));
        CAPTURE(end);
        REQUIRE((end == "TaskTimeoutError" || end == "ProcessDied"));
        REQUIRE(end_of_hostile(pool, pool.apply_async(CallOptions{.timeout = 30s}, square, 3)) == "value");
    }
}

TEST_CASE("a task that scribbles over its worker's memory leaves the tasks of other workers alone") {
    const Shape shape{GENERATE(2, 8), any_start_method()};
    CAPTURE(shape);
    for (const int byte : {0, 0xFF, -1}) {
        CAPTURE(byte);
        std::vector<Gate> gates(shape.count() - 1);
        std::vector<plait::Future<int>> siblings;
        Pool pool(shape.with({.termination_grace = 100ms}));
        for (Gate& gate : gates) siblings.push_back(pool.apply_async(pass_gate, gate.path()));
        for (Gate& gate : gates) REQUIRE(gate.reached());
        REQUIRE(end_of_hostile(pool, pool.apply_async(scribble_over_shared_memory, byte)) != "no answer");
        for (Gate& gate : gates) gate.open();
        for (auto& sibling : siblings) REQUIRE(end_of_hostile(pool, sibling) == "value");
    }
}

TEST_CASE("of a chunk with a task that writes to what its worker has open no item is begun twice") {
    TemporaryFolder folder;
    constexpr auto visit = [](const std::string& file, int x) {
        std::ofstream{file, std::ios::app} << x << '\n';
        if (x == 4) write_everywhere(std::string(100, '\xFF'));
        return x;
    };
    std::vector<std::tuple<std::string, int>> items;
    for (int x = 0; x < 8; ++x) items.emplace_back(folder.file("visits"), x);
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    const std::string end = end_of_hostile(pool, pool.starmap_async(visit, items, 8));
    CAPTURE(end);
    REQUIRE((end == "value" || end == "ProcessDied"));
    CHECK(contents(folder.file("visits")) == "0\n1\n2\n3\n4\n5\n6\n7\n");
}

TEST_CASE("a task that closes all of its worker's descriptors costs that worker only") {
    Pool pool(PoolOptions{.processes = 1, .termination_grace = 100ms, .start_method = any_start_method()});
    const int worker = pool.apply(own_pid, 0);
    CHECK(pool.apply_async(close_everything, 0).get(30s) == 1);            // its result is whole in the shared memory
    CHECK(within(30s, [&] { return pool.apply(own_pid, 0) != worker; }));  // the pool has to hear of it
    CHECK_THROWS_AS(pool.apply_async(close_everything_and_stay, 0).get(30s), ProcessDied);
    CHECK(pool.apply(square, 4) == 16);
}

TEST_CASE("workers that close their channel before they can work break the pool, as those that die then do") {
    Pool pool(PoolOptions{.processes = 1,
                          .initializer = plait::multiprocessing::Initializer(close_everything_and_stay, 0),
                          .termination_grace = 100ms,
                          .restart_limit = 2,
                          .start_method = any_start_method()});
    CHECK(end_of(pool.apply_async(square, 3)) == "BrokenPoolError");
}

TEST_CASE("a task may close or redirect the standard streams of its worker") {
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    const int worker = pool.apply(own_pid, 0);
    CHECK(pool.apply([](int) { return ::close(0) + ::close(1) + ::close(2); }, 0) == 0);
    CHECK(pool.apply(square, 3) == 9);
    CHECK(pool.apply([](int) { return ::open("/dev/null", O_RDWR) + ::open("/dev/null", O_RDWR); }, 0) == 1);
    CHECK(pool.apply(own_pid, 0) == worker);
}

TEST_CASE("a task that forks and returns in both copies has one result") {
    constexpr auto fork_and_return = [](int) {
        const pid_t child = ::fork();
        if (child > 0) ::waitpid(child, nullptr, 0);
        return child > 0 ? 1 : 2;
    };
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    for (int i = 0; i < 5; ++i) CHECK(pool.apply(fork_and_return, 0) == 1);
    CHECK(pool.map(fork_and_return, std::vector<int>(5), 5) == std::vector<int>(5, 1));
}

TEST_CASE("a task that forks and throws in both copies has one error") {
    constexpr auto fork_and_throw = [](int) {
        const pid_t child = ::fork();
        if (child > 0) ::waitpid(child, nullptr, 0);
        throw std::runtime_error(child > 0 ? "parent" : "child");
    };
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK_THAT(caught<std::runtime_error>([&] { pool.apply(fork_and_throw, 0); }).value().what(),
               ContainsSubstring("parent"));
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("a worker reads nothing from standard input") {
    constexpr auto read_input = [](int) {
        char byte = 0;
        return static_cast<int>(::read(0, &byte, 1));
    };
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    CHECK(pool.apply(read_input, 0) == 0);
    CHECK(pool.apply([](int) { return std::system("cat"); }, 0) == 0);
}

TEST_CASE("workers have standard streams where the program has none, and their channel is never one of them") {
    constexpr auto describe = [](int) {
        std::string text;
        for (int stream = 0; stream < 3; ++stream) {
            char target[64] = {};
            const auto link = "/proc/self/fd/" + std::to_string(stream);
            if (::readlink(link.c_str(), target, sizeof target - 1) < 0) return std::string("closed");
            text += target;
            text += ' ';
        }
        return text;
    };
    const auto start_method = any_start_method();
    const int closed = GENERATE(range(1, 8));  // a bit for each
    CAPTURE(closed);
    const auto is_closed = [closed](int stream) { return (closed >> stream & 1) != 0; };
    std::string expected = "/dev/null ";
    for (const Descriptor& descriptor : open_descriptors())
        if (descriptor.number == 1 || descriptor.number == 2)
            expected += (is_closed(descriptor.number) ? std::string("/dev/null") : descriptor.target) + " ";
    int saved[3];
    for (int stream = 0; stream < 3; ++stream) {
        saved[stream] = ::fcntl(stream, F_DUPFD_CLOEXEC, 100);
        if (is_closed(stream)) ::close(stream);
    }
    std::string streams;
    std::string after_death;
    int answer = 0;
    {
        Pool pool(PoolOptions{.processes = 1, .start_method = start_method});
        streams = pool.apply(describe, 0);
        static_cast<void>(end_of(pool.apply_async(die_by, SIGKILL)));
        after_death = pool.apply(describe, 0);
        answer = pool.apply(square, 3);
    }
    for (int stream = 0; stream < 3; ++stream) {
        ::dup2(saved[stream], stream);
        ::close(saved[stream]);
    }
    CHECK(streams == expected);
    CHECK(after_death == expected);
    CHECK(answer == 9);
}

TEST_CASE("what a task prints is there when its result is") {
    constexpr auto print_to = [](const std::string& file) {
        if (std::freopen(file.c_str(), "w", stdout) == nullptr) return -1;
        return std::printf("no end of line");
    };
    TemporaryFolder folder;
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    CHECK(pool.apply(print_to, folder.file("out")) == 14);
    CHECK(contents(folder.file("out")) == "no end of line");
}

TEST_CASE("a task may start threads, a process and a pool of its own") {
    constexpr auto use_all = [](int x) {
        int from_thread = 0;
        std::thread([&] { from_thread = square(x); }).join();
        plait::multiprocessing::Process child([](int code) { ::_exit(code); }, 3);
        child.start();
        child.join();
        Pool inner(2);
        return from_thread + static_cast<int>(child.exitcode().value_or(0)) + inner.apply(square, 2);
    };
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    CHECK(pool.apply(use_all, 5) == 25 + 3 + 4);
}

TEST_CASE("a pool in a worker goes with the worker") {
    constexpr auto pool_and_die = [](const std::string& gate) {
        static auto* const inner = new Pool(1);
        static auto* const task = new plait::Future<int>(inner->apply_async(pass_gate, gate));
        return task->valid() ? static_cast<int>(inner->workers().at(0).pid) : 0;
    };
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    Gate gate;
    const int inner = pool.apply(pool_and_die, gate.path());
    REQUIRE(gate.reached());
    CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), ProcessDied);
    CHECK(within(30s, [&] { return !is_alive(inner); }));
}

TEST_CASE("the program's pool is refused in a worker that is a copy of the program") {
    static Pool* shared = nullptr;
    constexpr auto use_shared = [](int x) { return shared->apply(square, x); };
    Pool first(1);
    shared = &first;
    Pool second(PoolOptions{.processes = 1, .start_method = StartMethod::fork});
    CHECK_THROWS_AS(second.apply(use_shared, 3), UsageError);
    CHECK(first.apply(square, 3) == 9);
}

TEST_CASE("a task that runs out of memory throws, and its worker lives") {
    constexpr auto too_much = [](std::size_t size) {
        volatile std::size_t wanted = size;
        if (wanted > 1000) throw std::bad_alloc();
        return 0;
    };
    Pool pool(PoolOptions{.processes = 1, .start_method = any_start_method()});
    const int worker = pool.apply(own_pid, 0);
    CHECK_THROWS_AS(pool.apply(too_much, std::size_t{1} << 60), std::bad_alloc);
    CHECK(pool.apply(own_pid, 0) == worker);
}

TEST_CASE("what a task changes of its process stays there, and hinders nothing") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto change_everything = [](int) {
        sigset_t all;
        ::sigfillset(&all);
        ::sigprocmask(SIG_BLOCK, &all, nullptr);
        for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGPIPE, SIGCHLD}) ::signal(number, SIG_IGN);
        ::umask(0777);
        ::setlocale(LC_ALL, "");
        ::setenv("PLAIT_TEST_CHANGED", "1", 1);
        const rlimit few{3, 3};
        ::setrlimit(RLIMIT_NOFILE, &few);
        return ::chdir("/");
    };
    constexpr auto echo = [](const std::string& text) { return text; };
    const auto folder = std::filesystem::current_path();
    Pool pool(shape.with({.termination_grace = 100ms}));
    for (int i = 0; i < 2 * shape.processes; ++i) CHECK(pool.apply_async(change_everything, 0).get(30s) == 0);
    CHECK(pool.map(square, numbers_up_to(20), 1).size() == 20);
    CHECK((pool.apply_async(echo, std::string(100'000, 'x')).get(30s) == std::string(100'000, 'x')));
    CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
    CHECK(pool.apply_async(square, 3).get(30s) == 9);
    CHECK(std::filesystem::current_path() == folder);
    CHECK(std::getenv("PLAIT_TEST_CHANGED") == nullptr);
    // Nor does it hinder the end. Five seconds are what a worker is left that does not end.
    pool.close();
    CHECK(pool.join(30s));
    CHECK(is_quick(4s, [&] {
        Pool other(shape.with({.termination_grace = 100ms}));
        for (int i = 0; i < 2 * shape.processes; ++i) CHECK(other.apply_async(change_everything, 0).get(30s) == 0);
        const auto begin = std::chrono::steady_clock::now();
        other.close();
        CHECK(other.join(30s));
        return begin;
    }));
}

TEST_CASE("a task that blocks and ignores what it can is ended by its time limit all the same") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto be_deaf = [](int) {
        sigset_t all;
        ::sigfillset(&all);
        ::sigprocmask(SIG_BLOCK, &all, nullptr);
        return run_for_ever(0);
    };
    Pool pool(shape.with({.task_timeout = 100ms, .termination_grace = 50ms}));
    CHECK(end_of(pool.apply_async(be_deaf, 0)) == "TaskTimeoutError");
    CHECK(pool.apply(CallOptions{.timeout = 30s}, square, 3) == 9);
}

TEST_CASE("a thread that a task leaves running keeps no worker from its end") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto leave_a_thread = [](int) {
        std::thread([] {
            for (;;) ::pause();
        }).detach();
        return 1;
    };
    // Five seconds are what a worker is left that does not end.
    CHECK(is_quick(4s, [&] {
        Pool pool(shape.with());
        for (int i = 0; i < shape.processes; ++i) CHECK(pool.apply(leave_a_thread, 0) == 1);
        const auto begin = std::chrono::steady_clock::now();
        pool.close();
        CHECK(pool.join(30s));
        return begin;
    }));
}

TEST_CASE("an exit handler that never returns keeps no worker from its end") {
    const Shape shape{1, any_start_method()};
    CAPTURE(shape);
    constexpr auto leave_a_handler = [](int) {
        return std::atexit([] {
            for (;;) ::pause();
        });
    };
    Pool pool(shape.with({.termination_grace = 100ms}));
    CHECK(pool.apply(leave_a_handler, 0) == 0);
    pool.close();
    CHECK(pool.join(30s));
}

TEST_CASE("a worker that a task's timer ends while it idles is replaced, and nothing has failed") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto set_a_timer = [](int) {
        ::signal(SIGALRM, SIG_DFL);
        itimerval soon{};
        soon.it_value.tv_sec = 1;
        ::setitimer(ITIMER_REAL, &soon, nullptr);
        return own_pid(0);
    };
    Pool pool(shape.with());
    const int doomed = pool.apply(set_a_timer, 0);
    CHECK(within(30s, [&] {
        const auto pids = pids_of(pool);
        return pids.size() == shape.count() && std::find(pids.begin(), pids.end(), doomed) == pids.end();
    }));
    CHECK(pool.map(square, numbers_up_to(20), 1).size() == 20);
}

TEST_CASE("what a task started goes with it when it runs over its time, also what left its group") {
    const Shape shape{GENERATE(1, 2), any_start_method()};
    const bool leaves = GENERATE(false, true);
    CAPTURE(shape, leaves);
    if (leaves && !plait::os::children_die_with_parent) return;  // nor is it told of its descendants
    constexpr auto start_and_stay = [](const std::string& file, const std::string& gate, bool leave) {
        const pid_t child = ::fork();
        if (child == 0) {
            if (leave) ::setsid();
            pass_gate(gate);
            ::_exit(0);
        }
        std::ofstream{file} << child << std::endl;
        return run_for_ever(0);
    };
    TemporaryFolder folder;
    Gate gate;
    Pool pool(shape.with({.task_timeout = 1s, .termination_grace = 100ms}));
    auto future = pool.apply_async(start_and_stay, folder.file("pid"), gate.path(), leaves);
    CHECK(end_of(future) == "TaskTimeoutError");
    const int child = std::atoi(contents(folder.file("pid")).c_str());
    REQUIRE(child > 1);
    const bool is_gone = within(20s, [&] { return !is_alive(child); });
    CHECK(is_gone);
    if (!is_gone) ::kill(child, SIGKILL);
}
