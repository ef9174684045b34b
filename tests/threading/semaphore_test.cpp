// SPDX-License-Identifier: MIT
#include <plait/threading/semaphore.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using plait::StopSource;
using plait::UsageError;
using plait::threading::BoundedSemaphore;
using plait::threading::Semaphore;
using support::within;

namespace {

/// Threads, each of which runs `work(number)`; joined at the end of the scope.
class Threads {
public:
    template <class Work>
    Threads(int count, Work work) {
        for (int number = 0; number < count; ++number) threads_.emplace_back(work, number);
    }
    ~Threads() { join(); }
    void join() {
        for (auto& thread : threads_)
            if (thread.joinable()) thread.join();
    }

private:
    std::vector<std::thread> threads_;
};

/// Waits until `count` threads sleep on `semaphore`.
template <class S>
bool sleep_on(const S& semaphore, std::size_t count) {
    return within(20s, [&] { return semaphore.waiting() == count; });
}

}  // namespace

TEST_CASE("a semaphore starts with one permit, or with as many as asked for") {
    Semaphore semaphore;
    CHECK(semaphore.value() == 1);
    CHECK(semaphore.try_acquire());
    CHECK(semaphore.value() == 0);
    CHECK_FALSE(semaphore.try_acquire());
    CHECK(Semaphore{7}.value() == 7);
    CHECK(BoundedSemaphore{}.value() == 1);
    CHECK_THROWS_AS(Semaphore{-1}, std::invalid_argument);
    CHECK_THROWS_AS(BoundedSemaphore{-1}, std::invalid_argument);
    CHECK_THROWS_AS(Semaphore{PTRDIFF_MAX}, std::invalid_argument);
}

TEST_CASE("a semaphore without permits makes an acquire wait for a release, by any thread") {
    Semaphore semaphore{0};
    Threads releaser{1, [&](int) {
                         static_cast<void>(sleep_on(semaphore, 1));
                         semaphore.release();
                     }};
    semaphore.acquire();
    CHECK(semaphore.value() == 0);
    CHECK(semaphore.waiting() == 0);
}

TEST_CASE("a release adds what it says, and less than one permit is refused") {
    Semaphore semaphore{0};
    semaphore.release();
    semaphore.release(3);
    CHECK(semaphore.value() == 4);
    CHECK_THROWS_AS(semaphore.release(0), std::invalid_argument);
    CHECK_THROWS_AS(semaphore.release(-1), std::invalid_argument);
    CHECK(semaphore.value() == 4);
}

TEST_CASE("one release of several permits wakes as many, and no more") {
    Semaphore semaphore{0};
    std::atomic<int> got{0};
    Threads waiters{5, [&](int) {
                        semaphore.acquire();
                        ++got;
                    }};
    REQUIRE(sleep_on(semaphore, 5));
    semaphore.release(3);
    CHECK(within(20s, [&] { return got == 3; }));
    CHECK(semaphore.waiting() == 2);
    semaphore.release(3);
    waiters.join();
    CHECK(got == 5);
    CHECK(semaphore.value() == 1);
}

TEST_CASE("seven permits let ten threads through in three phases") {
    Semaphore semaphore{7};
    std::atomic<int> got{0};
    Threads threads{10, [&](int) {
                        for (int i = 0; i < 2; ++i) {
                            semaphore.acquire();
                            ++got;
                        }
                    }};
    CHECK(within(20s, [&] { return got == 7; }));
    CHECK(within(20s, [&] { return semaphore.waiting() != 0; }));
    CHECK(semaphore.value() == 0);
    CHECK(got == 7);
    semaphore.release(7);
    CHECK(within(20s, [&] { return got == 14; }));
    semaphore.release(6);
    threads.join();
    CHECK(got == 20);
    CHECK(semaphore.value() == 0);
}

TEST_CASE("an acquire that times out takes nothing and leaves nothing behind") {
    Semaphore semaphore{0};
    CHECK_FALSE(semaphore.acquire(1ms));
    CHECK_FALSE(semaphore.acquire(0s));
    CHECK_FALSE(semaphore.acquire(-1h));
    CHECK_FALSE(semaphore.try_acquire_for(1ms));
    CHECK_FALSE(semaphore.try_acquire_until(std::chrono::system_clock::now() + 1ms));
    CHECK_FALSE(semaphore.try_acquire_until(std::chrono::steady_clock::time_point::min()));
    CHECK(semaphore.waiting() == 0);
    semaphore.release();
    CHECK(semaphore.value() == 1);
    CHECK(semaphore.acquire(-1h));
    semaphore.release();
    CHECK(semaphore.try_acquire_until(std::chrono::system_clock::time_point::max()));
    CHECK(semaphore.value() == 0);
}

TEST_CASE("a bounded semaphore refuses more permits than at first, and stays as it was") {
    BoundedSemaphore semaphore{3};
    CHECK_THROWS_AS(semaphore.release(), UsageError);
    semaphore.acquire();
    CHECK_THROWS_AS(semaphore.release(2), UsageError);
    CHECK(semaphore.value() == 2);
    CHECK_THROWS_AS(semaphore.release(0), std::invalid_argument);
    CHECK_THROWS_AS(semaphore.release(PTRDIFF_MAX), UsageError);
    semaphore.release();
    CHECK(semaphore.value() == 3);
    CHECK(semaphore.acquire(0s));
    CHECK(semaphore.try_acquire_for(1ms));
    CHECK(semaphore.try_acquire());
    CHECK_FALSE(semaphore.try_acquire_until(std::chrono::steady_clock::now() + 1ms));
    semaphore.release(3);
    CHECK_THROWS_AS(semaphore.release(), UsageError);
    CHECK(semaphore.waiting() == 0);
}

TEST_CASE("a bounded semaphore refuses too many also while threads sleep") {
    BoundedSemaphore semaphore{1};
    semaphore.acquire();
    bool got = false;
    Threads waiter{1, [&](int) {
                       semaphore.acquire();
                       got = true;
                   }};
    REQUIRE(sleep_on(semaphore, 1));
    CHECK_THROWS_AS(semaphore.release(2), UsageError);
    CHECK(semaphore.waiting() == 1);
    semaphore.release();
    waiter.join();
    CHECK(got);
    semaphore.release();
    CHECK(semaphore.value() == 1);
}

TEST_CASE("a number of permits beyond the largest is refused, not wrapped") {
    Semaphore semaphore{Semaphore::max_value - 1};
    CHECK_THROWS_AS(semaphore.release(2), UsageError);
    CHECK_THROWS_AS(semaphore.release(PTRDIFF_MAX), UsageError);
    CHECK(semaphore.value() == Semaphore::max_value - 1);
    semaphore.release();
    CHECK_THROWS_AS(semaphore.release(), UsageError);
    CHECK(semaphore.value() == Semaphore::max_value);
    CHECK(semaphore.try_acquire());
}

TEST_CASE("guards take permits one in the other, and give them back when an exception passes") {
    Semaphore semaphore{2};
    BoundedSemaphore bounded{1};
    try {
        const std::scoped_lock outer{semaphore};
        const std::scoped_lock both{semaphore, bounded};
        CHECK(semaphore.value() == 0);
        CHECK(bounded.value() == 0);
        throw std::runtime_error("broken");
    } catch (const std::runtime_error&) {
        CHECK(semaphore.value() == 2);
        CHECK(bounded.value() == 1);
    }
    std::unique_lock guard{semaphore, std::try_to_lock};
    CHECK(guard.owns_lock());
}

TEST_CASE("permits come to threads in the order in which they began to sleep") {
    Semaphore semaphore{0};
    std::mutex mutex;
    std::vector<int> order;
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number) {
        threads.emplace_back([&, number] {
            semaphore.acquire();
            const std::scoped_lock lock{mutex};
            order.push_back(number);
        });
        REQUIRE(sleep_on(semaphore, static_cast<std::size_t>(number) + 1));
    }
    for (std::size_t count = 1; count <= 4; ++count) {
        semaphore.release();
        CHECK(within(20s, [&] {
            const std::scoped_lock lock{mutex};
            return order.size() == count;
        }));
    }
    for (auto& thread : threads) thread.join();
    CHECK(order == std::vector{0, 1, 2, 3});
}

TEST_CASE("a requested stop ends the acquires that were given its token, and takes no permit") {
    Semaphore semaphore{0};
    BoundedSemaphore bounded{1};
    bounded.acquire();
    StopSource source;
    std::atomic<int> stopped{0};
    Threads stoppable{2, [&](int number) {
                          if (number == 0)
                              stopped += semaphore.acquire(source.get_token()) ? 0 : 1;
                          else
                              stopped += semaphore.acquire(30s, source.get_token()) ? 0 : 1;
                      }};
    Threads on_bounded{1, [&](int) { stopped += bounded.acquire(source.get_token()) ? 0 : 1; }};
    REQUIRE(sleep_on(semaphore, 2));
    REQUIRE(sleep_on(bounded, 1));
    source.request_stop();
    stoppable.join();
    on_bounded.join();
    CHECK(stopped == 3);
    CHECK(semaphore.waiting() == 0);
    CHECK_FALSE(semaphore.acquire(source.get_token()));
    semaphore.release();
    CHECK(semaphore.acquire(30s, source.get_token()));
    CHECK_FALSE(bounded.acquire(30s, source.get_token()));
}

TEST_CASE("a thread that is overtaken again and again gets its permit") {
    Semaphore semaphore;
    std::atomic<bool> stop{false};
    Threads greedy{1, [&](int) {
                       while (!stop) {
                           const std::scoped_lock guard{semaphore};
                           for (int i = 0; i < 100; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
                       }
                   }};
    for (int i = 0; i < 200; ++i) {
        semaphore.acquire();
        semaphore.release();
    }
    stop = true;
    greedy.join();
    CHECK(semaphore.value() == 1);
}

TEST_CASE("after somebody was woken and robbed, the next permit is handed over") {
    namespace parking = plait::detail::parking;
    Semaphore semaphore{0};
    // What the next release tells a sleeper.
    const auto told = [&] {
        parking::Result result{};
        Threads sleeper{
            1, [&](int) { result = parking::sleep(&semaphore, plait::detail::Deadline{30s}, [] { return true; }); }};
        static_cast<void>(sleep_on(semaphore, 1));
        semaphore.release();
        sleeper.join();
        return result;
    };
    StopSource source;
    Threads robbed{1, [&](int) { static_cast<void>(semaphore.acquire(source.get_token())); }};
    REQUIRE(sleep_on(semaphore, 1));
    // Wakes it as a release does whose permit somebody else takes at once.
    CHECK(parking::wake(&semaphore, 1) == 1);
    REQUIRE(sleep_on(semaphore, 1));
    source.request_stop();
    robbed.join();
    CHECK(told() == parking::Result::handed_over);
    CHECK(semaphore.value() == 0);

    // Nobody is impatient any more. This thread finds no permit, so that the release looks for sleepers.
    CHECK_FALSE(semaphore.acquire(1ns));
    CHECK(told() == parking::Result::woken);
    CHECK(semaphore.value() == 1);
}

TEST_CASE("a release of more permits than are handed over leaves the rest to everybody") {
    namespace parking = plait::detail::parking;
    Semaphore semaphore{0};
    Threads waiters{2, [&](int) { semaphore.acquire(); }};
    REQUIRE(sleep_on(semaphore, 2));
    CHECK(parking::wake(&semaphore, 1) == 1);
    REQUIRE(sleep_on(semaphore, 2));
    semaphore.release(3);
    CHECK(semaphore.value() == 1);
    waiters.join();
    CHECK(semaphore.value() == 1);
}

TEST_CASE("permits are neither lost nor made when releases meet acquires that time out") {
    Semaphore semaphore{0};
    constexpr int rounds = 3'000;
    std::atomic<int> got{0};
    std::atomic<bool> stop{false};
    Threads waiters{3, [&](int number) {
                        StopSource source;
                        while (!stop)
                            if (number == 2 ? semaphore.acquire(30us, source.get_token()) : semaphore.acquire(20us))
                                ++got;
                    }};
    int released = 0;
    for (int round = 0; round < rounds; ++round) {
        const int permits = round % 3 + 1;
        semaphore.release(permits);
        released += permits;
        // Some rounds wait until all have been taken, so that the next finds sleepers.
        if (round % 4 != 0) CHECK(within(20s, [&] { return got == released; }));
    }
    CHECK(within(20s, [&] { return got == released; }));
    stop = true;
    waiters.join();
    CHECK(semaphore.value() == 0);
    CHECK(semaphore.waiting() == 0);
}

TEST_CASE("no more threads than permits hold one at a time") {
    BoundedSemaphore semaphore{2};
    std::atomic<int> holders{0};
    std::atomic<int> too_many{0};
    Threads threads{4, [&](int number) {
                        unsigned state = static_cast<unsigned>(number + 1) * 2654435761U;
                        for (int i = 0; i < 2'000; ++i) {
                            state = state * 1664525U + 1013904223U;
                            if (state >> 31 != 0)
                                semaphore.acquire();
                            else if (!semaphore.acquire(std::chrono::microseconds{state >> 26 & 15U}))
                                continue;
                            if (++holders > 2) ++too_many;
                            if (state % 64 == 0) std::this_thread::yield();
                            --holders;
                            semaphore.release();
                        }
                    }};
    threads.join();
    CHECK(too_many == 0);
    CHECK(semaphore.value() == 2);
    CHECK(semaphore.waiting() == 0);
}

TEST_CASE("what was written before a release is seen after the acquire of its permit") {
    Semaphore semaphore{0};
    int value = 0;
    Threads writer{1, [&](int) {
                       value = 42;
                       semaphore.release();
                   }};
    semaphore.acquire();
    CHECK(value == 42);
}

TEST_CASE("a thread that got a permit may destroy the semaphore while release is still returning") {
    for (int round = 0; round < 2'000; ++round) {
        auto semaphore = std::make_unique<Semaphore>(0);
        Threads releaser{1, [&semaphore = *semaphore](int) { semaphore.release(); }};
        if (round % 2 == 0)
            static_cast<void>(semaphore->acquire(1us) || (semaphore->acquire(), true));
        else
            semaphore->acquire();
        semaphore.reset();
    }
    SUCCEED();
}

TEST_CASE("semaphores are ready before main and need no destruction") {
    static constinit Semaphore semaphore{2};
    static constinit BoundedSemaphore bounded;
    CHECK(semaphore.value() == 2);
    CHECK(bounded.value() == 1);
    STATIC_REQUIRE(std::is_trivially_destructible_v<Semaphore>);
    STATIC_REQUIRE(std::is_trivially_destructible_v<BoundedSemaphore>);
    STATIC_REQUIRE(sizeof(Semaphore) == sizeof(void*));
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Semaphore>);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<BoundedSemaphore>);
}
