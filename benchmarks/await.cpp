// SPDX-License-Identifier: MIT
//
// What does it cost to await a coroutine, one that returns at once and one that lets others have a turn first?

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/sleep.hpp>

#include <chrono>
#include <cstddef>
#include <string>

#include "asio_peers.hpp"
#include "asyncio_peer.hpp"
#include "minimal.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;
using benchmark::nanoseconds;
using benchmark::scaled;

[[gnu::noinline]] long plain_child(long x) {
    asm volatile("" : "+r"(x));
    return x;
}

// Each library has the same three: a child that returns at once, one that yields first, and their parent.

aio::Coroutine<long> plait_child(long x) { co_return x; }
aio::Coroutine<long> plait_yielding_child(long x) {
    co_await aio::sleep(std::chrono::seconds{0});
    co_return x;
}
template <class Child>
aio::Coroutine<long> plait_parent(Child child, long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) sum += co_await child(i);
    co_return sum;
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

template <class Asio>
typename Asio::template Awaitable<long> asio_child(long x) {
    co_return x;
}
template <class Asio>
typename Asio::template Awaitable<long> asio_yielding_child(long x) {
    co_await Asio::turn();
    co_return x;
}
template <class Asio, class Child>
typename Asio::template Awaitable<void> asio_parent(Child child, long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) sum += co_await child(i);
    benchmark::keep(sum);
}

/// How many, as the operand of a division too.
struct Count {
    explicit Count(std::size_t full) : number{static_cast<long>(scaled(full))} {}
    [[nodiscard]] double each(double total) const { return total / static_cast<double>(number); }
    [[nodiscard]] std::string of(const std::string& work) const { return work + ' ' + std::to_string(number); }
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

template <class Asio, class Child>
double asio_awaits(Child child, std::size_t full) {
    const Count count{full};
    typename Asio::Context context{1};
    Asio::spawn(context, asio_parent<Asio>(child, count.number));
    return count.each(nanoseconds([&] { context.run(); }));
}

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
    benchmark::for_each_asio([&](auto library) {
        using Asio = decltype(library);
        table.peer(Asio::named("awaitable"), [] { return asio_awaits<Asio>(asio_child<Asio>, full); });
    });
    for (const benchmark::PythonLoop& loop : benchmark::python_loops()) {
        table.peer(loop.named("await"), [loop] { return loop(Count{full / 10}.of("await_child")); });
    }
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
    benchmark::for_each_asio([&](auto library) {
        using Asio = decltype(library);
        table.peer(Asio::named("awaitable, post"),
                   [] { return asio_awaits<Asio>(asio_yielding_child<Asio>, full / 10); });
    });
    for (const benchmark::PythonLoop& loop : benchmark::python_loops()) {
        table.peer(loop.named("sleep(0)"), [loop] { return loop(Count{full / 50}.of("await_yielding_child")); });
    }
    table.plait("Coroutine, sleep(0s)", [] { return plait_awaits(plait_yielding_child, full); });
    table.run();
}

}  // namespace

int main() {
    benchmark::look_for_asio();
    benchmark::look_for_python_loops();
    await_at_once();
    await_a_yield();
}
