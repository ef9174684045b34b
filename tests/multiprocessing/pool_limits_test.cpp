// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/no_threads.hpp"
#include "support/pools.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

// Pools that are given little: descriptors, threads, memory, processors.

using namespace std::chrono_literals;
using namespace support;
using plait::Future;
using plait::ProcessDied;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace {

/// While it lives this program may use one processor.
class OneProcessor {
public:
    OneProcessor() {
        ::sched_getaffinity(0, sizeof before_, &before_);
        cpu_set_t one;
        CPU_ZERO(&one);
        for (unsigned i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
            if (CPU_ISSET(i, &before_)) CPU_SET(i, &one);
        ::sched_setaffinity(0, sizeof one, &one);
    }
    OneProcessor(const OneProcessor&) = delete;
    OneProcessor& operator=(const OneProcessor&) = delete;
    ~OneProcessor() { ::sched_setaffinity(0, sizeof before_, &before_); }

private:
    cpu_set_t before_{};
};

/// Processor time that this program has used.
std::chrono::nanoseconds time_used() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

}  // namespace

TEST_CASE("where descriptors are few a pool of any size works, or says so and leaves nothing behind") {
    if (plait::detail::address_sanitizer) return;  // the sanitizers beside it take descriptors for themselves
    const Shape shape{GENERATE(1, 8, 64), any_start_method()};
    CAPTURE(shape);
    const auto open = open_descriptors();
    const auto error = caught<std::system_error>([&] {
        DescriptorLimit limit{54};
        Pool pool(shape.with());
        for (int i = 0; i < 20; ++i) CHECK(pool.apply_async(square, i).get(30s) == i * i);
        CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
        CHECK(pool.apply_async(square, 3).get(30s) == 9);
    });
    if (error) CHECK(error->code().value() == EMFILE);
    if (shape.processes < 64) CHECK_FALSE(error);
    CHECK((open_descriptors() == open));
    CHECK(children().empty());
}

TEST_CASE("a pool that finds no descriptors for replacements waits for some, at rest, and goes on then") {
    if (plait::detail::address_sanitizer) return;  // the sanitizers beside it take descriptors for themselves
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    std::vector<Future<int>> deaths;
    std::vector<Future<int>> others;
    {
        DescriptorLimit limit{0};
        for (int i = 0; i < 2 * shape.processes; ++i) deaths.push_back(pool.apply_async(die_by, SIGKILL));
        for (int i = 0; i < 4; ++i) others.push_back(pool.apply_async(square, i));
        for (int i = 0; i < shape.processes; ++i) CHECK(end_of(deaths[static_cast<std::size_t>(i)]) == "ProcessDied");
        const auto before = time_used();
        static_cast<void>(others.back().wait(300ms));
        CHECK(time_used() - before < 150ms);
    }
    for (const auto& death : deaths) CHECK(end_of(death) == "ProcessDied");
    for (int i = 0; i < 4; ++i) CHECK(others[static_cast<std::size_t>(i)].get(30s) == i * i);
}

TEST_CASE("tasks of any size are submitted and answered where no descriptor is left") {
    if (plait::detail::address_sanitizer) return;  // the sanitizers beside it take descriptors for themselves
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto echo = [](const std::string& text) { return text; };
    Pool pool(shape.with());
    CHECK(pool.apply(square, 2) == 4);
    const std::string large(3 << 20, 'x');
    DescriptorLimit limit{0};
    CHECK(pool.map(square, numbers_up_to(4), 1) == std::vector{0, 1, 4, 9});
    // What needs a descriptor says so; what does not, works.
    try {
        CHECK((pool.apply_async(echo, large).get(30s) == large));
    } catch (const std::system_error& error) {
        CHECK(error.code().value() == EMFILE);
    }
    CHECK(pool.apply_async(square, 3).get(30s) == 9);
}

#if defined(__GLIBC__)
TEST_CASE("a pool that cannot have its threads says so and leaves nothing behind") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    const auto open = open_descriptors();
    {
        NoThreads none;
        try {
            // One that needs no thread yet may be had.
            Pool pool(shape.with());
            CHECK(pool.apply_async(square, 3).get(30s) == 9);
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::resource_unavailable_try_again);
        }
    }
    CHECK((open_descriptors() == open));
    CHECK(children().empty());
}
#endif

TEST_CASE("on one processor a pool does all that it does elsewhere") {
    const OneProcessor one;
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    for (int i = 0; i < 200; ++i) CHECK(pool.apply(square, i) == i * i);
    CHECK(pool.map(square, numbers_up_to(100), 3).size() == 100);
    for (int i = 0; i < 5; ++i) {
        auto death = pool.apply_async(die_by, SIGKILL);
        CHECK(pool.apply_async(square, i).get(30s) == i * i);
        CHECK(end_of(death) == "ProcessDied");
    }
    Gate gate;
    auto running = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    CHECK(running.cancel());
    CHECK(pool.apply_async(square, 3).get(30s) == 9);
}

#if !defined(PLAIT_PORTABLE_POSIX)  // POSIX tells how many there are, not which a program may use
TEST_CASE("a pool has as many workers as this program may use processors, not as many as there are") {
    const OneProcessor one;
    Pool pool;
    CHECK(pool.workers().size() == 1);
    CHECK(pool.apply(square, 3) == 9);
}
#endif

TEST_CASE("a pool that has nothing to do uses no processor") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    Gate gate;
    auto running = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    const auto before = time_used();
    static_cast<void>(running.wait(400ms));
    CHECK(time_used() - before < 100ms);
    gate.open();
    CHECK(running.get(30s) == 1);
}

TEST_CASE("a task that needs more memory than its worker may have throws, and its worker lives on") {
    if (plait::detail::address_sanitizer) return;  // it needs terabytes for itself
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto limit = [] {
        const rlimit little{std::size_t{1} << 30, std::size_t{1} << 30};
        ::setrlimit(RLIMIT_AS, &little);
    };
    constexpr auto fill = [](std::size_t size) { return std::string(size, 'x').size(); };
    Pool pool(shape.with({.initializer = limit}));
    const auto pids = pids_of(pool);
    CHECK_THROWS_AS(pool.apply(fill, std::size_t{2} << 30), std::bad_alloc);
    CHECK(pool.apply(fill, std::size_t{1000}) == 1000);
    CHECK(pids_of(pool) == pids);
}

TEST_CASE("tasks of workers with a share of two each are all done, and no worker does more") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.max_tasks_per_child = 2}));
    const int count = rounds(80);
    constexpr auto with_pid = [](int x) { return std::pair{own_pid(0), square(x)}; };
    std::map<int, int> tasks_of;
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{5});
    const auto results = pool.map(with_pid, numbers_up_to(count), chunk_size);
    for (int i = 0; i < count; ++i) {
        CHECK(results[static_cast<std::size_t>(i)].second == i * i);
        ++tasks_of[results[static_cast<std::size_t>(i)].first];
    }
    for (const auto& [pid, tasks] : tasks_of) CHECK(tasks <= 2);
    // And single ones, more than there are shares, closed before they are done.
    std::vector<Future<int>> futures;
    for (int i = 0; i < 10; ++i) futures.push_back(pool.apply_async(square, i));
    pool.close();
    CHECK(pool.join(30s));
    for (int i = 0; i < 10; ++i) CHECK(futures[static_cast<std::size_t>(i)].get(0s) == i * i);
}

TEST_CASE("a storm of signals in the program disturbs no pool") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    const SignalStorm storm;
    {
        Pool pool(shape.with());
        CHECK(pool.map(square, numbers_up_to(50), 1).size() == 50);
        for (int i = 0; i < 5; ++i) CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
        const std::string large(4 << 20, 'x');
        CHECK((pool.apply([](const std::string& text) { return text; }, large) == large));
        for (int i = 0; i < 50; ++i) CHECK(pool.apply(square, i) == i * i);
    }
    CHECK(storm.count() > 0);
}
