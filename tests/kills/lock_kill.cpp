// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/lock.hpp>

#include "kills/campaign.hpp"
#include "support/catch.hpp"

#include <plait/multiprocessing/rlock.hpp>

#include <mutex>

using kills::Campaign;
using kills::Try;
using plait::OwnerDiedError;
using plait::multiprocessing::Lock;
using plait::multiprocessing::RLock;
using support::ForkedChild;
using support::SharedVariable;

namespace {

/// What a lock guards: two numbers that are equal, but in the midst of a section.
struct Guarded {
    std::atomic<long> begun{0};
    std::atomic<long> ended{0};
};

template <class AnyLock>
void section(const AnyLock& lock, Guarded& guarded) {
    const std::scoped_lock guard{lock};
    ++guarded.begun;
    plait::detail::sync_point();
    ++guarded.ended;
}

/// The same for one that others may have left by their deaths. False where they are not as they should be.
template <class AnyLock>
bool careful_section(const AnyLock& lock, Guarded& guarded) {
    bool repaired = false;
    try {
        lock.acquire();
    } catch (const OwnerDiedError&) {
        lock.recover();
        guarded.ended = guarded.begun.load();
        repaired = true;
    }
    const std::lock_guard guard{lock, std::adopt_lock};
    const bool sound = guarded.begun == guarded.ended;
    ++guarded.begun;
    ++guarded.ended;
    return sound || repaired;
}

template <class AnyLock>
void compete(Try& run) {
    const AnyLock lock;
    const SharedVariable<Guarded> guarded;
    run.victim([&] { section(lock, *guarded); });
    for (int i = 0; i < 2; ++i)
        run.survivor([&] {
            do
                if (!run.promptly([&] { return careful_section(lock, *guarded); })) run.count_lost();
            while (!run.is_over());
            return 0;
        });
    run.finish();
    if (!run.promptly([&] { return careful_section(lock, *guarded); })) run.count_lost();
    if (lock.locked()) run.count_lost();
}

}  // namespace

TEST_CASE("a process that is killed at any step of a lock's acquire and release holds up nobody") {
    Campaign alone{"lock, nobody else there"};
    CHECK(alone.run([](Try& run) {
        const Lock lock;
        const SharedVariable<Guarded> guarded;
        run.victim([&] { section(lock, *guarded); });
        run.finish();
        if (!run.promptly([&] { return careful_section(lock, *guarded); })) run.count_lost();
    }) == "");
    Campaign competing{"lock, competing"};
    CHECK(competing.run(compete<Lock>) == "");
}

TEST_CASE("a process that is killed at any step of a recursive lock's acquire and release holds up nobody") {
    Campaign competing{"recursive lock, competing"};
    CHECK(competing.run([](Try& run) { compete<RLock>(run); }) == "");
    Campaign nested{"recursive lock, held thrice"};
    CHECK(nested.run([](Try& run) {
        const RLock lock;
        const SharedVariable<Guarded> guarded;
        run.victim([&] {
            const std::scoped_lock outer{lock};
            const std::scoped_lock inner{lock};
            section(lock, *guarded);
        });
        run.survivor([&] {
            do
                if (!run.promptly([&] { return careful_section(lock, *guarded); })) run.count_lost();
            while (!run.is_over());
            return 0;
        });
        run.finish();
        if (!run.promptly([&] { return careful_section(lock, *guarded); }) || lock.locked()) run.count_lost();
    }) == "");
}

TEST_CASE("a process that is killed at any step of a recovery leaves it to the next") {
    Campaign campaign{"lock, recovery"};
    CHECK(campaign.run([](Try& run) {
        const Lock lock;
        const SharedVariable<Guarded> guarded;
        ForkedChild{[&] {
            lock.acquire();
            ++guarded->begun;
            return 0;
        }}.join();
        run.victim([&] { static_cast<void>(careful_section(lock, *guarded)); });
        run.survivor([&] {
            run.await_death();
            if (!run.promptly([&] { return careful_section(lock, *guarded); })) run.count_lost();
            return 0;
        });
        run.finish();
        if (!run.promptly([&] { return careful_section(lock, *guarded); })) run.count_lost();
    }) == "");
}
