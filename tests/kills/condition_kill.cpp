// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/condition.hpp>

#include "kills/campaign.hpp"
#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <mutex>

using namespace std::chrono_literals;
using kills::Campaign;
using kills::Try;
using plait::OwnerDiedError;
using plait::multiprocessing::Condition;
using support::SharedVariable;
using support::within;

namespace {

/// Does `operation` with the condition's lock, after a repair where its owner died.
template <class Operation>
void with_lock(const Condition& condition, Operation operation) {
    for (;;) {
        try {
            const std::scoped_lock guard{condition};
            return operation();
        } catch (const OwnerDiedError&) {
            condition.recover();
            condition.release();
        }
    }
}

/// Three waits that follow each other, and are notified.
bool still_works(Try& run, const Condition& condition) {
    const SharedVariable<std::atomic<int>> told{0};
    support::ForkedChild waiter{[&] {
        for (int i = 0; i < 3; ++i)
            with_lock(condition, [&] {
                if (condition.wait(10s)) ++*told;
            });
        return 0;
    }};
    for (int i = 0; i < 3; ++i) {
        if (!within(10s, [&] { return told->load() == i && condition.waiting() == 1; })) return false;
        run.promptly([&] { with_lock(condition, [&] { condition.notify(); }); });
    }
    return waiter.join(10s) == 0 && told->load() == 3 && condition.waiting() == 0;
}

}  // namespace

TEST_CASE(
    "a process that is killed at any step of a wait uses up no notification before its end, and holds up nobody") {
    Campaign campaign{"condition, waiting"};
    CHECK(campaign.run([](Try& run) {
        const Condition condition;
        const SharedVariable<std::atomic<bool>> ready{false};
        const auto is_ready = [&] { return ready->load(); };
        run.victim([&] { with_lock(condition, [&] { condition.wait_for(is_ready); }); });
        for (int i = 0; i < 2; ++i)
            run.survivor([&] {
                with_lock(condition, [&] { condition.wait_for(is_ready); });
                return 0;
            });
        run.survivor([&] {
            static_cast<void>(within(10s, [&] { return condition.waiting() >= 2; }));
            run.promptly([&] { with_lock(condition, [&] { ready->store(true), condition.notify_all(); }); });
            return 0;
        });
        run.finish();
        run.promptly([&] { with_lock(condition, [&] { condition.notify_all(); }); });  // for the dead
        if (!still_works(run, condition)) run.count_lost();
    }) == "");
}

TEST_CASE("a notification is not lost to a waiter that was killed at any step before it") {
    Campaign campaign{"condition, waiting, notified after a death"};
    CHECK(campaign.run([](Try& run) {
        const Condition condition;
        const SharedVariable<std::atomic<bool>> waits{false};
        run.victim([&] { with_lock(condition, [&] { static_cast<void>(condition.wait(5ms)); }); });
        // Behind the victim, if that got so far, for it has waited longer.
        run.survivor([&] {
            run.await_death();
            bool told = false;
            with_lock(condition, [&] {
                *waits = true;
                told = condition.wait(10s);
            });
            return told ? 0 : 1;
        });
        run.survivor([&] {
            if (!within(10s, [&] { return waits->load(); })) return 1;
            run.promptly([&] { with_lock(condition, [&] { condition.notify(); }); });
            return 0;
        });
        run.finish();
        if (!still_works(run, condition)) run.count_lost();
    }) == "");
}

TEST_CASE("a process that is killed at any step of a notify holds up nobody") {
    Campaign campaign{"condition, notifying"};
    CHECK(campaign.run([](Try& run) {
        const Condition condition;
        const SharedVariable<std::atomic<int>> items{0};
        run.victim([&] {
            with_lock(condition, [&] {
                ++*items;
                condition.notify();
                ++*items;
                condition.notify_all();
            });
        });
        for (int i = 0; i < 2; ++i)
            run.survivor([&] {
                const auto some = [&] { return items->load() != 0; };
                while (!run.is_over())
                    with_lock(condition, [&] {
                        if (condition.wait_for(some, 1ms)) --*items;
                    });
                *items = 1;
                // Nobody notifies, and it is noticed all the same.
                run.promptly([&] { with_lock(condition, [&] { condition.wait_for(some); }); });
                return 0;
            });
        run.finish();
        if (!still_works(run, condition)) run.count_lost();
    }) == "");
}
