// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"
#include "support/process_state.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// Workers that die at every point of their lives: what becomes of the task, of its neighbours and of the pool.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::Future;
using plait::ProcessDied;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;

namespace {

using Clock = std::chrono::steady_clock;

std::size_t size_of(const std::string& text) { return text.size(); }
std::string long_text(std::size_t size) { return std::string(size, 'x'); }

/// The bytes of this program that are in memory.
std::size_t resident() {
    std::FILE* const file = std::fopen("/proc/self/statm", "r");
    unsigned long size = 0;
    unsigned long pages = 0;
    const int read = std::fscanf(file, "%lu %lu", &size, &pages);
    std::fclose(file);
    return read == 2 ? pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

int use_stack(volatile char* above, unsigned depth) {
    volatile char frame[4096];
    frame[0] = above == nullptr ? '\0' : above[0];
    return depth == 0 ? frame[0] : use_stack(frame, depth - 1) + frame[0];
}
int overflow_the_stack(int) {
    ::signal(SIGSEGV, SIG_DFL);
    return use_stack(nullptr, ~0U);
}
int exit_properly(int code) { std::exit(code); }
int exit_from_a_thread(int code) {
    std::thread([code] { ::_exit(code); }).join();
    return 0;
}
int call_terminate(int) {
    ::signal(SIGABRT, SIG_DFL);
    std::terminate();
}

/// Its process dies where it travels.
struct Deadly {
    enum class Place { nowhere, in_encode, in_decode };
    Place place = Place::nowhere;
    std::string ballast;
};

int weight(const Deadly& value) { return static_cast<int>(value.ballast.size()); }
Deadly make_deadly(bool deadly) {
    return {deadly ? Deadly::Place::in_encode : Deadly::Place::nowhere, std::string(1 << 20, 'x')};
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<Deadly> {
    static void encode(Encoder& out, const Deadly& value) {
        out.write(value.place, value.ballast);
        if (value.place == Deadly::Place::in_encode) support::die_by(SIGKILL);
    }
    static Deadly decode(Decoder& in) {
        Deadly value;
        value.place = in.read<Deadly::Place>();
        if (value.place == Deadly::Place::in_decode) support::die_by(SIGKILL);
        value.ballast = in.read<std::string>();
        return value;
    }
};

TEST_CASE("every way to end a worker is told of as what it was") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    CHECK(caught<ProcessDied>([&] { pool.apply(overflow_the_stack, 0); }).value().signal() == SIGSEGV);
    CHECK(caught<ProcessDied>([&] { pool.apply(call_terminate, 0); }).value().signal() == SIGABRT);
    CHECK(caught<ProcessDied>([&] { pool.apply(exit_from_a_thread, 4); }).value().exitcode() == 4);
    if (!plait::detail::address_sanitizer)  // it has its own opinion of how one exits
        CHECK(caught<ProcessDied>([&] { pool.apply(exit_properly, 3); }).value().exitcode() == 3);
    for (const int number : {SIGKILL, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGXCPU}) {
        CAPTURE(number);
        CHECK(caught<ProcessDied>([&] { pool.apply(die_by, number); }).value().signal() == number);
    }
    CHECK(pool.map(square, numbers_up_to(4)) == std::vector{0, 1, 4, 9});
}

TEST_CASE("a task that was given to a worker which is killed before it reads it runs in another") {
    const Shape shape = any_shape();
    const std::size_t size = GENERATE(std::size_t{10}, std::size_t{8} << 20);
    CAPTURE(shape, size);
    Pool pool(shape.with());
    REQUIRE(within(30s, [&] { return all_idle(pool, shape.count()); }));
    const auto pids = pids_of(pool);
    for (const int pid : pids) REQUIRE(::kill(pid, SIGSTOP) == 0);
    for (const int pid : pids) REQUIRE(within(30s, [&] { return process_state(pid).value().state == 'T'; }));
    // To submit waits for no reader, however large the argument is.
    std::vector<Future<std::size_t>> futures;
    for (std::size_t i = 0; i < 3; ++i) futures.push_back(pool.apply_async(size_of, long_text(size + i)));
    for (const auto& future : futures) CHECK_FALSE(future.ready());
    for (const int pid : pids) REQUIRE(::kill(pid, SIGKILL) == 0);
    for (std::size_t i = 0; i < 3; ++i) CHECK(futures[i].get(30s) == size + i);
}

TEST_CASE("a stopped worker with a large argument before it holds up nobody else") {
    const Shape shape{GENERATE(2, 8), any_start_method()};
    CAPTURE(shape);
    Pool pool(shape.with());
    REQUIRE(within(30s, [&] { return all_idle(pool, shape.count()); }));
    const auto pids = pids_of(pool);
    REQUIRE(::kill(pids[0], SIGSTOP) == 0);
    REQUIRE(within(30s, [&] { return process_state(pids[0]).value().state == 'T'; }));
    std::vector<Future<std::size_t>> large;
    for (std::size_t i = 0; i < shape.count(); ++i) large.push_back(pool.apply_async(size_of, long_text(4 << 20)));
    bool are_done = true;
    for (int i = 0; i < 20 && are_done; ++i) are_done = end_of(pool.apply_async(square, i)) == "value";
    CHECK(are_done);
    REQUIRE(::kill(pids[0], SIGCONT) == 0);
    for (auto& future : large) CHECK(future.get(30s) == std::size_t{4} << 20);
    CHECK(pids_of(pool) == pids);
}

TEST_CASE("a worker that dies while it reads its arguments fails that task only") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<Deadly> items(9, Deadly{Deadly::Place::nowhere, long_text(100'000)});
    items[4].place = Deadly::Place::in_decode;
    auto before = pool.apply_async(square, 3);
    auto whole = pool.map_async(weight, items, 3);
    auto deadly = pool.apply_async(weight, Deadly{Deadly::Place::in_decode, long_text(5 << 20)});
    auto after = pool.apply_async(square, 4);
    CHECK_THROWS_AS(deadly.get(30s), ProcessDied);
    CHECK_THAT(caught<ProcessDied>([&] { whole.get(30s); }).value().what(), ContainsSubstring("task 5,"));
    CHECK(before.get(30s) == 9);
    CHECK(after.get(30s) == 16);
}

TEST_CASE("a worker that dies while it writes its result fails that task only") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    auto before = pool.apply_async(make_deadly, false);
    auto deadly = pool.apply_async(make_deadly, true);
    auto after = pool.apply_async(make_deadly, false);
    CHECK(caught<ProcessDied>([&] { deadly.get(30s); }).value().signal() == SIGKILL);
    CHECK(before.get(30s).ballast == long_text(1 << 20));
    CHECK(after.get(30s).ballast == long_text(1 << 20));
}

TEST_CASE("a worker that is killed at some point of a large argument and a large result answers whole or not at all") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto echo = [](const std::string& text) { return text; };
    Pool pool(shape.with());
    const std::string text = long_text(4 << 20);
    for (int round = 0; round < rounds(6); ++round) {
        CAPTURE(round);
        auto future = pool.apply_async(echo, text);
        // Each round a little later in the task's life.
        static_cast<void>(future.wait(std::chrono::milliseconds{2 * round}));
        for (const int pid : pids_of(pool)) ::kill(pid, SIGKILL);
        const std::string end = end_of(future);
        if (end == "value")
            CHECK((future.get() == text));
        else
            CHECK(end == "ProcessDied");
    }
    CHECK((pool.apply(echo, text) == text));
}

TEST_CASE("tasks that die together fail together, and the pool goes on") {
    const Shape shape = any_shape();
    const int count = GENERATE(1, 2, 5, 13);
    CAPTURE(shape, count);
    Pool pool(shape.with());
    std::vector<Future<int>> deaths;
    for (int i = 0; i < count; ++i) deaths.push_back(pool.apply_async(die_by, i % 2 == 0 ? SIGKILL : SIGTERM));
    for (int i = 0; i < count; ++i)
        CHECK(caught<ProcessDied>([&] { deaths[static_cast<std::size_t>(i)].get(30s); }).value().signal() ==
              (i % 2 == 0 ? SIGKILL : SIGTERM));
    CHECK(pool.map(square, numbers_up_to(4), 1) == std::vector{0, 1, 4, 9});
    CHECK(workers_of(pool).size() == shape.count());
}

TEST_CASE("workers that kill each other fail what they ran, and the pool goes on") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto kill_one = [](int pid) { return ::kill(pid, SIGKILL); };
    Pool pool(shape.with());
    for (int round = 0; round < rounds(5); ++round) {
        // One that dies at its start counts for the restart limit.
        REQUIRE(within(30s, [&] { return all_idle(pool, shape.count()); }));
        const auto pids = pids_of(pool);
        std::vector<Future<int>> futures;
        for (std::size_t i = 0; i < pids.size(); ++i)
            futures.push_back(pool.apply_async(kill_one, pids[(i + 1) % pids.size()]));
        for (const auto& future : futures) {
            const std::string end = end_of(future);
            CHECK((end == "value" || end == "ProcessDied"));
        }
    }
    CHECK(pool.map(square, numbers_up_to(4), 1) == std::vector{0, 1, 4, 9});
}

TEST_CASE("death after death leaves no zombie, no descriptor and no memory behind") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    const auto open = open_descriptors();
    {
        Pool pool(shape.with());
        const auto die_for_a_while = [&](int times) {
            for (int i = 0; i < times; i += 8) {
                std::vector<Future<int>> futures;
                for (int k = 0; k < 8; ++k) futures.push_back(pool.apply_async(die_by, SIGKILL));
                for (auto& future : futures) CHECK_THROWS_AS(future.get(30s), ProcessDied);
            }
            REQUIRE(within(30s, [&] { return all_idle(pool, shape.count()); }));
        };
        die_for_a_while(32);
        const std::size_t descriptors = open_descriptors().size();
        const std::size_t memory = resident();
        die_for_a_while(rounds(64));
        CHECK(within(30s, [&] { return open_descriptors().size() == descriptors; }));
        if (!plait::detail::address_sanitizer) CHECK(resident() < memory + (8U << 20));
        // The maker and its workers, nobody else, and none of them dead.
        CHECK(within(30s, [&] {
            const auto all = descendants(::getpid());
            return all.size() == 1 + shape.count() &&
                   std::none_of(all.begin(), all.end(), [](const ProcessState& each) { return each.state == 'Z'; });
        }));
    }
    CHECK((open_descriptors() == open));
}

TEST_CASE("a death is told at once, though a process that the task left holds everything open") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto leave_one_and_die = [](const std::string& gate) {
        int ends[2];
        if (::pipe(ends) != 0) return 1;
        const pid_t left = ::fork();
        if (left == 0) {
            ::setsid();
            ::signal(SIGALRM, SIG_DFL);
            ::alarm(50);  // longer than anybody waits here
            for (const int end : ends) ::close(end);
            pass_gate(gate);
            ::_exit(0);
        }
        // Not before it has left the group, which ends with this process.
        ::close(ends[1]);
        char none = 0;
        static_cast<void>(!::read(ends[0], &none, 1));
        return die_by(SIGKILL);
    };
    Pool pool(shape.with());
    Gate gate;
    auto future = pool.apply_async(leave_one_and_die, gate.path());
    CHECK(caught<ProcessDied>([&] { future.get(30s); }).value().signal() == SIGKILL);
    CHECK(pool.apply(square, 3) == 9);
    pool.close();
    CHECK(pool.join(30s));
    CHECK(gate.reached());
}

TEST_CASE("a worker that is killed while it starts is replaced") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Gate gate;
    // The first of them stands at the gate.
    constexpr auto stand_once = [](const std::string& path) {
        if (std::filesystem::create_directory(path + ".passed")) pass_gate(path);
    };
    Pool pool(shape.with({.initializer = plait::multiprocessing::Initializer(stand_once, gate.path())}));
    auto future = pool.map_async(square, numbers_up_to(4), 1);
    REQUIRE(gate.reached());
    const auto workers = pool.workers();
    const auto starting = std::find_if(workers.begin(), workers.end(), [](const auto& worker) {
        return worker.state == plait::multiprocessing::WorkerInfo::State::starting;
    });
    REQUIRE(starting != workers.end());
    REQUIRE(::kill(static_cast<int>(starting->pid), SIGKILL) == 0);
    gate.open();
    CHECK(future.get(30s) == std::vector{0, 1, 4, 9});
}

TEST_CASE("a pool whose workers all die at their last tasks still closes") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<Future<int>> futures;
    for (int i = 0; i < 2 * shape.processes; ++i) futures.push_back(pool.apply_async(die_by, SIGKILL));
    pool.close();
    CHECK(pool.join(30s));
    for (auto& future : futures) CHECK_THROWS_AS(future.get(0s), ProcessDied);
}

TEST_CASE("a maker that is asked to end by a signal costs no more than one that is killed") {
    const int number = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGKILL);
    const int processes = GENERATE(1, 2, 8);
    const Shape shape{processes, GENERATE(plait::multiprocessing::StartMethod::forkserver,
                                          plait::multiprocessing::StartMethod::spawn)};
    CAPTURE(number, shape);
    Pool pool(shape.with());
    auto future = pool.map_async(square, numbers_up_to(40), 1);
    REQUIRE(::kill(maker_of(pool), number) == 0);
    const std::string end = end_of(future);
    CAPTURE(end);
    CHECK((end == "value" || end == "ProcessDied"));
    CHECK(within(30s, [&] { return all_idle(pool, shape.count()); }));
    CHECK(pool.map(square, numbers_up_to(4), 1) == std::vector{0, 1, 4, 9});
}
