// SPDX-License-Identifier: MIT
//
// What does it cost to start a timer and to cancel it, while up to a million are pending?

#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/loop.hpp>

#ifdef BENCHMARK_UV
#  include <uv.h>
#endif

#include <malloc.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "asio_peers.hpp"
#include "asyncio_peer.hpp"
#include "own_process.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;
using Clock = std::chrono::steady_clock;
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

std::size_t timers() { return scaled(1'000'000); }

struct CreateAndCancel {
    double create;
    double cancel;
};

template <class Create, class Cancel>
CreateAndCancel measure(Create create, Cancel cancel) {
    Delays delays;
    CreateAndCancel result{};
    result.create = nanoseconds([&] {
                        for (std::size_t i = 0; i < timers(); ++i) create(i, delays.next());
                    }) /
                    static_cast<double>(timers());
    result.cancel = nanoseconds([&] {
                        for (std::size_t i = 0; i < timers(); ++i) cancel(i);
                    }) /
                    static_cast<double>(timers());
    return result;
}

/// The least that there is: nodes that exist already, dealt out to the slots of a wheel, and no clock.
CreateAndCancel timers_of_wheel() {
    struct Node {
        Node* next;
        Node** place;
        milliseconds when;
    };
    std::vector<Node*> slots(1 << 12);
    std::vector<Node> all(timers());
    return measure(
        [&](std::size_t i, milliseconds delay) {
            Node*& slot = slots[static_cast<std::size_t>(delay.count()) % slots.size()];
            all[i] = Node{slot, &slot, delay};
            if (slot != nullptr) slot->place = &all[i].next;
            slot = &all[i];
        },
        [&](std::size_t i) {
            *all[i].place = all[i].next;
            if (all[i].next != nullptr) all[i].next->place = all[i].place;
        });
}

CreateAndCancel timers_of_multimap() {
    std::multimap<Clock::time_point, std::function<void()>> pending;
    std::vector<decltype(pending)::iterator> all(timers());
    const auto now = Clock::now();
    return measure([&](std::size_t i, milliseconds delay) { all[i] = pending.emplace(now + delay, [] {}); },
                   [&](std::size_t i) { pending.erase(all[i]); });
}

CreateAndCancel timers_by_call_at() {
    aio::EventLoop loop;
    std::vector<aio::Handle> all;
    all.reserve(timers());
    const auto now = loop.time();
    return measure([&](std::size_t, milliseconds delay) { all.push_back(loop.call_at(now + delay, [] {})); },
                   [&](std::size_t i) { all[i].cancel(); });
}

CreateAndCancel timers_by_call_later() {
    aio::EventLoop loop;
    std::vector<aio::Handle> all;
    all.reserve(timers());
    return measure([&](std::size_t, milliseconds delay) { all.push_back(loop.call_later(delay, [] {})); },
                   [&](std::size_t i) { all[i].cancel(); });
}

template <class Asio>
CreateAndCancel timers_of_asio() {
    typename Asio::Context context{1};
    std::vector<typename Asio::Timer> all;
    all.reserve(timers());
    const auto now = Clock::now();
    return measure(
        [&](std::size_t, milliseconds delay) {
            all.emplace_back(context, now + delay).async_wait([](const typename Asio::Error&) {});
        },
        [&](std::size_t i) { all[i].cancel(); });
}

#ifdef BENCHMARK_UV
CreateAndCancel timers_of_uv() {
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0) std::abort();
    std::vector<uv_timer_t> all(timers());
    return measure(
        [&](std::size_t i, milliseconds delay) {
            uv_timer_init(&loop, &all[i]);
            uv_timer_start(&all[i], [](uv_timer_t*) {}, static_cast<std::uint64_t>(delay.count()), 0);
        },
        [&](std::size_t i) { uv_timer_stop(&all[i]); });
}
#endif

/// In a process of its own, the second time: the first one has got the memory from the system, which is not the question.
CreateAndCancel warmed_up(CreateAndCancel (*contender)()) {
    return benchmark::in_own_process([contender] {
        mallopt(M_MMAP_THRESHOLD, 1 << 30);
        mallopt(M_TRIM_THRESHOLD, 1 << 30);
        contender();
        return contender();
    });
}

}  // namespace

int main() {
    using namespace benchmark;
    look_for_asio();
    look_for_python_loops();
    Table create{"B4: create a timer, up to a million pending", ns, "at most 20 ns"};
    Table cancel{"B4: cancel it, in the order of creation", ns, "at most 12 ns"};
    std::vector<std::function<CreateAndCancel()>> contenders;
    const auto add_measure = [&](const std::string& name, std::function<CreateAndCancel()> contender, auto how) {
        (create.*how)(name, {});
        (cancel.*how)(name, {});
        contenders.push_back(std::move(contender));
    };
    const auto add = [&](const std::string& name, CreateAndCancel (*contender)(), auto how) {
        add_measure(name, [contender] { return warmed_up(contender); }, how);
    };
    add("by hand: a wheel of nodes, no clock", timers_of_wheel, &Table::bare);
    add("std::multimap of std::function", timers_of_multimap, &Table::peer);
#ifdef BENCHMARK_UV
    add("libuv: uv_timer_start", timers_of_uv, &Table::peer);
#else
    missing("libuv");
#endif
    for_each_asio([&](auto library) {
        using Asio = decltype(library);
        add(Asio::named("steady_timer::async_wait"), timers_of_asio<Asio>, &Table::peer);
    });
    for (const PythonLoop& loop : python_loops())
        add_measure(
            loop.named("call_at"),
            [loop] {
                const std::vector<double> values = loop.values("timers " + std::to_string(timers()), 2);
                return CreateAndCancel{.create = values[0], .cancel = values[1]};
            },
            &Table::peer);
    add("EventLoop::call_at", timers_by_call_at, &Table::plait);
    add("EventLoop::call_later, which reads the clock", timers_by_call_later, &Table::plait);
    take_turns(contenders.size(), [&](std::size_t i, bool counts) {
        const CreateAndCancel result = contenders[i]();
        if (!counts) return;
        create.record(i, result.create);
        cancel.record(i, result.cancel);
    });
    create.print();
    cancel.print();
}
