// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/value.hpp>

#include "support/catch.hpp"
#include "support/disturbance.hpp"
#include "support/misbehaviour.hpp"

#include <plait/multiprocessing/process.hpp>

#include <signal.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

using namespace std::chrono_literals;
using plait::OwnerDiedError;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::RLock;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::Value;

namespace {

struct Point {
    int x = 1;
    double y = 2;
};

void count(Value<long> counter, int times) {
    for (int i = 0; i < times; ++i) {
        const std::scoped_lock guard{counter.get_lock()};
        *counter += 1;
    }
}
void count_by_the_lock_alone(Value<long> counter, RLock lock, int times) {
    for (int i = 0; i < times; ++i) {
        const std::scoped_lock guard{lock};
        *counter += 1;
    }
}
void move_point(Value<Point> point) { point->x = 7; }
void count_atomically(Value<std::atomic<long>> counter, int times) {
    for (int i = 0; i < times; ++i) ++*counter;
}

template <class... Args>
long sum_of_two(void (*target)(Value<long>, Args...), Value<long> counter, Args... args) {
    Process one(target, counter, args...);
    Process other(target, counter, args...);
    one.start();
    other.start();
    one.join();
    other.join();
    return *counter;
}

}  // namespace

TEST_CASE("a value begins as it is made, and its copies are the same") {
    const Value<long> number(5);
    CHECK(*number == 5);
    const Value<long> copy = number;
    *copy += 2;
    CHECK(number.value() == 7);
    CHECK(copy == number);
    CHECK_FALSE(copy == Value<long>(7));
    CHECK(*Value<int>() == 0);
    CHECK(Value<Point>()->y == 2);
    CHECK(*Value(2.5) == 2.5);
    CHECK((Value<Point>(Point{3, 4})->x) == 3);
}

TEST_CASE("two processes that take a value's lock lose no count") {
    CHECK(sum_of_two<int>(count, Value<long>(0), 5'000) == 10'000);
}

TEST_CASE("a value's lock may travel without it, and is the same") {
    const Value<long> counter(0);
    CHECK(sum_of_two<RLock, int>(count_by_the_lock_alone, counter, counter.get_lock(), 1'000) == 2'000);
    CHECK(counter.get_lock() == Value<long>(counter).get_lock());
}

TEST_CASE("a value goes to a process by every start method") {
    const auto method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const Value<Point> point;
    Process child(ProcessOptions{.start_method = method}, move_point, point);
    child.start();
    child.join();
    CHECK(point->x == 7);
    CHECK(point->y == 2);
}

TEST_CASE("an atomic value needs no lock") {
    const Value<std::atomic<long>> counter(0);
    Process one(count_atomically, counter, 10'000);
    Process other(count_atomically, counter, 10'000);
    one.start();
    other.start();
    one.join();
    other.join();
    CHECK(counter->load() == 20'000);
}

TEST_CASE("a value whose lock's owner was killed says so until it is repaired") {
    const Value<long> number(1);
    const int code = support::in_a_child([&] {
        number.get_lock().acquire();
        *number = 2;
        return support::die_by(SIGKILL);
    });
    CHECK(code == -SIGKILL);
    CHECK_THROWS_AS(number.get_lock().acquire(1s), OwnerDiedError);
    number.get_lock().recover();
    CHECK(*number == 2);
    number.get_lock().release();
    CHECK(number.get_lock().try_acquire());
    number.get_lock().release();
}

TEST_CASE("the lock keeps the value's memory, when it is all that is left") {
    const RLock lock = Value<std::vector<long>::difference_type>(1).get_lock();
    CHECK(lock.acquire(1s));
    lock.release();
}
