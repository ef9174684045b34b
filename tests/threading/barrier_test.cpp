// SPDX-License-Identifier: MIT
#include <plait/threading/barrier.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::BrokenBarrierError;
using plait::StopSource;
using plait::UsageError;
using plait::threading::Barrier;
using support::within;

namespace {

/// Threads that each call `wait()` once; `join` tells what they got.
class Waiters {
public:
    struct Outcome {
        std::vector<std::size_t> passed;  // what `wait` returned, sorted
        int broken = 0;
        int other = 0;  // what is no BrokenBarrierError
    };

    template <class Wait>
    Waiters(int count, Wait wait) {
        add(count, wait);
    }
    ~Waiters() { static_cast<void>(join()); }

    template <class Wait>
    void add(int count, Wait wait) {
        for (int i = 0; i < count; ++i)
            threads_.emplace_back([this, wait] {
                try {
                    const std::size_t index = wait();
                    const std::scoped_lock lock{mutex_};
                    outcome_.passed.push_back(index);
                } catch (const BrokenBarrierError&) {
                    const std::scoped_lock lock{mutex_};
                    ++outcome_.broken;
                } catch (...) {
                    const std::scoped_lock lock{mutex_};
                    ++outcome_.other;
                }
                ++returned_;
            });
    }
    [[nodiscard]] int returned() const { return returned_; }
    [[nodiscard]] Outcome join() {
        for (auto& thread : threads_)
            if (thread.joinable()) thread.join();
        std::sort(outcome_.passed.begin(), outcome_.passed.end());
        return outcome_;
    }

private:
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    Outcome outcome_;
    std::atomic<int> returned_{0};
};

/// `count` threads that wait at `barrier`, which all have arrived.
std::unique_ptr<Waiters> arrived(Barrier& barrier, int count) {
    auto waiters = std::make_unique<Waiters>(count, [&] { return barrier.wait(); });
    static_cast<void>(within(20s, [&] { return barrier.n_waiting() == static_cast<std::size_t>(count); }));
    return waiters;
}

/// Whether all of a round pass now.
bool passes(Barrier& barrier) {
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < barrier.parties(); ++i) all.push_back(i);
    Waiters waiters{static_cast<int>(barrier.parties()), [&] { return barrier.wait(); }};
    return waiters.join().passed == all && barrier.n_waiting() == 0 && !barrier.broken();
}

}  // namespace

TEST_CASE("a barrier for fewer than one thread is refused, one for one thread lets it pass") {
    CHECK_THROWS_AS(Barrier(0), std::invalid_argument);
    CHECK_THROWS_AS(Barrier(-1), std::invalid_argument);
    CHECK_THROWS_AS(Barrier(Barrier::max_parties + 1), std::invalid_argument);
    CHECK_THROWS_AS(Barrier(0, [] {}), std::invalid_argument);
    Barrier barrier{1};
    for (int i = 0; i < 3; ++i) CHECK(barrier.wait(0s) == 0);
    CHECK(barrier.parties() == 1);
    CHECK(barrier.n_waiting() == 0);
}

TEST_CASE("threads pass when the last has arrived, each with a number of its own") {
    Barrier barrier{4};
    const auto waiters = arrived(barrier, 3);
    CHECK(waiters->returned() == 0);
    CHECK(barrier.n_waiting() == 3);
    CHECK(within(20s, [&] { return barrier.waiting() == 3; }));
    CHECK_FALSE(barrier.broken());
    CHECK(barrier.wait() == 3);
    CHECK(waiters->join().passed == std::vector<std::size_t>{0, 1, 2});
    CHECK(barrier.n_waiting() == 0);
    CHECK(barrier.waiting() == 0);
    CHECK(barrier.parties() == 4);
}

TEST_CASE("five threads go through rounds in step") {
    constexpr int threads = 5;
    constexpr int rounds = 200;
    Barrier barrier{threads};
    std::atomic<int> arrivals{0};
    std::atomic<int> out_of_step{0};
    std::atomic<int> indices{0};
    Waiters waiters{threads, [&] {
                        for (int round = 1; round <= rounds; ++round) {
                            ++arrivals;
                            indices += static_cast<int>(barrier.wait());
                            if (arrivals < round * threads) ++out_of_step;
                            barrier.wait();
                            if (arrivals != round * threads) ++out_of_step;
                            barrier.wait();
                        }
                        return std::size_t{0};
                    }};
    static_cast<void>(waiters.join());
    CHECK(out_of_step == 0);
    CHECK(indices == rounds * (0 + 1 + 2 + 3 + 4));
    CHECK(barrier.n_waiting() == 0);
}

TEST_CASE("a thousand rounds with delays let nobody through early") {
    constexpr int threads = 8;
    constexpr int rounds = 1'000;
    std::atomic<int> done{0};
    std::atomic<int> early{0};
    int expected = 0;
    Barrier barrier{threads, [&] {
                        expected += threads;
                        if (done != expected) ++early;
                    }};
    std::atomic<unsigned> seed{1};
    Waiters waiters{threads, [&] {
                        unsigned state = seed++ * 2654435761U;
                        for (int round = 0; round < rounds; ++round) {
                            state = state * 1664525U + 1013904223U;
                            if (state >> 30 == 0) std::this_thread::yield();
                            ++done;
                            barrier.wait();
                        }
                        return std::size_t{0};
                    }};
    CHECK(waiters.join().passed.size() == threads);
    CHECK(early == 0);
    CHECK(expected == threads * rounds);
}

TEST_CASE("the action runs once a round, in one of the threads, before any is let go") {
    int calls = 0;
    std::thread::id caller;
    std::mutex mutex;
    std::vector<std::thread::id> ids;
    std::atomic<int> too_early{0};
    Barrier barrier{3, [&] {
                        ++calls;
                        caller = std::this_thread::get_id();
                    }};
    for (int round = 1; round <= 10; ++round) {
        ids.clear();
        Waiters waiters{3, [&] {
                            const std::size_t index = barrier.wait();
                            if (calls != round) ++too_early;
                            const std::scoped_lock lock{mutex};
                            ids.push_back(std::this_thread::get_id());
                            return index;
                        }};
        CHECK(waiters.join().passed == std::vector<std::size_t>{0, 1, 2});
        CHECK(calls == round);
        CHECK(std::count(ids.begin(), ids.end(), caller) == 1);
    }
    CHECK(too_early == 0);
}

TEST_CASE("an action that throws breaks the barrier: its thread gets the exception, the others BrokenBarrierError") {
    bool fails = true;
    Barrier barrier{3, [&] {
                        if (fails) throw std::domain_error("no action");
                    }};
    const auto waiters = arrived(barrier, 2);
    CHECK_THROWS_AS(barrier.wait(), std::domain_error);
    CHECK(barrier.broken());
    CHECK(waiters->join().broken == 2);
    CHECK_THROWS_AS(barrier.wait(), BrokenBarrierError);
    CHECK(barrier.n_waiting() == 0);
    fails = false;
    barrier.reset();
    CHECK(passes(barrier));
}

TEST_CASE("an action may own what cannot be copied") {
    auto count = std::make_unique<int>(0);
    int& value = *count;
    Barrier barrier{1, [count = std::move(count)] { ++*count; }, 5s};
    barrier.wait();
    CHECK(value == 1);
}

TEST_CASE("a wait in the barrier's own action is a usage error that breaks it") {
    Barrier* self = nullptr;
    Barrier barrier{2, [&] { self->wait(); }};
    self = &barrier;
    const auto waiters = arrived(barrier, 1);
    CHECK_THROWS_AS(barrier.wait(), UsageError);
    CHECK(waiters->join().broken == 1);
    CHECK(barrier.broken());
}

TEST_CASE("abort breaks it for who waits and who comes, until reset") {
    Barrier barrier{3};
    const auto waiters = arrived(barrier, 2);
    CHECK(within(20s, [&] { return barrier.waiting() == 2; }));
    barrier.abort();
    CHECK(barrier.broken());
    CHECK(barrier.n_waiting() == 0);
    CHECK(waiters->join().broken == 2);
    CHECK_THROWS_AS(barrier.wait(), BrokenBarrierError);
    CHECK_THROWS_AS(barrier.wait(0s), BrokenBarrierError);
    barrier.abort();
    CHECK(barrier.broken());
    barrier.reset();
    CHECK_FALSE(barrier.broken());
    CHECK(passes(barrier));
    barrier.abort();
    barrier.reset();
    CHECK(passes(barrier));
}

TEST_CASE("reset breaks the round of who waits, and leaves the barrier whole") {
    Barrier barrier{3};
    for (int round = 0; round < 20; ++round) {
        const auto waiters = arrived(barrier, 2);
        if (round % 2 == 0) CHECK(within(20s, [&] { return barrier.waiting() == 2; }));
        barrier.reset();
        CHECK_FALSE(barrier.broken());
        CHECK(waiters->join().broken == 2);
        CHECK_FALSE(barrier.broken());
        CHECK(passes(barrier));
    }
}

TEST_CASE("reset of a barrier at which nobody waits changes nothing") {
    Barrier barrier{2};
    barrier.reset();
    CHECK(passes(barrier));
    barrier.reset();
    CHECK(passes(barrier));
}

TEST_CASE("one whose time is over breaks it for all") {
    Barrier barrier{3};
    const auto waiters = arrived(barrier, 1);
    CHECK_THROWS_AS(barrier.wait(1ms), BrokenBarrierError);
    CHECK(barrier.broken());
    CHECK(waiters->join().broken == 1);
    barrier.reset();
    CHECK_THROWS_AS(barrier.wait(0s), BrokenBarrierError);
    CHECK_THROWS_AS(barrier.wait(), BrokenBarrierError);
    barrier.reset();
    CHECK(passes(barrier));
}

TEST_CASE("the barrier's own timeout is for waits that are given none") {
    Barrier barrier{2, 1ms};
    CHECK_THROWS_AS(barrier.wait(), BrokenBarrierError);
    CHECK(barrier.broken());
    barrier.reset();
    Waiters patient{1, [&] { return barrier.wait(30s); }};
    CHECK(within(20s, [&] { return barrier.waiting() == 1; }));
    CHECK_FALSE(within(20ms, [&] { return barrier.broken(); }));
    CHECK(barrier.wait() == 1);
    CHECK(patient.join().passed == std::vector<std::size_t>{0});

    int calls = 0;
    Barrier with_action{2, [&] { ++calls; }, 1ms};
    CHECK_THROWS_AS(with_action.wait(), BrokenBarrierError);
    CHECK(calls == 0);
}

TEST_CASE("a requested stop breaks it for all") {
    Barrier barrier{4};
    StopSource source;
    Waiters waiters{1, [&] { return barrier.wait(source.get_token()); }};
    waiters.add(1, [&] { return barrier.wait(30s, source.get_token()); });
    waiters.add(1, [&] { return barrier.wait(); });
    CHECK(within(20s, [&] { return barrier.waiting() == 3; }));
    source.request_stop();
    CHECK(waiters.join().broken == 3);
    CHECK(barrier.broken());
    barrier.reset();
    CHECK_THROWS_AS(barrier.wait(source.get_token()), BrokenBarrierError);
    CHECK(barrier.broken());
    // The last to arrive has nothing to wait for.
    Barrier alone{1};
    CHECK(alone.wait(source.get_token()) == 0);
}

TEST_CASE("of five threads at a barrier for three, three pass, and two wait for the next") {
    Barrier barrier{3};
    Waiters waiters{5, [&] { return barrier.wait(); }};
    CHECK(within(20s, [&] { return waiters.returned() == 3 && barrier.n_waiting() == 2; }));
    CHECK(barrier.wait() == 2);
    CHECK(waiters.join().passed == std::vector<std::size_t>{0, 0, 1, 1, 2});
}

namespace {

/// A barrier of two whose action runs until it is told to go on; one thread has arrived by `stop_token()`, the other runs
/// the action.
class LongAction {
public:
    LongAction()
        : waiters_{1, [this] { return barrier.wait(source_.get_token()); }},
          first_came_{within(20s, [this] { return barrier.n_waiting() == 1; })},
          runner_{1, [this] { return barrier.wait(); }},
          runs_{within(20s, [this] { return running_ == 1; })} {}
    ~LongAction() { go_on(); }

    [[nodiscard]] bool runs() const { return first_came_ && runs_; }
    void go_on() { may_end_ = true; }
    void request_stop() { source_.request_stop(); }

private:
    std::atomic<int> running_{0};
    std::atomic<bool> may_end_{false};
    StopSource source_;

public:
    Barrier barrier{2, [this] {
                        ++running_;
                        while (!may_end_) std::this_thread::yield();
                    }};

private:
    Waiters waiters_;
    const bool first_came_;
    Waiters runner_;
    const bool runs_;

public:
    Waiters& waiting = waiters_;
    Waiters& running = runner_;
};

}  // namespace

TEST_CASE("while the action runs a stop is too late, and who comes waits for the next round") {
    LongAction round;
    REQUIRE(round.runs());
    CHECK(round.barrier.n_waiting() == 2);
    round.request_stop();
    Waiters next{2, [&] { return round.barrier.wait(); }};
    CHECK(within(20s, [&] { return round.barrier.waiting() == 3; }));
    CHECK_FALSE(round.barrier.broken());
    CHECK(round.waiting.returned() + round.running.returned() + next.returned() == 0);
    round.go_on();
    CHECK(round.waiting.join().passed == std::vector<std::size_t>{0});
    CHECK(round.running.join().passed == std::vector<std::size_t>{1});
    CHECK(next.join().passed == std::vector<std::size_t>{0, 1});
}

TEST_CASE("an abort while the action runs breaks the round for all, also for who runs it") {
    LongAction round;
    REQUIRE(round.runs());
    round.barrier.abort();
    CHECK(round.waiting.join().broken == 1);
    CHECK(round.running.returned() == 0);
    CHECK_THROWS_AS(round.barrier.wait(), BrokenBarrierError);
    round.go_on();
    CHECK(round.running.join().broken == 1);
    CHECK(round.barrier.broken());
    round.barrier.reset();
    CHECK(passes(round.barrier));
}

TEST_CASE("a reset while the action runs breaks the round for all, and the next begins after it") {
    LongAction round;
    REQUIRE(round.runs());
    round.barrier.reset();
    CHECK(round.waiting.join().broken == 1);
    CHECK_FALSE(round.barrier.broken());
    CHECK(round.barrier.n_waiting() == 0);
    Waiters next{2, [&] { return round.barrier.wait(); }};
    CHECK(within(20s, [&] { return round.barrier.waiting() == 2; }));
    round.barrier.reset();
    CHECK(round.running.returned() + next.returned() == 0);
    round.go_on();
    CHECK(round.running.join().broken == 1);
    CHECK(next.join().passed == std::vector<std::size_t>{0, 1});
}

TEST_CASE("an abort after a reset that threads have yet to see stays, for who waits for the next round too") {
    LongAction round;
    REQUIRE(round.runs());
    round.barrier.reset();
    Waiters next{1, [&] { return round.barrier.wait(); }};
    CHECK(within(20s, [&] { return round.barrier.waiting() == 1; }));
    round.barrier.abort();
    CHECK(next.join().broken == 1);
    round.go_on();
    CHECK(round.running.join().broken == 1);
    CHECK(round.barrier.broken());
}

TEST_CASE("a reset that meets the last arrival lets all pass, or breaks it for all who had come") {
    for (int round = 0; round < 400; ++round) {
        int calls = 0;
        Barrier with_action{3, [&] { ++calls; }};
        Barrier plain{3};
        Barrier& barrier = round % 2 == 0 ? plain : with_action;
        Waiters waiters{3, [&] { return barrier.wait(); }};
        for (int i = round % 7; i > 0; --i) std::this_thread::yield();
        barrier.reset();
        CHECK(within(20s, [&] { return waiters.returned() + static_cast<int>(barrier.n_waiting()) == 3; }));
        barrier.abort();
        const auto outcome = waiters.join();
        const bool passed = outcome.broken == 0;
        CHECK(outcome.passed == (passed ? std::vector<std::size_t>{0, 1, 2} : std::vector<std::size_t>{}));
        CHECK(outcome.broken == (passed ? 0 : 3));
    }
}

TEST_CASE("whatever resets and timeouts come between, a round passes for all of its threads or for none") {
    int calls = 0;
    Barrier plain{3};
    Barrier with_action{3, [&] { ++calls; }};
    for (Barrier* const barrier : {&plain, &with_action}) {
        std::atomic<int> passed[3]{};
        std::atomic<bool> stop{false};
        Waiters waiters{3, [&] {
                            for (unsigned i = 0; !stop; ++i) {
                                try {
                                    ++passed[i % 64 == 63 ? barrier->wait(5us) : barrier->wait()];
                                } catch (const BrokenBarrierError&) {
                                    if (barrier->broken() && !stop) barrier->reset();
                                }
                            }
                            return std::size_t{0};
                        }};
        for (int round = 0; round < 2'000; ++round) {
            std::this_thread::yield();
            barrier->reset();
            const int before = passed[0];
            if (round % 10 == 0 && !within(20s, [&] { return passed[0] != before; })) break;
        }
        stop = true;
        CHECK(within(20s, [&] {
            barrier->abort();
            return waiters.returned() == 3;
        }));
        CHECK(waiters.join().other == 0);
        CHECK(passed[0] >= 200);
        CHECK(passed[0] == passed[1]);
        CHECK(passed[1] == passed[2]);
    }
    CHECK(calls >= 200);
}

TEST_CASE("what each thread wrote before a round is seen by all after it") {
    constexpr int threads = 3;
    Barrier barrier{threads};
    int written[threads] = {};
    int sum = 0;
    std::atomic<int> wrong{0};
    Barrier adding{threads, [&] { sum = written[0] + written[1] + written[2]; }};
    std::atomic<int> numbers{0};
    Waiters waiters{threads, [&] {
                        const int own = numbers++;
                        for (int round = 1; round <= 500; ++round) {
                            written[own] = round;
                            barrier.wait();
                            for (const int each : written) wrong += each == round ? 0 : 1;
                            adding.wait();
                            wrong += sum == threads * round ? 0 : 1;
                        }
                        return std::size_t{0};
                    }};
    CHECK(waiters.join().passed.size() == threads);
    CHECK(wrong == 0);
}

TEST_CASE("a barrier without an action is ready before main") {
    static constinit Barrier barrier{1};
    CHECK(barrier.wait() == 0);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Barrier>);
}
