// SPDX-License-Identifier: MIT
//
// What does it cost to await a coroutine, and to let others have a turn?

#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>

#ifdef BENCHMARK_ASIO
#  include <asio/awaitable.hpp>
#  include <asio/co_spawn.hpp>
#  include <asio/detached.hpp>
#  include <asio/io_context.hpp>
#  include <asio/post.hpp>
#  include <asio/use_awaitable.hpp>
#endif

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <string>
#include <vector>

#include "minimal.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;
using benchmark::nanoseconds;
using benchmark::scaled;

constexpr auto a_turn = std::chrono::seconds{0};

[[gnu::noinline]] long plain_child(long x) {
    asm volatile("" : "+r"(x));
    return x;
}

// Each library has the same four: a child that returns at once, one that yields first, their parent, and a yielder.

aio::Coroutine<long> plait_child(long x) { co_return x; }
aio::Coroutine<long> plait_yielding_child(long x) {
    co_await aio::sleep(a_turn);
    co_return x;
}
template <class Child>
aio::Coroutine<long> plait_parent(Child child, long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) sum += co_await child(i);
    co_return sum;
}
aio::Coroutine<long> plait_yielder(long count) {
    for (long i = 0; i < count; ++i) co_await aio::sleep(a_turn);
    co_return count;
}

minimal::Task minimal_child(long x) { co_return x; }
minimal::Task minimal_yielding_child(minimal::Loop& loop, long x) {
    co_await minimal::Turn{loop};
    co_return x;
}
minimal::Task minimal_parent(long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) sum += co_await minimal_child(i);
    co_return sum;
}
minimal::Task minimal_parent_of_yielding(minimal::Loop& loop, long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) sum += co_await minimal_yielding_child(loop, i);
    co_return sum;
}
minimal::Task minimal_yielder(minimal::Loop& loop, long count) {
    for (long i = 0; i < count; ++i) co_await minimal::Turn{loop};
    co_return count;
}

#ifdef BENCHMARK_ASIO
asio::awaitable<long> asio_child(long x) { co_return x; }
asio::awaitable<long> asio_yielding_child(long x) {
    co_await asio::post(asio::use_awaitable);
    co_return x;
}
template <class Child>
asio::awaitable<void> asio_parent(Child child, long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) sum += co_await child(i);
    benchmark::keep(sum);
}
asio::awaitable<void> asio_yielder(long count) {
    for (long i = 0; i < count; ++i) co_await asio::post(asio::use_awaitable);
}
#endif

/// How many, as the operand of a division too.
struct Count {
    explicit Count(std::size_t full) : number{static_cast<long>(scaled(full))} {}
    [[nodiscard]] double each(double total) const { return total / static_cast<double>(number); }
    long number;
};

template <class Child>
double plait_awaits(Child child, std::size_t full) {
    const Count count{full};
    aio::EventLoop loop;
    return count.each(
        nanoseconds([&] { benchmark::keep(loop.run_until_complete(plait_parent(child, count.number))); }));
}

double minimal_run(minimal::Loop& loop, const minimal::Task& task) {
    loop.push(task.handle());
    return nanoseconds([&] { loop.run(); });
}

#ifdef BENCHMARK_ASIO
template <class Child>
double asio_awaits(Child child, std::size_t full) {
    const Count count{full};
    asio::io_context context{1};
    asio::co_spawn(context, asio_parent(child, count.number), asio::detached);
    return count.each(nanoseconds([&] { context.run(); }));
}
#endif

void await_at_once() {
    constexpr std::size_t full = 10'000'000;
    benchmark::Table table{"B1: await a coroutine that returns at once", benchmark::ns, "at most 7 ns"};
    table.bare("by hand: frame list and trampoline", [] {
        const Count count{full};
        minimal::Loop loop;
        return count.each(minimal_run(loop, minimal_parent(count.number)));
    });
    table.peer("a plain call, not inlined", [] {
        const Count count{full};
        return count.each(nanoseconds([&] {
            long sum = 0;
            for (long i = 0; i < count.number; ++i) sum += plain_child(i);
            benchmark::keep(sum);
        }));
    });
#ifdef BENCHMARK_ASIO
    table.peer("asio::awaitable", [] { return asio_awaits(asio_child, full); });
#endif
    table.plait("Coroutine", [] { return plait_awaits(plait_child, full); });
    table.run();
}

void await_a_yield() {
    constexpr std::size_t full = 5'000'000;
    benchmark::Table table{"B1r: await a coroutine that yields once", benchmark::ns, "at most 12 ns"};
    table.bare("by hand: frame list, trampoline, queue", [] {
        const Count count{full};
        minimal::Loop loop;
        return count.each(minimal_run(loop, minimal_parent_of_yielding(loop, count.number)));
    });
#ifdef BENCHMARK_ASIO
    table.peer("asio::awaitable, asio::post", [] { return asio_awaits(asio_yielding_child, full / 10); });
#endif
    table.plait("Coroutine, sleep(0s)", [] { return plait_awaits(plait_yielding_child, full); });
    table.run();
}

void take_turns(std::size_t tasks) {
    constexpr std::size_t full = 10'000'000;
    const auto turns_each = [tasks](std::size_t all) { return static_cast<long>(scaled(all) / tasks + 1); };
    const auto each = [tasks](double total, long turns) {
        return total / static_cast<double>(tasks) / static_cast<double>(turns);
    };
    benchmark::Table table{"B2: a resumption, " + std::to_string(tasks) + " coroutines that take turns", benchmark::ns,
                           "at most 5 ns"};
    table.bare("by hand: trampoline, queue", [=] {
        minimal::Loop loop;
        std::vector<minimal::Task> all;
        for (std::size_t i = 0; i < tasks; ++i) {
            all.push_back(minimal_yielder(loop, turns_each(full)));
            loop.push(all.back().handle());
        }
        return each(nanoseconds([&] { loop.run(); }), turns_each(full));
    });
    table.peer("handles resumed in turn, no queue", [=] {
        std::vector<minimal::Task> all;
        struct Bare {
            static minimal::Task yielder() {
                for (;;) co_await std::suspend_always{};
            }
        };
        for (std::size_t i = 0; i < tasks; ++i) all.push_back(Bare::yielder());
        return each(nanoseconds([&] {
                        for (long turn = 0; turn < turns_each(full); ++turn)
                            for (const auto& task : all) task.handle().resume();
                    }),
                    turns_each(full));
    });
#ifdef BENCHMARK_ASIO
    table.peer("asio::awaitable, asio::post", [=] {
        asio::io_context context{1};
        for (std::size_t i = 0; i < tasks; ++i)
            asio::co_spawn(context, asio_yielder(turns_each(full / 10)), asio::detached);
        return each(nanoseconds([&] { context.run(); }), turns_each(full / 10));
    });
#endif
    table.plait("Task, sleep(0s)", [=] {
        aio::EventLoop loop;
        std::vector<aio::Task<long>> all;
        for (std::size_t i = 0; i < tasks; ++i) all.push_back(loop.create_task(plait_yielder(turns_each(full))));
        return each(nanoseconds([&] {
                        for (auto& task : all) loop.run_until_complete(task);
                    }),
                    turns_each(full));
    });
    table.run();
}

}  // namespace

int main() {
#ifndef BENCHMARK_ASIO
    benchmark::missing("Asio");
#endif
    await_at_once();
    await_a_yield();
    take_turns(2);
    take_turns(10'000);
}
