// SPDX-License-Identifier: MIT
//
// What does it cost to look at an event, to set it, and to wake each other by it?

#include <plait/threading/event.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "table.hpp"

namespace {

class ConditionEvent {
public:
    void set() {
        {
            const std::scoped_lock lock{mutex_};
            set_ = true;
        }
        changed_.notify_all();
    }
    void clear() {
        const std::scoped_lock lock{mutex_};
        set_ = false;
    }
    void wait() {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return set_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool set_ = false;
};

class AtomicEvent {
public:
    void set() {
        set_.store(1, std::memory_order_release);
        set_.notify_all();
    }
    void clear() { set_.store(0, std::memory_order_relaxed); }
    void wait() { set_.wait(0, std::memory_order_acquire); }

private:
    std::atomic<int> set_{0};
};

template <class Event>
double wait_when_set() {
    const std::size_t count = benchmark::scaled(20'000'000);
    Event event;
    event.set();
    return benchmark::nanoseconds_in_threads(1,
                                             [&](std::size_t) {
                                                 for (std::size_t i = 0; i < count; ++i) {
                                                     event.wait();
                                                     benchmark::keep(event);
                                                 }
                                             }) /
           static_cast<double>(count);
}

template <class Event>
double set_and_clear() {
    const std::size_t count = benchmark::scaled(5'000'000);
    Event event;
    return benchmark::nanoseconds_in_threads(1,
                                             [&](std::size_t) {
                                                 for (std::size_t i = 0; i < count; ++i) {
                                                     event.set();
                                                     benchmark::keep(event);
                                                     event.clear();
                                                 }
                                             }) /
           static_cast<double>(count);
}

template <class Event>
double round_trip(std::size_t trips) {
    const std::size_t count = benchmark::scaled(trips);
    Event events[2];
    return benchmark::nanoseconds_in_threads(2,
                                             [&](std::size_t number) {
                                                 for (std::size_t i = 0; i < count; ++i) {
                                                     if (number == 0) events[0].set();
                                                     events[1 - number].wait();
                                                     events[1 - number].clear();
                                                     if (number == 1) events[1].set();
                                                 }
                                             }) /
           static_cast<double>(count);
}

}  // namespace

int main() {
    using plait::threading::Event;
    {
        benchmark::Table table{"C1e: wait for an event that is set", benchmark::ns, "at most 0.5 ns"};
        table.bare("std::mutex and condition_variable", wait_when_set<ConditionEvent>);
        table.peer("std::atomic::wait", wait_when_set<AtomicEvent>);
        table.plait("Event", wait_when_set<Event>);
        table.run();
    }
    {
        benchmark::Table table{"C1e: set and clear, nobody waits", benchmark::ns, "at most 10 ns"};
        table.bare("std::mutex and condition_variable", set_and_clear<ConditionEvent>);
        table.peer("std::atomic::wait", set_and_clear<AtomicEvent>);
        table.plait("Event", set_and_clear<Event>);
        table.run();
    }
    {
        benchmark::Table table{"C1e: two threads set each other's event, a round trip", benchmark::us, "at most 1 µs"};
        table.bare("std::mutex and condition_variable", [] { return round_trip<ConditionEvent>(5'000); });
        table.peer("std::atomic::wait", [] { return round_trip<AtomicEvent>(100'000); });
        table.plait("Event", [] { return round_trip<Event>(100'000); });
        table.run();
    }
}
