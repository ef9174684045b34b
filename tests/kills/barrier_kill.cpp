// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/barrier.hpp>

#include "kills/campaign.hpp"
#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>

using namespace std::chrono_literals;
using kills::Campaign;
using kills::Try;
using plait::BrokenBarrierError;
using plait::multiprocessing::Barrier;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

namespace {

bool passes(const Barrier& barrier, plait::Timeout timeout) {
    try {
        barrier.wait(timeout);
        return true;
    } catch (const BrokenBarrierError&) {
        return false;
    }
}

/// Whether, after a reset, three processes pass.
bool still_works(Try& run, const Barrier& barrier) {
    run.promptly([&] { barrier.reset(); });
    ForkedChild first{[&] { return passes(barrier, 20s) ? 0 : 1; }};
    ForkedChild second{[&] { return passes(barrier, 20s) ? 0 : 1; }};
    return passes(barrier, 20s) && first.join() == 0 && second.join() == 0;
}

/// Victim and survivors meet once, in any order or with the victim as the last. The survivors pass both or neither.
void meet(Try& run, const Barrier& barrier, bool last) {
    const SharedVariable<std::atomic<int>> passed{0};
    const auto begin_victim = [&] { run.victim([&] { static_cast<void>(passes(barrier, 30s)); }); };
    if (!last) begin_victim();
    for (int i = 0; i < 2; ++i)
        run.survivor([&] {
            // The victim may never come.
            if (run.promptly([&] { return passes(barrier, 200ms); })) ++*passed;
            return 0;
        });
    if (last) {
        static_cast<void>(within(10s, [&] { return barrier.n_waiting() == 2 || barrier.broken(); }));
        begin_victim();
    }
    run.finish();
    if (passed->load() == 1) run.count_lost();
    if (!still_works(run, barrier)) run.count_lost();
}

void act() {
    plait::detail::sync_point();
    plait::detail::sync_point();
}

}  // namespace

TEST_CASE("a process that is killed at any step of a barrier's round has arrived or not") {
    Campaign any{"barrier, a round"};
    CHECK(any.run([](Try& run) { meet(run, Barrier{3}, false); }) == "");
    Campaign last{"barrier, the last of a round"};
    CHECK(last.run([](Try& run) { meet(run, Barrier{3}, true); }) == "");
}

TEST_CASE("a process that is killed at any step of a barrier's round with an action breaks it or not") {
    Campaign any{"barrier, a round with an action"};
    CHECK(any.run([](Try& run) { meet(run, Barrier{3, act}, false); }) == "");
    Campaign last{"barrier, the action of a round"};
    CHECK(last.run([](Try& run) { meet(run, Barrier{3, act}, true); }) == "");
}

TEST_CASE("a process that is killed at any step of an abort and a reset leaves a barrier that can be reset") {
    Campaign campaign{"barrier, abort and reset"};
    CHECK(campaign.run([](Try& run) {
        const Barrier barrier{3, act};
        run.victim([&] {
            barrier.abort();
            barrier.reset();
            barrier.reset();
        });
        for (int i = 0; i < 2; ++i)
            run.survivor([&] {
                run.promptly([&] { static_cast<void>(passes(barrier, 10ms)); });
                return 0;
            });
        run.finish();
        if (!still_works(run, barrier)) run.count_lost();
    }) == "");
}
