// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/worker.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/process_info.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <thread>
#include <vector>

// What a task may do to the process that it runs in.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::ProcessDied;
using plait::UsageError;
using plait::multiprocessing::current_process;
using plait::multiprocessing::parent_process;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::ProcessInfo;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::detail::Frame;

namespace {

int square(int x) { return x * x; }

StartMethod any_start_method() { return GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork); }

/// The worker's channel: the one socket that it has.
int find_channel() {
    for (const Descriptor& descriptor : open_descriptors())
        if (descriptor.number > 2 && descriptor.target.starts_with("socket:")) return descriptor.number;
    return -1;
}

int write_to_channel(const std::string& bytes) {
    return static_cast<int>(::write(find_channel(), bytes.data(), bytes.size()));
}

std::string bytes_of(const Frame& frame) { return {reinterpret_cast<const char*>(&frame), sizeof frame}; }

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

TEST_CASE("a task that writes to its worker's channel fails, and the pool goes on") {
    Pool pool(PoolOptions{.processes = 1});
    const Frame forged{.kind = Frame::Kind::value, .task = 77, .size = 4};
    const Frame endless{.kind = Frame::Kind::value, .task = 77, .size = std::uint64_t{1} << 63};
    const std::string garbage[] = {"x",
                                   "this is no frame at all, but long enough for one",
                                   bytes_of(forged) + "four",
                                   bytes_of(endless),
                                   bytes_of(Frame{.kind = Frame::Kind::ready}),
                                   std::string(100'000, '\xFF')};
    for (const std::string& bytes : garbage) {
        CAPTURE(bytes.size());
        const auto death = caught<ProcessDied>([&] { pool.apply_async(write_to_channel, bytes).get(30s); });
        CHECK_THAT(death.value().what(), ContainsSubstring("channel"));
        CHECK(pool.apply(square, 3) == 9);
    }
}

TEST_CASE("of a chunk with a task that writes to the channel no item is begun twice") {
    TemporaryFolder folder;
    constexpr auto visit = [](const std::string& file, int x) {
        std::ofstream{file, std::ios::app} << x << '\n';
        if (x == 4) write_to_channel("garbage that is longer than the head of a frame is");
        return x;
    };
    std::vector<std::tuple<std::string, int>> items;
    for (int x = 0; x < 8; ++x) items.emplace_back(folder.file("visits"), x);
    Pool pool(1);
    CHECK_THROWS_AS(pool.starmap(visit, items, 8), ProcessDied);
    CHECK(contents(folder.file("visits")) == "0\n1\n2\n3\n4\n5\n6\n7\n");
}

TEST_CASE("a task that closes all of its worker's descriptors costs that worker only") {
    Pool pool(PoolOptions{.processes = 1, .termination_grace = 100ms, .start_method = any_start_method()});
    const int worker = pool.apply(own_pid, 0);
    CHECK(pool.apply_async(close_everything, 0).get(30s) == 1);  // its result is whole in the shared memory
    CHECK(pool.apply(own_pid, 0) != worker);
    CHECK_THROWS_AS(pool.apply_async(close_everything_and_stay, 0).get(30s), ProcessDied);
    CHECK(pool.apply(square, 4) == 16);
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
    Pool pool(1);
    for (int i = 0; i < 5; ++i) CHECK(pool.apply(fork_and_return, 0) == 1);
    CHECK(pool.map(fork_and_return, std::vector<int>(5), 5) == std::vector<int>(5, 1));
}

TEST_CASE("a task that forks and throws in both copies has one error") {
    constexpr auto fork_and_throw = [](int) {
        const pid_t child = ::fork();
        if (child > 0) ::waitpid(child, nullptr, 0);
        throw std::runtime_error(child > 0 ? "parent" : "child");
    };
    Pool pool(1);
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
    int saved[3];
    for (int stream = 0; stream < 3; ++stream) {
        saved[stream] = ::fcntl(stream, F_DUPFD_CLOEXEC, 100);
        ::close(stream);
    }
    std::string streams;
    int answer = 0;
    {
        Pool pool(PoolOptions{.processes = 1, .start_method = start_method});
        streams = pool.apply(describe, 0);
        answer = pool.apply(square, 3);
    }
    for (int stream = 0; stream < 3; ++stream) {
        ::dup2(saved[stream], stream);
        ::close(saved[stream]);
    }
    CHECK(streams == "/dev/null /dev/null /dev/null ");
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
    Pool pool(1);
    Gate gate;
    const int inner = pool.apply(pool_and_die, gate.path());
    REQUIRE(gate.reached());
    CHECK_THROWS_AS(pool.apply(die_by, SIGKILL), ProcessDied);
    CHECK(within(10s, [&] { return !is_alive(inner); }));
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
    Pool pool(1);
    const int worker = pool.apply(own_pid, 0);
    CHECK_THROWS_AS(pool.apply(too_much, std::size_t{1} << 60), std::bad_alloc);
    CHECK(pool.apply(own_pid, 0) == worker);
}
