// SPDX-License-Identifier: MIT
//
// What does it cost to have an event loop call something, from another thread?

#include <plait/asyncio/loop.hpp>

#ifdef BENCHMARK_UV
#  include <uv.h>
#endif

#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "asio_peers.hpp"
#include "asyncio_peer.hpp"
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

template <class Asio>
class AsioLoop {
public:
    template <class F>
    void post(F call) {
        Asio::post(context_, std::move(call));
    }
    void run() { context_.run(); }
    void stop() { context_.stop(); }

private:
    typename Asio::Context context_;
    typename Asio::Guard guard_{context_.get_executor()};
};

#ifdef BENCHMARK_UV
/// It is woken by uv_async_send, which carries nothing: the calls are in a list beside it.
class UvLoop {
public:
    UvLoop() {
        if (uv_loop_init(&loop_) != 0 || uv_async_init(&loop_, &mail_, on_mail) != 0) std::abort();
        mail_.data = this;
    }
    UvLoop(const UvLoop&) = delete;
    UvLoop& operator=(const UvLoop&) = delete;
    ~UvLoop() {
        uv_close(reinterpret_cast<uv_handle_t*>(&mail_), nullptr);
        uv_run(&loop_, UV_RUN_DEFAULT);
        uv_loop_close(&loop_);
    }
    template <class F>
    void post(F call) {
        {
            const std::scoped_lock lock{mutex_};
            calls_.emplace_back(std::move(call));
        }
        uv_async_send(&mail_);
    }
    void run() { uv_run(&loop_, UV_RUN_DEFAULT); }
    void stop() { uv_stop(&loop_); }

private:
    static void on_mail(uv_async_t* mail) {
        auto& self = *static_cast<UvLoop*>(mail->data);
        std::vector<std::function<void()>> calls;
        {
            const std::scoped_lock lock{self.mutex_};
            calls.swap(self.calls_);
        }
        for (const auto& call : calls) call();
    }

    uv_loop_t loop_;
    uv_async_t mail_;
    std::mutex mutex_;
    std::vector<std::function<void()>> calls_;
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

/// All of them, in a table; `work` is Python's name for it.
template <class Measure>
void compare(benchmark::Table table, Measure measure, const std::string& work) {
    table.bare("std::mutex, vector and condition_variable", [=] { return measure.template operator()<PlainLoop>(); });
#ifdef BENCHMARK_UV
    table.peer("libuv: uv_async_send", [=] { return measure.template operator()<UvLoop>(); });
#endif
    benchmark::for_each_asio([&](auto library) {
        using Asio = decltype(library);
        table.peer(Asio::named("post"), [=] { return measure.template operator()<AsioLoop<Asio>>(); });
    });
    for (const benchmark::PythonLoop& loop : benchmark::python_loops())
        table.peer(loop.named("call_soon_threadsafe"), [=] { return loop(work); });
    table.plait("EventLoop::call_soon_threadsafe", [=] { return measure.template operator()<PlaitLoop>(); });
    table.run();
}

}  // namespace

int main() {
    benchmark::look_for_asio();
    benchmark::look_for_python_loops();
#ifndef BENCHMARK_UV
    benchmark::missing("libuv");
#endif
    using benchmark::Table;
    compare(
        Table{"B6: a post from another thread, a million flat out", benchmark::ns, "at most 27 ns"},
        []<class Loop> { return flat_out<Loop>(); }, "posts " + std::to_string(benchmark::scaled(30'000)));
    compare(
        Table{"B6: two loops post to each other, a round trip", benchmark::us,
              "at most 1.5 µs hot, 45 µs where the threads sleep"},
        []<class Loop> { return round_trip<Loop>(); }, "round_trips " + std::to_string(benchmark::scaled(1'000)));
}
