// SPDX-License-Identifier: MIT
#include <plait/os/futex.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/forked_child.hpp"
#include "support/process_state.hpp"

#include <plait/os/memory.hpp>

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>

using namespace std::chrono_literals;
using plait::detail::Deadline;
using plait::os::futex_wait;
using plait::os::futex_wake;
using plait::os::FutexResult;
using support::ForkedChild;
using support::SharedVariable;
using support::within;

namespace {

using Word = std::atomic<std::uint32_t>;

/// Sleeps until the word is no longer 0, for what ends a single sleep may be nothing; false when the time is over.
bool sleep_while_zero(const Word& word, Deadline deadline) {
    while (word.load() == 0 && !deadline.has_passed()) futex_wait(word, 0, deadline);
    return word.load() != 0;
}

}  // namespace

TEST_CASE("who would sleep on a word that has changed does not") {
    const Word word{1};
    CHECK(futex_wait(word, 0, Deadline::never()) == FutexResult::changed);
}

TEST_CASE("a sleep on a word ends at its deadline, and not before, whatever signals come") {
    const Word word{0};
    const auto time_of = [](auto sleep) {
        const auto begin = std::chrono::steady_clock::now();
        sleep();
        return std::chrono::steady_clock::now() - begin;
    };
    FutexResult result = FutexResult::woken;
    const auto undisturbed = time_of([&] { result = futex_wait(word, 0, Deadline{20ms}); });
    CHECK(result == FutexResult::timed_out);
    CHECK(undisturbed >= 20ms);
    CHECK(undisturbed < 10s);
    const support::SignalStorm storm;
    const auto disturbed = time_of([&] { CHECK_FALSE(sleep_while_zero(word, Deadline{20ms})); });
    CHECK(disturbed >= 20ms);
    CHECK(disturbed < 10s);
    CHECK(futex_wait(word, 0, Deadline{0ms}) == FutexResult::timed_out);
}

TEST_CASE("a process sleeps until another changes the word and wakes it") {
    const SharedVariable<Word> word{0U};
    const SharedVariable<Word> turn{0U};
    ForkedChild child{[&] {
        for (std::uint32_t i = 1; i <= 100; ++i) {
            while (turn->load() != i) futex_wait(*turn, i - 1, Deadline{30s});
            word->store(i);
            futex_wake(*word, 1);
        }
        return 0;
    }};
    for (std::uint32_t i = 1; i <= 100; ++i) {
        turn->store(i);
        futex_wake(*turn, 1);
        while (word->load() != i) futex_wait(*word, i - 1, Deadline{30s});
    }
    CHECK(child.join() == 0);
}

TEST_CASE("a word is the same one in two mappings of it") {
    const auto memory = plait::os::SharedMapping::create(sizeof(Word));
    const auto same =
        plait::os::SharedMapping::open(plait::os::Handle{::fcntl(memory.handle().get(), F_DUPFD_CLOEXEC, 3)});
    auto& here = *reinterpret_cast<Word*>(memory.data());
    auto& there = *reinterpret_cast<Word*>(same.data());
    REQUIRE(&here != &there);
    std::atomic<bool> sleeps{false};
    bool woken = false;
    const auto begin = std::chrono::steady_clock::now();
    std::thread sleeper{[&] {
        sleeps = true;
        woken = sleep_while_zero(there, Deadline{30s});
    }};
    while (!sleeps) std::this_thread::yield();
    here.store(1);
    futex_wake(here, 1);
    sleeper.join();
    CHECK(woken);
    CHECK(std::chrono::steady_clock::now() - begin < 25s);
}

TEST_CASE("a sleeper that was killed is in nobody's way") {
    const SharedVariable<Word> word{0U};
    const SharedVariable<Word> reached{0U};
    const auto sleep = [&] {
        reached->fetch_add(1);
        return sleep_while_zero(*word, Deadline{30s}) ? 0 : 1;
    };
    ForkedChild dead{sleep};
    ForkedChild alive{sleep};
    REQUIRE(within(30s, [&] { return reached->load() == 2; }));
    dead.kill();
    word->store(1);
    futex_wake(*word, 2);
    CHECK(alive.join(25s) == 0);
    futex_wake(*word, SIZE_MAX);  // nobody is there
}
