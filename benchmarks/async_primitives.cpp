// SPDX-License-Identifier: MIT
//
// What do a loop's lock and queue cost where nobody has to wait?

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/queue.hpp>

#include <cstddef>
#include <deque>
#include <string>

#include "asio_peers.hpp"
#include "asyncio_peer.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;
using benchmark::nanoseconds;

std::size_t count() { return benchmark::scaled(10'000'000); }
double each(double total) { return total / static_cast<double>(count()); }

double flag() {
    bool locked = false;
    return each(nanoseconds([&] {
        for (std::size_t i = 0; i < count(); ++i) {
            locked = true;
            benchmark::keep(locked);
            locked = false;
            benchmark::keep(locked);
        }
    }));
}

double deque() {
    std::deque<std::size_t> items;
    std::size_t sum = 0;
    return each(nanoseconds([&] {
        for (std::size_t i = 0; i < count(); ++i) {
            items.push_back(i);
            benchmark::keep(items);
            sum += items.front();
            items.pop_front();
        }
        benchmark::keep(sum);
    }));
}

/// How long `count()` rounds of a coroutine take in a loop.
template <class Rounds>
double in_plait(Rounds rounds) {
    aio::EventLoop loop;
    return each(nanoseconds([&] { loop.run_until_complete(rounds()); }));
}

aio::Coroutine<void> lock_and_unlock() {
    aio::Lock lock;
    for (std::size_t i = 0; i < count(); ++i) {
        co_await lock.acquire();
        lock.release();
    }
}
aio::Coroutine<void> lock_by_guards() {
    aio::Lock lock;
    for (std::size_t i = 0; i < count(); ++i) const auto guard = co_await lock.scoped();
}
aio::Coroutine<void> put_and_get() {
    aio::Queue<std::size_t> queue(16);
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count(); ++i) {
        co_await queue.put(i);
        sum += co_await queue.get();
    }
    benchmark::keep(sum);
}
aio::Coroutine<void> put_and_get_nowait() {
    aio::Queue<std::size_t> queue(16);
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count(); ++i) {
        queue.put_nowait(i);
        sum += queue.get_nowait();
    }
    benchmark::keep(sum);
    co_return;
}

/// A channel without waiting: Asio's coroutines suspend at every asynchronous operation, also where it need not wait.
template <class Asio>
typename Asio::template Awaitable<void> try_send_and_receive(typename Asio::Context& context) {
    typename Asio::template Channel<std::size_t> channel{context, 16};
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count(); ++i) {
        channel.try_send(typename Asio::Error{}, i);
        channel.try_receive([&](const typename Asio::Error&, std::size_t item) { sum += item; });
    }
    benchmark::keep(sum);
    co_return;
}
template <class Asio>
typename Asio::template Awaitable<void> send_and_receive(typename Asio::Context& context, std::size_t rounds) {
    typename Asio::template Channel<std::size_t> channel{context, 16};
    std::size_t sum = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        co_await Asio::send(channel, i);
        sum += co_await Asio::receive(channel);
    }
    benchmark::keep(sum);
}

template <class Asio>
double tries_in_asio() {
    typename Asio::Context context{1};
    Asio::spawn(context, try_send_and_receive<Asio>(context));
    return each(nanoseconds([&] { context.run(); }));
}
template <class Asio>
double awaits_in_asio() {
    const std::size_t rounds = count() / 10;
    typename Asio::Context context{1};
    Asio::spawn(context, send_and_receive<Asio>(context, rounds));
    return nanoseconds([&] { context.run(); }) / static_cast<double>(rounds);
}

void locks() {
    benchmark::Table table{"B7: an uncontended async lock: acquire, release", benchmark::ns, "at most 2 ns"};
    table.bare("a bool", flag);
    for (const benchmark::PythonLoop& loop : benchmark::python_loops())
        table.peer(loop.named("Lock"), [loop] { return loop("lock_and_unlock " + std::to_string(count() / 100)); });
    table.plait("Lock::acquire, release", [] { return in_plait(lock_and_unlock); });
    table.plait("Lock::scoped", [] { return in_plait(lock_by_guards); });
    table.run();
}

void queues() {
    benchmark::Table table{"B7: an async queue: put an item, get it", benchmark::ns, "at most 5 ns"};
    table.bare("std::deque", deque);
    benchmark::for_each_asio([&](auto library) {
        using Asio = decltype(library);
        table.peer(Asio::named("channel, try_send, try_receive"), tries_in_asio<Asio>);
        table.peer(Asio::named("channel, async_send, async_receive"), awaits_in_asio<Asio>);
    });
    for (const benchmark::PythonLoop& loop : benchmark::python_loops())
        table.peer(loop.named("Queue"), [loop] { return loop("put_and_get " + std::to_string(count() / 100)); });
    table.plait("Queue::put, get", [] { return in_plait(put_and_get); });
    table.plait("Queue::put_nowait, get_nowait", [] { return in_plait(put_and_get_nowait); });
    table.run();
}

}  // namespace

int main() {
    benchmark::look_for_asio();
    benchmark::look_for_python_loops();
    locks();
    queues();
}
