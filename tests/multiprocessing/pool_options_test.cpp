// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"

#include <plait/multiprocessing/process_info.hpp>
#include <plait/os/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// Limits of time and memory, of single calls and of workers, and what else a pool and its calls may be told.

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::BrokenPoolError;
using plait::ProcessDied;
using plait::TaskTimeoutError;
using plait::Timeout;
using plait::multiprocessing::CallOptions;
using plait::multiprocessing::Initializer;
using plait::multiprocessing::MapOptions;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// Memory that was written to, all at once: a vector's bytes are written one by one where nothing is optimised.
std::unique_ptr<char[]> written(std::size_t size) {
    std::unique_ptr<char[]> bytes{new char[size]};
    std::memset(bytes.get(), 'x', size);
    return bytes;
}
/// From now on this process has `size` bytes more in memory.
int hold(std::size_t size) {
    static std::unique_ptr<char[]> ballast;
    ballast = written(size);
    return own_pid(0);
}
int hold_and_stay(std::size_t size) {
    hold(size);
    return run_for_ever(0);
}
int hold_and_let_go(std::size_t size) {
    const auto bytes = written(size);
    return bytes[size - 1] == 'x' ? own_pid(0) : 0;
}

/// What a process like this one has in memory before it holds anything; nothing where the system does not tell.
std::optional<std::size_t> own_memory() { return plait::os::resident_memory(plait::os::process_id()); }

int work_for(int milliseconds) {
    const auto end = Clock::now() + std::chrono::milliseconds{milliseconds};
    while (Clock::now() < end) {
    }
    return milliseconds;
}
int stay_at_three(int x) { return x == 3 ? run_for_ever(x) : x; }
int stay_at_zero(int x, int y) { return x == 0 ? run_for_ever(x) : x + y; }

/// One byte more in `file`; returns how many there are.
std::uintmax_t count_in(const std::string& file) {
    const int record = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (::write(record, "x", 1) != 1) ::_exit(9);
    ::close(record);
    return std::filesystem::file_size(file);
}
void count_and_die(const std::string& file) {
    count_in(file);
    die_by(SIGKILL);
}
void die_three_times(const std::string& file) {
    if (count_in(file) <= 3) die_by(SIGKILL);
}

std::string own_name() { return plait::multiprocessing::current_process().name(); }

}  // namespace

TEST_CASE("a call may have a time limit of its own") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.termination_grace = 100ms}));
    const auto begin = Clock::now();
    auto stuck = pool.apply_async(CallOptions{.timeout = 200ms}, run_for_ever, 0);
    const auto error = caught<TaskTimeoutError>([&] { stuck.get(30s); });
    REQUIRE(error);
    CHECK(error->task() == 0);
    CHECK_THAT(error->what(), ContainsSubstring("0.2 s"));
    CHECK(Clock::now() - begin >= 200ms);
    CHECK_THROWS_AS(pool.apply(CallOptions{.timeout = 50ms}, run_for_ever_and_ignore_requests, 0), TaskTimeoutError);
    CHECK(pool.apply(CallOptions{.timeout = 20s}, square, 3) == 9);
    CHECK(pool.apply(CallOptions{}, square, 4) == 16);
    CHECK(pool.apply_async(square, 5).get(30s) == 25);
}

TEST_CASE("a call's own time limit takes the place of the pool's, the longer and the shorter one") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Gate gate;
    {
        Pool pool(shape.with({.task_timeout = 100ms, .termination_grace = 100ms}));
        auto patient = pool.apply_async(CallOptions{.timeout = Timeout::never()}, pass_gate, gate.path());
        REQUIRE(gate.reached());
        CHECK_FALSE(patient.wait(250ms));
        gate.open();
        CHECK(patient.get(30s) == 1);
        CHECK(end_of(pool.apply_async(CallOptions{}, run_for_ever, 0)) == "TaskTimeoutError");
    }
    Pool pool(shape.with({.task_timeout = 1h, .termination_grace = 100ms}));
    CHECK(end_of(pool.apply_async(CallOptions{.timeout = 50ms}, run_for_ever, 0)) == "TaskTimeoutError");
}

TEST_CASE("time in the queue does not count for a call's own limit") {
    const auto start_method = any_start_method();
    Pool pool(PoolOptions{.processes = 1, .start_method = start_method});
    Gate gate;
    auto blocker = pool.apply_async(pass_gate, gate.path());
    auto queued = pool.apply_async(CallOptions{.timeout = 30s}, square, 2);
    auto short_lived = pool.apply_async(CallOptions{.timeout = 2s}, square, 3);
    REQUIRE(gate.reached());
    CHECK_FALSE(short_lived.wait(2200ms));
    gate.open();
    CHECK(blocker.get(30s) == 1);
    CHECK(queued.get(30s) == 4);
    CHECK(short_lived.get(30s) == 9);
}

TEST_CASE("a call without any time is answered all the same") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.termination_grace = 0s}));
    for (const auto timeout : {0ms, -5ms}) {
        const std::string end = end_of(pool.apply_async(CallOptions{.timeout = timeout}, run_for_ever, 0));
        CHECK(end == "TaskTimeoutError");
    }
    CHECK(pool.apply(square, 3) == 9);
}

TEST_CASE("the time limit of a map is each item's") {
    const Shape shape{GENERATE(1, 2), any_start_method()};
    const std::size_t chunk_size = GENERATE(std::size_t{1}, std::size_t{20});
    CAPTURE(shape, chunk_size);
    Pool pool(shape.with({.termination_grace = 100ms}));
    // Together they take longer than the limit, and each by far not so long, however busy the machine is.
    CHECK(pool.map(work_for, std::vector<int>(20, 60), {.chunk_size = chunk_size, .timeout = 1s}).size() == 20);
    auto whole = pool.map_async(stay_at_three, numbers_up_to(6), {.chunk_size = chunk_size, .timeout = 1s});
    const auto error = caught<TaskTimeoutError>([&] { whole.get(30s); });
    REQUIRE(error);
    CHECK(error->task() == 20 + 3);
    CHECK(pool.map(square, numbers_up_to(3), {.timeout = 30s}) == std::vector{0, 1, 4});
    CHECK(pool.map(square, numbers_up_to(3), MapOptions{}) == std::vector{0, 1, 4});
}

TEST_CASE("starmap takes the same options as map") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.termination_grace = 100ms}));
    const std::vector<std::pair<int, int>> good{{1, 2}, {3, 4}};
    const std::vector<std::pair<int, int>> bad{{1, 2}, {0, 4}};
    CHECK(pool.starmap(stay_at_zero, good, {.chunk_size = 1, .timeout = 30s}) == std::vector{3, 7});
    CHECK(pool.starmap(stay_at_zero, good, 2) == std::vector{3, 7});
    auto whole = pool.starmap_async(stay_at_zero, bad, {.chunk_size = 2, .timeout = 100ms});
    CHECK(end_of(whole) == "TaskTimeoutError");
}

TEST_CASE("a map tells its progress, up to the last item, failed ones too") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    struct Told {
        std::mutex mutex;
        std::vector<std::pair<std::size_t, std::size_t>> calls;
    };
    const auto told = std::make_shared<Told>();
    const auto last_is = [&](std::size_t done, std::size_t total) {
        const std::scoped_lock lock{told->mutex};
        return !told->calls.empty() && told->calls.back() == std::pair{done, total};
    };
    Pool pool(shape.with());
    constexpr auto fail_at_five = [](int x) { return x == 5 ? die_by(SIGKILL) : x; };
    auto whole = pool.map_async(fail_at_five, numbers_up_to(40),
                                {.chunk_size = 3, .progress = [told](std::size_t done, std::size_t total) {
                                     const std::scoped_lock lock{told->mutex};
                                     told->calls.emplace_back(done, total);
                                 }});
    CHECK(end_of(whole) == "ProcessDied");
    CHECK(last_is(40, 40));
    const std::scoped_lock lock{told->mutex};
    CHECK(std::is_sorted(told->calls.begin(), told->calls.end()));
}

TEST_CASE("a worker that uses more memory than the limit is killed, and its task's error says so") {
    const auto before = own_memory();
    if (!before) return;
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.memory_limit = *before + 96 * mebibyte}));
    CHECK(pool.apply(hold_and_let_go, 16 * mebibyte) > 0);
    auto sibling = pool.apply_async(square, 3);
    const auto death = caught<ProcessDied>([&] { pool.apply_async(hold_and_stay, 256 * mebibyte).get(30s); });
    REQUIRE(death);
    CHECK(death->signal() == SIGKILL);
    CHECK_THAT(death->what(), ContainsSubstring("memory") && ContainsSubstring("limit"));
    CHECK(sibling.get(30s) == 9);
    CHECK(pool.map(square, numbers_up_to(3), 1) == std::vector{0, 1, 4});
}

TEST_CASE("of a chunk the item that needs too much memory fails, and it alone") {
    const auto before = own_memory();
    if (!before) return;
    const Shape shape{GENERATE(1, 2), any_start_method()};
    CAPTURE(shape);
    TemporaryFolder folder;
    constexpr auto visit = [](const std::string& file, std::size_t size) {
        std::filesystem::create_directory(file);
        return size == 0 ? 0 : hold_and_stay(size);
    };
    std::vector<std::pair<std::string, std::size_t>> items;
    for (int i = 0; i < 6; ++i) items.emplace_back(folder.file(std::to_string(i)), i == 2 ? 256 * mebibyte : 0);
    Pool pool(shape.with({.memory_limit = *before + 96 * mebibyte}));
    auto whole = pool.starmap_async(visit, items, 6);
    CHECK_THAT(caught<ProcessDied>([&] { whole.get(30s); }).value().what(), ContainsSubstring("task 2,"));
    for (const auto& [file, size] : items) CHECK(std::filesystem::exists(file));
}

TEST_CASE("a worker that has kept too much memory after a task is replaced, and nothing has failed") {
    const auto before = own_memory();
    if (!before || plait::detail::address_sanitizer) return;  // which keeps what is let go for a while
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.max_memory_per_child = *before + 32 * mebibyte}));
    for (int round = 0; round < 2; ++round) {
        const int greedy = pool.apply(hold, 80 * mebibyte);
        CHECK(within(30s, [&] {
            const auto pids = pids_of(pool);
            return pids.size() == shape.count() && std::find(pids.begin(), pids.end(), greedy) == pids.end();
        }));
    }
    CHECK(pool.map(hold, std::vector<std::size_t>(4, 80 * mebibyte), 4).size() == 4);
    CHECK(pool.map(square, numbers_up_to(3), 1) == std::vector{0, 1, 4});
}

TEST_CASE("a worker that has let go of its memory after a task stays") {
    const auto before = own_memory();
    if (!before || plait::detail::address_sanitizer) return;  // which keeps what is let go for a while
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with({.max_memory_per_child = *before + 32 * mebibyte}));
    const auto pids = pids_of(pool);
    CHECK(pool.map(hold_and_let_go, std::vector<std::size_t>(6, 80 * mebibyte), 1).size() == 6);
    CHECK(pool.map(square, numbers_up_to(20), 1).size() == 20);
    CHECK(pids_of(pool) == pids);
}

TEST_CASE("workers tells how much memory each has") {
    if (!own_memory()) return;
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool pool(shape.with());
    const int greedy = pool.apply(hold, 64 * mebibyte);
    for (const auto& worker : pool.workers()) {
        REQUIRE(worker.memory);
        CHECK(*worker.memory > 0);
        if (worker.pid == greedy) CHECK(*worker.memory > 64 * mebibyte);
    }
}

TEST_CASE("so many workers as the limit says die at their start before the pool is broken") {
    const Shape shape = any_shape();
    const int limit = GENERATE(1, 3, 10);
    CAPTURE(shape, limit);
    TemporaryFolder folder;
    const std::string file = folder.file("starts");
    Pool pool(shape.with({.initializer = Initializer(count_and_die, file), .restart_limit = limit}));
    const auto broken = caught<BrokenPoolError>([&] { pool.apply_async(square, 1).get(30s); });
    CHECK_THAT(broken.value().what(), ContainsSubstring("SIGKILL"));
    const auto starts = static_cast<int>(std::filesystem::file_size(file));
    CHECK(starts >= limit);
    CHECK(starts <= limit + 2 * shape.processes);
}

TEST_CASE("workers that die at their start less often than the limit do no harm, nor do those that die at their work") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    TemporaryFolder folder;
    {
        Pool pool(shape.with({.initializer = Initializer(die_three_times, folder.file("starts")), .restart_limit = 5}));
        CHECK(pool.apply_async(square, 3).get(30s) == 9);
    }
    Pool pool(shape.with({.restart_limit = 1}));
    for (int i = 0; i < 10; ++i) CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
    CHECK(pool.apply_async(square, 3).get(30s) == 9);
}

TEST_CASE("a pool's name is in the names of its workers") {
    const Shape shape = any_shape();
    CAPTURE(shape);
    Pool named(shape.with({.name = "crunchers"}));
    CHECK_THAT(named.apply(own_name), ContainsSubstring("crunchers"));
    CHECK(end_of(named.apply_async(die_by, SIGKILL)) == "ProcessDied");
    CHECK_THAT(named.apply(own_name), ContainsSubstring("crunchers"));
    Pool unnamed(shape.with());
    CHECK_THAT(unnamed.apply(own_name), ContainsSubstring("PoolWorker"));
}
