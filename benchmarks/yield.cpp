// SPDX-License-Identifier: MIT
//
// What does a turn cost among coroutines that let each other have turns, two of them and ten thousand?

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <string>
#include <vector>

#include "asio_peers.hpp"
#include "asyncio_peer.hpp"
#include "minimal.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;
using benchmark::nanoseconds;
using benchmark::scaled;

aio::Coroutine<long> plait_yielder(long turns) {
    for (long i = 0; i < turns; ++i) co_await aio::sleep(std::chrono::seconds{0});
    co_return turns;
}

minimal::Task minimal_yielder(minimal::Loop& loop, long turns) {
    for (long i = 0; i < turns; ++i) co_await minimal::Turn{loop};
    co_return turns;
}

minimal::Task suspended_always() {
    for (;;) co_await std::suspend_always{};
}

template <class Asio>
typename Asio::template Awaitable<void> asio_yielder(long turns) {
    for (long i = 0; i < turns; ++i) co_await Asio::turn();
}

/// So many tasks, each with its share of all turns.
struct Share {
    Share(std::size_t all_tasks, std::size_t all_turns)
        : tasks{all_tasks}, turns{static_cast<long>(scaled(all_turns) / all_tasks + 1)} {}
    [[nodiscard]] double each(double total) const {
        return total / static_cast<double>(tasks) / static_cast<double>(turns);
    }
    std::size_t tasks;
    long turns;
};

double turns_by_hand(const Share& share) {
    minimal::Loop loop;
    std::vector<minimal::Task> all;
    for (std::size_t i = 0; i < share.tasks; ++i) {
        all.push_back(minimal_yielder(loop, share.turns));
        loop.push(all.back().handle());
    }
    return share.each(nanoseconds([&] { loop.run(); }));
}

double turns_without_a_queue(const Share& share) {
    std::vector<minimal::Task> all;
    for (std::size_t i = 0; i < share.tasks; ++i) all.push_back(suspended_always());
    return share.each(nanoseconds([&] {
        for (long turn = 0; turn < share.turns; ++turn)
            for (const auto& task : all) task.handle().resume();
    }));
}

template <class Asio>
double turns_in_asio(const Share& share) {
    typename Asio::Context context{1};
    for (std::size_t i = 0; i < share.tasks; ++i) Asio::spawn(context, asio_yielder<Asio>(share.turns));
    return share.each(nanoseconds([&] { context.run(); }));
}

double turns_in_plait(const Share& share) {
    aio::EventLoop loop;
    std::vector<aio::Task<long>> all;
    for (std::size_t i = 0; i < share.tasks; ++i) all.push_back(loop.create_task(plait_yielder(share.turns)));
    return share.each(nanoseconds([&] {
        for (auto& task : all) loop.run_until_complete(task);
    }));
}

void take_turns(std::size_t tasks) {
    constexpr std::size_t full = 10'000'000;
    benchmark::Table table{"B2: a turn, " + std::to_string(tasks) + " coroutines that take turns", benchmark::ns,
                           "at most 5 ns"};
    table.bare("by hand: trampoline, queue", [tasks] { return turns_by_hand(Share{tasks, full}); });
    table.peer("handles resumed in turn, no queue", [tasks] { return turns_without_a_queue(Share{tasks, full}); });
    benchmark::for_each_asio([&](auto library) {
        using Asio = decltype(library);
        table.peer(Asio::named("awaitable, post"), [tasks] { return turns_in_asio<Asio>(Share{tasks, full / 10}); });
    });
    for (const benchmark::PythonLoop& loop : benchmark::python_loops()) {
        table.peer(loop.named("sleep(0)"), [loop, tasks] {
            const Share share{tasks, full / 100};
            return loop("take_turns " + std::to_string(share.tasks) + ' ' + std::to_string(share.turns));
        });
    }
    table.plait("Task, sleep(0s)", [tasks] { return turns_in_plait(Share{tasks, full}); });
    table.run();
}

}  // namespace

int main() {
    benchmark::look_for_asio();
    benchmark::look_for_python_loops();
    take_turns(2);
    take_turns(10'000);
}
