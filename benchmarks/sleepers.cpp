// SPDX-License-Identifier: MIT
//
// How do a million coroutines that sleep up to a second do: how long until the last has ended, and what does each take of
// the processor and of memory?

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/sleep.hpp>

#ifdef BENCHMARK_UV
#  include <uv.h>
#endif

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "asio_peers.hpp"
#include "asyncio_peer.hpp"
#include "minimal.hpp"
#include "own_process.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;
using std::chrono::milliseconds;

struct Sleepers {
    double wall;
    double processor;  // of each
    double memory;     // of each, while all sleep
};

std::size_t sleepers() { return benchmark::scaled(1'000'000); }
milliseconds delay_of(std::size_t i) { return milliseconds{i * 7919 % 1000}; }

double processor_time() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}
double resident_memory() {
    std::FILE* const statm = std::fopen("/proc/self/statm", "r");
    long pages = 0;
    if (statm == nullptr || std::fscanf(statm, "%*d %ld", &pages) != 1) std::abort();
    std::fclose(statm);
    return static_cast<double>(pages * sysconf(_SC_PAGESIZE));
}

/// `run(last_sleeps)` makes all sleepers, has the last one call `last_sleeps` when it begins, and returns at the end.
template <class Run>
Sleepers sleep_all(Run run) {
    return benchmark::in_own_process([run] {
        Sleepers result{};
        const auto number = static_cast<double>(sleepers());
        const double memory_before = resident_memory();
        const double processor_before = processor_time();
        result.wall =
            benchmark::nanoseconds([&] { run([&] { result.memory = (resident_memory() - memory_before) / number; }); });
        result.processor = (processor_time() - processor_before) / number;
        return result;
    });
}

template <class LastSleeps>
minimal::Task minimal_sleeper(minimal::Loop& loop, std::size_t i, LastSleeps& last_sleeps) {
    if (i + 1 == sleepers()) last_sleeps();
    co_await minimal::Sleep{loop, delay_of(i)};
    co_return 0;
}

Sleepers sleep_by_hand() {
    return sleep_all([](auto last_sleeps) {
        minimal::Loop loop;
        std::vector<minimal::Task> all;
        all.reserve(sleepers());
        for (std::size_t i = 0; i < sleepers(); ++i) {
            all.push_back(minimal_sleeper(loop, i, last_sleeps));
            loop.push(all.back().handle());
        }
        loop.run();
    });
}

template <class LastSleeps>
aio::Coroutine<void> plait_sleeper(std::size_t i, LastSleeps& last_sleeps) {
    if (i + 1 == sleepers()) last_sleeps();
    co_await aio::sleep(delay_of(i));
}
template <class LastSleeps>
aio::Coroutine<void> plait_sleepers(LastSleeps& last_sleeps) {
    std::vector<aio::Coroutine<void>> all;
    all.reserve(sleepers());
    for (std::size_t i = 0; i < sleepers(); ++i) all.push_back(plait_sleeper(i, last_sleeps));
    co_await aio::gather(std::move(all));
}

Sleepers sleep_in_plait() {
    return sleep_all([](auto last_sleeps) {
        aio::EventLoop loop;
        loop.run_until_complete(plait_sleepers(last_sleeps));
    });
}

template <class Asio, class LastSleeps>
typename Asio::template Awaitable<void> asio_sleeper(std::size_t i, LastSleeps& last_sleeps) {
    if (i + 1 == sleepers()) last_sleeps();
    typename Asio::Timer timer{co_await Asio::executor(), delay_of(i)};
    co_await Asio::wait(timer);
}

template <class Asio>
Sleepers sleep_in_asio() {
    return sleep_all([](auto last_sleeps) {
        typename Asio::Context context{1};
        for (std::size_t i = 0; i < sleepers(); ++i) Asio::spawn(context, asio_sleeper<Asio>(i, last_sleeps));
        context.run();
    });
}

#ifdef BENCHMARK_UV
/// Callbacks: it has no coroutines.
Sleepers sleep_in_uv() {
    return sleep_all([](auto last_sleeps) {
        uv_loop_t loop;
        if (uv_loop_init(&loop) != 0) std::abort();
        std::vector<uv_timer_t> timers(sleepers());
        for (std::size_t i = 0; i < sleepers(); ++i) {
            uv_timer_init(&loop, &timers[i]);
            uv_timer_start(&timers[i], [](uv_timer_t*) {}, static_cast<std::uint64_t>(delay_of(i).count()), 0);
        }
        last_sleeps();
        uv_run(&loop, UV_RUN_DEFAULT);
        for (uv_timer_t& timer : timers) uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
    });
}
#endif

/// With a tenth of the sleepers, who already take its processor for a second or two.
Sleepers sleep_in_python(const benchmark::PythonLoop& loop) {
    const std::vector<double> values = loop.values("sleep " + std::to_string(sleepers() / 10), 3);
    return {.wall = values[0], .processor = values[1], .memory = values[2]};
}

}  // namespace

int main() {
    using namespace benchmark;
    look_for_asio();
    look_for_python_loops();
    Table wall{"B3: a million coroutines sleep 0 to 999 ms, gathered: until the last has ended", ms, "at most 1150 ms"};
    Table processor{"B3: processor time of each sleeper", ns, "at most 800 ns"};
    Table memory{"B3: memory of each sleeper, while all sleep", bytes, "at most 250 bytes"};
    std::vector<std::function<Sleepers()>> contenders;
    const auto add = [&](const std::string& name, std::function<Sleepers()> measure, auto how) {
        (wall.*how)(name, {});
        (processor.*how)(name, {});
        (memory.*how)(name, {});
        contenders.push_back(std::move(measure));
    };
    add("by hand: frame list, trampoline, heap", sleep_by_hand, &Table::bare);
#ifdef BENCHMARK_UV
    add("libuv: uv_timer_start, callbacks", sleep_in_uv, &Table::peer);
#else
    missing("libuv");
#endif
    for_each_asio([&](auto library) {
        using Asio = decltype(library);
        add(Asio::named("awaitable, steady_timer"), sleep_in_asio<Asio>, &Table::peer);
    });
    for (const PythonLoop& loop : python_loops())
        add(loop.named("a tenth of them"), [loop] { return sleep_in_python(loop); }, &Table::peer);
    add("Coroutine, sleep, gather", sleep_in_plait, &Table::plait);
    take_turns(contenders.size(), [&](std::size_t i, bool counts) {
        const Sleepers result = contenders[i]();
        if (!counts) return;
        wall.record(i, result.wall);
        processor.record(i, result.processor);
        memory.record(i, result.memory);
    });
    wall.print();
    processor.print();
    memory.print();
}
