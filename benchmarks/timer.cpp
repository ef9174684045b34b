// SPDX-License-Identifier: MIT
//
// What does a Timer cost that is cancelled, alone and beside a million others?

#include <plait/threading/timer.hpp>

#ifdef BENCHMARK_ASIO
#  include <asio/io_context.hpp>
#  include <asio/steady_timer.hpp>
#endif

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "table.hpp"

namespace {

using benchmark::nanoseconds;
using benchmark::scaled;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds long_time{3'600'000};

/// What one writes first: a thread for each timer.
class TimerWithThread {
public:
    TimerWithThread(milliseconds interval, std::function<void()> function)
        : thread_{[this, interval, call = std::move(function)] {
              std::unique_lock lock{mutex_};
              if (!changed_.wait_for(lock, interval, [this] { return cancelled_; })) call();
          }} {}
    ~TimerWithThread() {
        cancel();
        thread_.join();
    }
    void cancel() {
        const std::scoped_lock lock{mutex_};
        cancelled_ = true;
        changed_.notify_one();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool cancelled_ = false;
    std::thread thread_;
};

/// What one writes next: a multimap under a mutex, with one thread.
class TimersInMultimap {
public:
    using Pending = std::multimap<Clock::time_point, std::function<void()>>;

    TimersInMultimap() : thread_{[this] { run(); }} {}
    ~TimersInMultimap() {
        {
            const std::scoped_lock lock{mutex_};
            stopped_ = true;
        }
        earlier_.notify_one();
        thread_.join();
    }
    Pending::iterator start(milliseconds interval, std::function<void()> function) {
        const auto deadline = Clock::now() + interval;
        const std::scoped_lock lock{mutex_};
        const auto place = pending_.emplace(deadline, std::move(function));
        if (place == pending_.begin()) earlier_.notify_one();
        return place;
    }
    void cancel(Pending::iterator timer) {
        const std::scoped_lock lock{mutex_};
        pending_.erase(timer);
    }

private:
    void run() {
        std::unique_lock lock{mutex_};
        while (!stopped_) {
            if (pending_.empty()) {
                earlier_.wait(lock);
            } else if (const auto first = pending_.begin(); first->first > Clock::now()) {
                const auto until = first->first;
                earlier_.wait_until(lock, until);
            } else {
                const auto due = pending_.extract(first);
                lock.unlock();
                due.mapped()();
                lock.lock();
            }
        }
    }

    std::mutex mutex_;
    std::condition_variable earlier_;
    Pending pending_;
    bool stopped_ = false;
    std::thread thread_;
};

template <class One>
double each(std::size_t count, One one) {
    return nanoseconds([&] {
               for (std::size_t i = 0; i < count; ++i) one();
           }) /
           static_cast<double>(count);
}

double one_with_thread() {
    return each(scaled(2'000), [] {
        TimerWithThread timer{long_time, [] {}};
        timer.cancel();
    });
}

double one_in_multimap() {
    TimersInMultimap timers;
    return each(scaled(200'000), [&] { timers.cancel(timers.start(long_time, [] {})); });
}

double one_of_plait() {
    return each(scaled(200'000), [] {
        plait::threading::Timer timer{long_time, [] {}};
        timer.start();
        timer.cancel();
    });
}

#ifdef BENCHMARK_ASIO
double one_of_asio() {
    asio::io_context context;
    const auto work = asio::make_work_guard(context);
    std::thread runner{[&] { context.run(); }};
    const double result = each(scaled(200'000), [&] {
        asio::steady_timer timer{context, long_time};
        timer.async_wait([](const asio::error_code&) {});
        timer.cancel();
    });
    context.stop();
    runner.join();
    return result;
}
#endif

void alone() {
    benchmark::Table table{"C4: make a timer, start, cancel and destroy it", benchmark::ns, "at most 60 ns"};
    table.bare("a mutex, a condition and a thread each", one_with_thread);
    table.peer("std::multimap under a mutex", one_in_multimap);
#ifdef BENCHMARK_ASIO
    table.peer("asio::steady_timer", one_of_asio);
#endif
    table.plait("Timer", one_of_plait);
    table.run();
}

/// Delays between some minutes and some hours, the same for all.
class Delays {
public:
    milliseconds next() {
        state_ = state_ * 6364136223846793005U + 1442695040888963407U;
        return milliseconds{300'000 + static_cast<int>(state_ >> 40)};
    }

private:
    std::uint64_t state_ = 1;
};

struct CreateAndCancel {
    double create;
    double cancel;
};

template <class Create, class Cancel>
CreateAndCancel many(Create create, Cancel cancel) {
    const std::size_t count = scaled(1'000'000);
    Delays delays;
    CreateAndCancel result{};
    result.create = each(count, [&] { create(delays.next()); });
    std::size_t next = 0;
    result.cancel = each(count, [&] { cancel(next++); });
    return result;
}

CreateAndCancel many_in_multimap() {
    TimersInMultimap timers;
    std::vector<TimersInMultimap::Pending::iterator> all;
    all.reserve(scaled(1'000'000));
    return many([&](milliseconds delay) { all.push_back(timers.start(delay, [] {})); },
                [&](std::size_t i) { timers.cancel(all[i]); });
}

CreateAndCancel many_of_plait() {
    std::vector<plait::threading::Timer> all;
    all.reserve(scaled(1'000'000));
    return many(
        [&](milliseconds delay) {
            all.emplace_back(delay, [] {});
            all.back().start();
        },
        [&](std::size_t i) { all[i].cancel(); });
}

#ifdef BENCHMARK_ASIO
CreateAndCancel many_of_asio() {
    asio::io_context context;
    const auto work = asio::make_work_guard(context);
    std::thread runner{[&] { context.run(); }};
    std::vector<asio::steady_timer> all;
    all.reserve(scaled(1'000'000));
    const CreateAndCancel result = many(
        [&](milliseconds delay) {
            all.emplace_back(context, delay);
            all.back().async_wait([](const asio::error_code&) {});
        },
        [&](std::size_t i) { all[i].cancel(); });
    context.stop();
    runner.join();
    return result;
}
#endif

void beside_a_million() {
    using namespace benchmark;
    Table create{"C4: make and start a timer, up to a million pending", ns, "at most 60 ns"};
    Table cancel{"C4: cancel it, in the order of creation", ns, "at most 40 ns"};
    std::vector<CreateAndCancel (*)()> contenders;
    const auto add = [&](const char* name, CreateAndCancel (*measure)(), auto how) {
        (create.*how)(name, {});
        (cancel.*how)(name, {});
        contenders.push_back(measure);
    };
    add("std::multimap under a mutex", many_in_multimap, &Table::bare);
#ifdef BENCHMARK_ASIO
    add("asio::steady_timer", many_of_asio, &Table::peer);
#endif
    add("Timer", many_of_plait, &Table::plait);
    take_turns(contenders.size(), [&](std::size_t i, bool counts) {
        const CreateAndCancel result = contenders[i]();
        if (!counts) return;
        create.record(i, result.create);
        cancel.record(i, result.cancel);
    });
    create.print();
    cancel.print();
}

}  // namespace

int main() {
#ifndef BENCHMARK_ASIO
    benchmark::missing("Asio");
#endif
    alone();
    beside_a_million();
}
