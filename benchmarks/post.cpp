// SPDX-License-Identifier: MIT
//
// What does it cost to have an event loop call something, from another thread?

#include <plait/asyncio/loop.hpp>

#ifdef BENCHMARK_ASIO
#  include <asio/executor_work_guard.hpp>
#  include <asio/io_context.hpp>
#  include <asio/post.hpp>
#endif

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "table.hpp"

namespace {

/// The loop that everybody writes first.
class PlainLoop {
public:
    template <class F>
    void post(F call) {
        const std::scoped_lock lock{mutex_};
        calls_.emplace_back(std::move(call));
        if (calls_.size() == 1) more_.notify_one();
    }
    void run() {
        std::vector<std::function<void()>> calls;
        while (!stopped_) {
            {
                std::unique_lock lock{mutex_};
                more_.wait(lock, [&] { return !calls_.empty(); });
                calls.swap(calls_);
            }
            for (const auto& call : calls) call();
            calls.clear();
        }
    }
    void stop() { stopped_ = true; }

private:
    std::mutex mutex_;
    std::condition_variable more_;
    std::vector<std::function<void()>> calls_;
    bool stopped_ = false;  // the loop's thread's
};

class PlaitLoop {
public:
    template <class F>
    void post(F call) {
        loop_.call_soon_threadsafe(std::move(call));
    }
    void run() { loop_.run_forever(); }
    void stop() { loop_.stop(); }

private:
    plait::asyncio::EventLoop loop_;
};

#ifdef BENCHMARK_ASIO
class AsioLoop {
public:
    template <class F>
    void post(F call) {
        asio::post(context_, std::move(call));
    }
    void run() { context_.run(); }
    void stop() { context_.stop(); }

private:
    asio::io_context context_;
    asio::executor_work_guard<asio::io_context::executor_type> guard_{context_.get_executor()};
};
#endif

/// Nanoseconds a call, from the first post until the last has been called.
template <class Loop>
double flat_out() {
    const std::size_t count = benchmark::scaled(1'000'000);
    struct State {
        Loop loop;
        std::size_t left;
    } state{.loop = {}, .left = count};
    return benchmark::nanoseconds([&] {
               std::thread poster{[&] {
                   for (std::size_t i = 0; i < count; ++i)
                       state.loop.post([&state] {
                           if (--state.left == 0) state.loop.stop();
                       });
               }};
               state.loop.run();
               poster.join();
           }) /
           static_cast<double>(count);
}

/// Two loops, each on a thread of its own, that post to each other in turn.
template <class Loop>
class RoundTrips {
public:
    explicit RoundTrips(std::size_t count) : left_{count} {}
    void run() {
        std::thread other{[&] { there_.run(); }};
        send();
        here_.run();
        other.join();
    }

private:
    void send() {
        there_.post([this] { here_.post([this] { come_back(); }); });
    }
    void come_back() {
        if (--left_ != 0) return send();
        there_.post([this] { there_.stop(); });
        here_.stop();
    }

    Loop here_;
    Loop there_;
    std::size_t left_;
};

template <class Loop>
double round_trip() {
    const std::size_t count = benchmark::scaled(10'000);
    RoundTrips<Loop> trips{count};
    return benchmark::nanoseconds([&] { trips.run(); }) / static_cast<double>(count);
}

}  // namespace

int main() {
#ifndef BENCHMARK_ASIO
    benchmark::missing("Asio");
#endif
    {
        benchmark::Table table{"B6: a post from another thread, a million flat out", benchmark::ns, "at most 27 ns"};
        table.bare("std::mutex, vector and condition_variable", flat_out<PlainLoop>);
#ifdef BENCHMARK_ASIO
        table.peer("asio::post", flat_out<AsioLoop>);
#endif
        table.plait("EventLoop::call_soon_threadsafe", flat_out<PlaitLoop>);
        table.run();
    }
    {
        benchmark::Table table{"B6: two loops post to each other, a round trip", benchmark::us,
                               "at most 1.5 µs hot, 45 µs where the threads sleep"};
        table.bare("std::mutex, vector and condition_variable", round_trip<PlainLoop>);
#ifdef BENCHMARK_ASIO
        table.peer("asio::post", round_trip<AsioLoop>);
#endif
        table.plait("EventLoop::call_soon_threadsafe", round_trip<PlaitLoop>);
        table.run();
    }
}
