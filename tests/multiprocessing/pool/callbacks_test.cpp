// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/callbacks.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"

#include <plait/multiprocessing/pool.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using namespace support;
using plait::Future;
using plait::multiprocessing::Pool;

namespace {

int square(int x) { return x * x; }

std::atomic<int> reports{0};
void count_report(const std::string&, std::exception_ptr) { ++reports; }

}  // namespace

TEST_CASE("a callback runs once, with its future, on a thread that is neither the caller's nor the engine's") {
    Pool pool(1);
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
    const auto before = plait::set_unraisable_hook(&count_report);
    {
        Pool pool(1);
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
    Pool pool(1);
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
    Pool pool(1);
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
    auto* pool = new Pool(1);
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
    Pool pool(1);
    auto token = std::make_shared<int>(1);
    auto future = pool.apply_async(square, 3);
    future.add_done_callback([token](const Future<int>&) {});
    CHECK(future.get(30s) == 9);
    CHECK(within(30s, [&] { return token.use_count() == 1; }));
}
