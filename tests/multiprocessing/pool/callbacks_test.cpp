// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/callbacks.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/pools.hpp"

#include <plait/core/progress_teller.hpp>
#include <plait/multiprocessing/pool.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using namespace support;
using plait::Future;
using plait::detail::Deadline;
using plait::multiprocessing::Pool;
using plait::multiprocessing::detail::Callbacks;
using Function = plait::detail::MoveOnlyFunction<void()>;

namespace {

std::atomic<int> reports{0};
void count_report(const std::string&, std::exception_ptr) { ++reports; }

}  // namespace

TEST_CASE("a callback runs once, with its future, on a thread that is neither the caller's nor the engine's") {
    Pool pool(any_shape().with());
    Gate gate;
    std::atomic<int> result{0};
    std::atomic<bool> on_caller{true};
    auto future = pool.apply_async(pass_gate, gate.path());
    future.add_done_callback([&, caller = std::this_thread::get_id()](Future<int> done) {
        on_caller = std::this_thread::get_id() == caller;
        result += done.get(0s);
    });
    REQUIRE(gate.reached());
    gate.open();
    CHECK(within(30s, [&] { return result == 1; }));
    CHECK_FALSE(on_caller);
}

TEST_CASE("a callback that throws is reported and harms nobody") {
    reports = 0;
    const auto before = plait::set_unraisable_hook(&count_report);
    {
        Pool pool(any_shape().with());
        Gate gate;
        std::atomic<int> later{0};
        auto future = pool.apply_async(pass_gate, gate.path());
        future.add_done_callback([](const Future<int>&) { throw std::runtime_error("in a callback"); });
        future.add_done_callback([&](const Future<int>&) { ++later; });
        REQUIRE(gate.reached());
        gate.open();
        CHECK(future.get(30s) == 1);
        CHECK(pool.apply(square, 3) == 9);
        pool.close();
        pool.join();
        CHECK(later == 1);
    }
    plait::set_unraisable_hook(before);
    CHECK(reports == 1);
}

TEST_CASE("a callback may call the pool, wait for its results and close it") {
    Pool pool(any_shape().with());
    Gate gate;
    std::atomic<int> result{0};
    auto future = pool.apply_async(pass_gate, gate.path());
    future.add_done_callback([&](const Future<int>&) {
        result = pool.apply_async(square, 4).get(30s);
        pool.close();
    });
    REQUIRE(gate.reached());
    gate.open();
    CHECK(within(30s, [&] { return result == 16; }));
    CHECK(within(30s, [&] {
        try {
            return pool.join(30s);
        } catch (const plait::UsageError&) {
            return false;  // the callback has not closed it yet
        }
    }));
}

TEST_CASE("a callback may join the pool while another thread joins it") {
    Pool pool(any_shape().with());
    Gate gate;
    std::atomic<bool> joined{false};
    auto future = pool.apply_async(pass_gate, gate.path());
    future.add_done_callback([&](const Future<int>&) {
        pool.terminate();
        pool.join();
        joined = true;
    });
    REQUIRE(gate.reached());
    pool.close();
    std::thread other{[&] { pool.join(); }};
    gate.open();
    pool.join();
    other.join();
    CHECK(joined);
}

TEST_CASE("a callback may destroy the pool") {
    auto* pool = new Pool(any_shape().with());
    Gate gate;
    std::atomic<bool> destroyed{false};
    auto future = pool->apply_async(pass_gate, gate.path());
    future.add_done_callback([&](const Future<int>&) {
        delete pool;
        destroyed = true;
    });
    REQUIRE(gate.reached());
    gate.open();
    CHECK(within(30s, [&] { return destroyed.load(); }));
}

TEST_CASE("what a callback holds is let go once it has run") {
    Pool pool(any_shape().with());
    auto token = std::make_shared<int>(1);
    auto future = pool.apply_async(square, 3);
    future.add_done_callback([token](const Future<int>&) {});
    CHECK(future.get(30s) == 9);
    CHECK(within(30s, [&] { return token.use_count() == 1; }));
}

TEST_CASE("a function for later runs at its time, on the callbacks' thread, and holds up none that is due") {
    Callbacks callbacks;
    const auto begin = Deadline::Clock::now();
    std::atomic<int> order{0};
    std::atomic<int> late{0};
    std::atomic<int> due{0};
    std::atomic<bool> is_there{false};
    std::atomic<bool> was_early{false};
    Function later = [&] {
        was_early = Deadline::Clock::now() < begin + 2s;
        is_there = callbacks.is_this_thread();
        late = ++order;
    };
    Function latest = [] { std::abort(); };
    Function now = [&] { due = ++order; };
    CHECK(callbacks.add_at(Deadline::at(begin + 1h), latest));
    CHECK(callbacks.add_at(Deadline::at(begin + 2s), later));
    CHECK(callbacks.add_at(Deadline::at({}), now));
    CHECK(within(30s, [&] { return late.load() != 0; }));
    CHECK(due == 1);
    CHECK(late == 2);
    CHECK(is_there);
    CHECK_FALSE(was_early);
    callbacks.finish();
}

TEST_CASE("the end of the callbacks runs what is due, and drops what is for later") {
    Callbacks callbacks;
    std::atomic<bool> ran{false};
    const auto token = std::make_shared<int>(1);
    Function later = [token] { std::abort(); };
    Function now = [&] { ran = true; };
    CHECK(callbacks.add_at(Deadline{1h}, later));
    CHECK(callbacks.add_at(Deadline{0s}, now));
    callbacks.finish();
    CHECK(ran);
    CHECK(token.use_count() == 1);
    Function none = [] { std::abort(); };
    CHECK_FALSE(callbacks.add_at(Deadline{0s}, none));
    CHECK(static_cast<bool>(none));
}

TEST_CASE("a map's progress is told on the callbacks' thread, and the last before its result") {
    Callbacks callbacks;
    std::atomic<std::size_t> seen{99};
    std::atomic<int> calls{0};
    const auto teller = std::make_shared<plait::detail::ProgressTeller>(
        [&](std::size_t done, std::size_t) {
            seen = done;
            ++calls;
        },
        std::size_t{3}, [&](Deadline at, Function& function) { return callbacks.add_at(at, function); });
    teller->start();
    CHECK(within(30s, [&] { return seen.load() == 0; }));
    for (const std::size_t done : {1U, 2U}) {
        teller->tell(done);
        CHECK(within(30s, [&] { return seen.load() == done; }));
    }
    std::atomic<std::size_t> at_the_end{0};
    teller->finish([&] { at_the_end = seen.load(); });
    callbacks.finish();
    CHECK(at_the_end == 3);
    CHECK(calls == 4);
}
