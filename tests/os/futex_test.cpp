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

/// Sleeps until the word is no longer 0: what woke it may be nothing.
FutexResult sleep_while_zero(const Word& word, Deadline deadline) {
    FutexResult result = FutexResult::changed;
    while (word.load() == 0 && !deadline.has_passed()) result = futex_wait(word, 0, deadline);
    return result;
}

}  // namespace

TEST_CASE("who would sleep on a word that has changed does not") {
    const Word word{1};
    CHECK(futex_wait(word, 0, Deadline::never()) == FutexResult::changed);
}

TEST_CASE("a sleep on a word ends at its deadline, and not before, whatever signals come") {
    const Word word{0};
    const auto begin = std::chrono::steady_clock::now();
    const support::SignalStorm storm;
    CHECK(sleep_while_zero(word, Deadline{20ms}) == FutexResult::timed_out);
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(time >= 20ms);
    CHECK(time < 10s);
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
    FutexResult result = FutexResult::changed;
    std::thread sleeper{[&] { result = sleep_while_zero(there, Deadline{30s}); }};
    here.store(1);
    do futex_wake(here, 1);
    while (there.load() != 1);
    sleeper.join();
    CHECK(result != FutexResult::timed_out);
}

TEST_CASE("a sleeper that was killed is in nobody's way") {
    const SharedVariable<Word> word{0U};
    const SharedVariable<Word> reached{0U};
    const auto sleep = [&] {
        reached->fetch_add(1);
        sleep_while_zero(*word, Deadline{30s});
        return word->load() == 1 ? 0 : 1;
    };
    ForkedChild dead{sleep};
    ForkedChild alive{sleep};
    REQUIRE(within(30s, [&] { return reached->load() == 2; }));
    dead.kill();
    word->store(1);
    futex_wake(*word, 2);
    CHECK(alive.join(10s) == 0);
    futex_wake(*word, SIZE_MAX);  // nobody is there
}
