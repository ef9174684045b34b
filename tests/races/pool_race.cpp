// SPDX-License-Identifier: MIT
#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/threading/pool.hpp>

#include "support/catch.hpp"
#include "support/race.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

using plait::Future;
using plait::PoolTerminatedError;
using plait::UsageError;
using plait::threading::ThreadPool;
using support::patience;
using support::Race;

namespace {

/// Some calls that are submitted while their pool ends, and what became of each.
struct Submissions {
    static constexpr int count = 4;

    std::atomic<int> runs{0};
    int answered = 0;
    int refused = 0;
    int dropped = 0;

    void make(ThreadPool& pool) {
        runs = answered = refused = dropped = 0;
        std::vector<Future<int>> futures;
        for (int i = 0; i < count; ++i) {
            try {
                futures.push_back(pool.apply_async([this] { return ++runs; }));
            } catch (const UsageError&) {
                ++refused;
            }
        }
        for (const Future<int>& future : futures) {
            try {
                static_cast<void>(future.get(patience));
                ++answered;
            } catch (const PoolTerminatedError&) {
                ++dropped;
            }
        }
    }
    [[nodiscard]] bool fine() const { return answered + refused + dropped == count && runs == answered; }
};

}  // namespace

TEST_CASE("a call that is submitted while the pool is closed runs, or is refused") {
    auto pool = std::make_unique<ThreadPool>(1);
    Submissions submissions;
    Race race{"pool: submit against close", 3'000};
    const auto failure = race.run(
        [&] {
            pool->join();
            pool = std::make_unique<ThreadPool>(1);
            return submissions.fine() && submissions.dropped == 0;
        },
        [&] { submissions.make(*pool); }, [&] { pool->close(); });
    CHECK(failure == "");
}

TEST_CASE("a call that is submitted while the pool is terminated runs, is refused, or is dropped with an error") {
    auto pool = std::make_unique<ThreadPool>(2);
    Submissions submissions;
    Race race{"pool: submit against terminate", 3'000};
    const auto failure = race.run(
        [&] {
            pool->join();
            pool = std::make_unique<ThreadPool>(2);
            return submissions.fine();
        },
        [&] { submissions.make(*pool); }, [&] { pool->terminate(); });
    CHECK(failure == "");
}

TEST_CASE("no worker sleeps beside a call: each is answered, whoever searches or sleeps just then") {
    ThreadPool pool(2);
    bool fine[2] = {};
    const auto submit = [&](int self) {
        fine[self] = true;
        for (int i = 0; i < 3; ++i) {
            Future<int> outer = pool.apply_async([&pool, i] {
                // From a worker into its own row: the other is to steal it, or this one takes it back while it waits.
                Future<int> inner = pool.apply_async([i] { return i; });
                return inner.get(patience) + 1;
            });
            fine[self] = outer.get(patience) == i + 1 && fine[self];
        }
    };
    Race race{"pool: submit against sleep", 5'000};
    const auto failure = race.run([&] { return fine[0] && fine[1]; }, [&] { submit(0); }, [&] { submit(1); });
    CHECK(failure == "");
}

TEST_CASE("a part of an invocation is called once, whether it is stolen or joined, and before the call returns") {
    ThreadPool pool(2);
    std::atomic<int> calls{0};
    const auto part = [&] { ++calls; };
    const auto nested = [&] {
        pool.parallel_invoke(part, part);
        ++calls;
    };
    std::atomic<bool> early{false};
    const auto invoke = [&] {
        std::atomic<int> own{0};
        const auto counted = [&] { ++own; };
        pool.parallel_invoke(nested, counted, nested, counted);
        if (own != 2) early = true;
    };
    Race race{"pool: fork, steal and join", 5'000};
    const auto failure = race.run([&] { return calls.exchange(0) == 12 && !early; }, invoke, invoke);
    CHECK(failure == "");
}
