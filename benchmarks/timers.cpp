// SPDX-License-Identifier: MIT
//
// What does a timer cost while many are pending, and how do a hundred thousand sleepers do?

#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/sleep.hpp>

#ifdef BENCHMARK_ASIO
#  include <asio/awaitable.hpp>
#  include <asio/co_spawn.hpp>
#  include <asio/detached.hpp>
#  include <asio/io_context.hpp>
#  include <asio/steady_timer.hpp>
#  include <asio/this_coro.hpp>
#  include <asio/use_awaitable.hpp>
#endif

#include <malloc.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "minimal.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;
using benchmark::nanoseconds;
using benchmark::scaled;
using std::chrono::milliseconds;

/// Delays within some quarter of an hour, the same for all.
class Delays {
public:
    milliseconds next() {
        state_ = state_ * 6364136223846793005U + 1442695040888963407U;
        return milliseconds{1'000 + static_cast<int>(state_ >> 44)};
    }

private:
    std::uint64_t state_ = 1;
};

struct CreateAndCancel {
    double create;
    double cancel;
};

template <class Create, class Cancel>
CreateAndCancel timers(Create create, Cancel cancel) {
    const std::size_t count = scaled(1'000'000);
    Delays delays;
    CreateAndCancel result{};
    result.create = nanoseconds([&] {
                        for (std::size_t i = 0; i < count; ++i) create(i, delays.next());
                    }) /
                    static_cast<double>(count);
    result.cancel = nanoseconds([&] {
                        for (std::size_t i = 0; i < count; ++i) cancel(i);
                    }) /
                    static_cast<double>(count);
    return result;
}

CreateAndCancel timers_of_multimap() {
    using Clock = std::chrono::steady_clock;
    std::multimap<Clock::time_point, std::function<void()>> pending;
    std::vector<decltype(pending)::iterator> all(scaled(1'000'000));
    return timers([&](std::size_t i, milliseconds delay) { all[i] = pending.emplace(Clock::now() + delay, [] {}); },
                  [&](std::size_t i) { pending.erase(all[i]); });
}

CreateAndCancel timers_of_plait() {
    aio::EventLoop loop;
    std::vector<aio::Handle> all;
    all.reserve(scaled(1'000'000));
    return timers([&](std::size_t, milliseconds delay) { all.push_back(loop.call_later(delay, [] {})); },
                  [&](std::size_t i) { all[i].cancel(); });
}

#ifdef BENCHMARK_ASIO
CreateAndCancel timers_of_asio() {
    asio::io_context context{1};
    std::vector<asio::steady_timer> all;
    all.reserve(scaled(1'000'000));
    return timers(
        [&](std::size_t, milliseconds delay) {
            all.emplace_back(context, delay).async_wait([](const asio::error_code&) {});
        },
        [&](std::size_t i) { all[i].cancel(); });
}
#endif

void create_and_cancel() {
    using namespace benchmark;
    Table create{"B4: create a timer, up to a million pending", ns, "at most 20 ns"};
    Table cancel{"B4: cancel it, in the order of creation", ns, "at most 12 ns"};
    std::vector<CreateAndCancel (*)()> contenders;
    const auto add = [&](const char* name, CreateAndCancel (*measure)(), auto how) {
        (create.*how)(name, {});
        (cancel.*how)(name, {});
        contenders.push_back(measure);
    };
    add("std::multimap of std::function", timers_of_multimap, &Table::bare);
#ifdef BENCHMARK_ASIO
    add("asio::steady_timer::async_wait", timers_of_asio, &Table::peer);
#endif
    add("EventLoop::call_later", timers_of_plait, &Table::plait);
    take_turns(contenders.size(), [&](std::size_t i, bool counts) {
        const CreateAndCancel result = contenders[i]();
        if (!counts) return;
        create.record(i, result.create);
        cancel.record(i, result.cancel);
    });
    create.print();
    cancel.print();
}

struct Sleepers {
    double wall;
    double processor;
    double memory;  // of each, while all sleep
};

std::size_t sleepers() { return scaled(100'000); }
milliseconds delay_of(std::size_t i) { return milliseconds{i * 7919 % 1000}; }
double allocated() {
    const auto info = mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd);
}
double processor_time() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/// `run(last_sleeps)` makes all sleepers, has the last one call `last_sleeps` when it begins, and returns at the end.
template <class Run>
Sleepers sleep_all(Run run) {
    Sleepers result{};
    minimal::Frames::clear();
    const double memory_before = allocated();
    const double processor_before = processor_time();
    result.wall = nanoseconds(
        [&] { run([&] { result.memory = (allocated() - memory_before) / static_cast<double>(sleepers()); }); });
    result.processor = processor_time() - processor_before;
    return result;
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

#ifdef BENCHMARK_ASIO
template <class LastSleeps>
asio::awaitable<void> asio_sleeper(std::size_t i, LastSleeps& last_sleeps) {
    if (i + 1 == sleepers()) last_sleeps();
    asio::steady_timer timer{co_await asio::this_coro::executor, delay_of(i)};
    co_await timer.async_wait(asio::use_awaitable);
}

Sleepers sleep_in_asio() {
    return sleep_all([](auto last_sleeps) {
        asio::io_context context{1};
        for (std::size_t i = 0; i < sleepers(); ++i)
            asio::co_spawn(context, asio_sleeper(i, last_sleeps), asio::detached);
        context.run();
    });
}
#endif

void sleep_a_second() {
    using namespace benchmark;
    Table wall{"B3: a hundred thousand coroutines sleep 0 to 999 ms, gathered: until the last has ended", ms,
               "at most 1015 ms (1.15 s for a million)"};
    Table processor{"B3: processor time of that", ms, "at most 80 ms (0.8 s for a million)"};
    Table memory{"B3: memory of each sleeper", bytes, "at most 250 bytes"};
    std::vector<Sleepers (*)()> contenders;
    const auto add = [&](const char* name, Sleepers (*measure)(), auto how) {
        (wall.*how)(name, {});
        (processor.*how)(name, {});
        (memory.*how)(name, {});
        contenders.push_back(measure);
    };
    add("by hand: frame list, trampoline, heap", sleep_by_hand, &Table::bare);
#ifdef BENCHMARK_ASIO
    add("asio::awaitable, steady_timer", sleep_in_asio, &Table::peer);
#endif
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

}  // namespace

int main() {
#ifndef BENCHMARK_ASIO
    benchmark::missing("Asio");
#endif
    create_and_cancel();
    sleep_a_second();
}
