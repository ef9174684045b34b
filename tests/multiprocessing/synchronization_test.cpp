// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/barrier.hpp>
#include <plait/multiprocessing/condition.hpp>
#include <plait/multiprocessing/event.hpp>
#include <plait/multiprocessing/lock.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/rlock.hpp>
#include <plait/multiprocessing/semaphore.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <mutex>

// How locks and their like cross to a Process.

using namespace std::chrono_literals;
using plait::OwnerDiedError;
using plait::multiprocessing::Barrier;
using plait::multiprocessing::BoundedSemaphore;
using plait::multiprocessing::Condition;
using plait::multiprocessing::Event;
using plait::multiprocessing::Lock;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::RLock;
using plait::multiprocessing::Semaphore;
using plait::multiprocessing::StartMethod;

namespace {

void do_nothing() {}

/// What a process gets: all that there is.
struct Everything {
    Lock lock;
    RLock rlock;
    Semaphore semaphore{0};
    BoundedSemaphore bounded{1};
    Event event;
    Condition condition;
    Barrier barrier{2, do_nothing};
};

void use(const Everything& all, Condition of_lock) {
    all.semaphore.release();
    {
        const std::scoped_lock guard{all.lock, all.rlock, all.bounded};
        of_lock.notify();
    }
    if (!all.event.wait(30s)) return;
    {
        const std::scoped_lock guard{all.condition};
        all.condition.notify();
    }
    all.barrier.wait(30s);
    all.lock.acquire();  // and ends with it
}

void hand_on(const Everything& all, Condition of_lock) {
    Process grandchild{use, all, of_lock};
    grandchild.start();
    grandchild.join();
}

}  // namespace

TEST_CASE("locks and their like go to a process, and on to its own, under every start method") {
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const auto target = GENERATE(&use, &hand_on);
    const Everything all;
    const Condition of_lock{all.lock};
    of_lock.acquire();
    Process process{ProcessOptions{.start_method = start_method}, target, all, of_lock};
    process.start();
    CHECK(all.semaphore.acquire(30s));
    CHECK(of_lock.wait(30s));
    of_lock.release();
    all.condition.acquire();
    all.event.set();
    CHECK(all.condition.wait(30s));
    all.condition.release();
    CHECK(all.barrier.wait(30s) < 2);
    process.join();
    CHECK(process.exitcode() == 0);
    CHECK(all.bounded.value() == 1);
    CHECK_THROWS_AS(all.lock.acquire(), OwnerDiedError);
}
