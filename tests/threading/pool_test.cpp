// SPDX-License-Identifier: MIT
#include <plait/threading/pool.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <list>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::threading;
using plait::Future;
using plait::PoolTerminatedError;
using plait::StopToken;
using plait::UsageError;
using support::within;

namespace {

int square(int x) { return x * x; }

int fibonacci(ThreadPool& pool, int n) {
    if (n < 2) return n;
    const Future<int> other = pool.apply_async([&pool, n] { return fibonacci(pool, n - 1); });
    const int own = fibonacci(pool, n - 2);
    return own + other.get();
}

/// A call that keeps a worker busy until `go_on` is set; the constructor returns when it runs.
class Busy {
public:
    explicit Busy(ThreadPool& pool) : done_{pool.apply_async([this] { occupy(); })} { begun_.wait(); }
    ~Busy() {
        go_on_.set();
        done_.wait();
    }
    void go_on() { go_on_.set(); }

private:
    void occupy() {
        begun_.set();
        go_on_.wait();
    }
    Event begun_;
    Event go_on_;
    Future<void> done_;
};

struct NoDefault {
    explicit NoDefault(int x) : value{x} {}
    int value;
};

}  // namespace

TEST_CASE("a pool calls what it is given and returns the result, or the exception") {
    ThreadPool pool(2);
    CHECK(pool.size() == 2);
    CHECK(pool.apply(square, 7) == 49);
    const Future<int> result = pool.apply_async(square, 8);
    CHECK(result.get(30s) == 64);
    CHECK(pool.submit([] { return std::string("text"); }).get() == "text");
    CHECK_THROWS_AS(pool.apply([] { throw std::runtime_error("broken"); }), std::runtime_error);
    const Future<int> failed = pool.apply_async([]() -> int { throw 42; });
    CHECK_THROWS_AS(failed.get(), int);
    CHECK(*pool.apply([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(7)) == 7);
    int place = 0;
    pool.apply([&]() -> int& { return place; }) = 3;
    CHECK(place == 3);
}

TEST_CASE("a pool has at least one thread, and as many as processors if not told") {
    CHECK_THROWS_AS(ThreadPool(0), std::invalid_argument);
    CHECK_THROWS_AS(ThreadPool(-1), std::invalid_argument);
    CHECK(ThreadPool().size() == plait::os::usable_processors());
}

TEST_CASE("threads of a pool have its name, and sleep when there is nothing to do") {
    ThreadPool pool(2);
    CHECK(pool.apply([] { return current_thread().name(); }).substr(0, 11) == "plait-pool-");
    CHECK(within(20s, [&] { return pool.waiting() == 2; }));
    {
        const Busy busy(pool);
        CHECK(within(20s, [&] { return pool.waiting() == 1; }));
    }
    CHECK(within(20s, [&] { return pool.waiting() == 2; }));
}

TEST_CASE("one thread runs what comes from outside in its order") {
    ThreadPool pool(1);
    std::vector<int> order;
    for (int i = 0; i < 1000; ++i) static_cast<void>(pool.apply_async([&order, i] { order.push_back(i); }));
    pool.close();
    pool.join();
    std::vector<int> expected(1000);
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(order == expected);
}

TEST_CASE("map gives the results in the items' order, whatever the range and the chunks") {
    ThreadPool pool(3);
    std::vector<int> numbers(1000);
    std::iota(numbers.begin(), numbers.end(), 0);
    for (const std::size_t chunk : {0U, 1U, 7U, 1000U, 1001U}) {
        const std::vector<int> squares = pool.map(square, numbers, chunk);
        REQUIRE(squares.size() == 1000);
        CHECK(squares[999] == 999 * 999);
        CHECK(squares[500] == 500 * 500);
    }
    CHECK(pool.map(square, std::list<int>{1, 2, 3}) == std::vector{1, 4, 9});
    CHECK(pool.map(square, std::forward_list<int>{1, 2, 3}) == std::vector{1, 4, 9});
    int array[] = {1, 2, 3};
    CHECK(pool.map(square, array) == std::vector{1, 4, 9});
    std::istringstream text{"1 2 3"};
    struct Words {
        std::istringstream& stream;
        [[nodiscard]] auto begin() const { return std::istream_iterator<int>{stream}; }
        [[nodiscard]] static auto end() { return std::istream_iterator<int>{}; }
    };
    CHECK(pool.map(square, Words{text}) == std::vector{1, 4, 9});
    CHECK(pool.map(&NoDefault::value, std::vector{NoDefault(5)}) == std::vector{5});
}

TEST_CASE("map takes results of any type: without a default, bools, strings, none") {
    ThreadPool pool(3);
    std::vector<int> numbers(5000);
    std::iota(numbers.begin(), numbers.end(), 0);
    const auto held = pool.map([](int x) { return NoDefault(x); }, numbers);
    CHECK(held[4999].value == 4999);
    const std::vector<bool> even = pool.map([](int x) { return x % 2 == 0; }, numbers, 1);
    int wrong = 0;
    for (std::size_t i = 0; i < even.size(); ++i) wrong += even[i] == (i % 2 == 0) ? 0 : 1;
    CHECK(wrong == 0);
    CHECK(pool.map([](int x) { return std::to_string(x); }, numbers)[12] == "12");
    CHECK(pool.map([](bool x) { return !x; }, even)[0] == false);
    STATIC_REQUIRE(std::is_void_v<decltype(pool.map([](int) {}, numbers))>);
    pool.map([](int& x) { ++x; }, numbers);
    CHECK(numbers[4999] == 5000);
    std::list<int> list{1, 2};
    pool.map([](int& x) { ++x; }, list);
    CHECK(list == std::list<int>{2, 3});
}

TEST_CASE("nothing to map gives nothing at once, with any chunks") {
    ThreadPool pool(1);
    const Busy busy(pool);
    CHECK(pool.map(square, std::vector<int>{}).empty());
    CHECK(pool.map(square, std::vector<int>{}, 7).empty());
    CHECK(pool.map_async(square, std::vector<int>{}).get(1s).empty());
    pool.map([](int) {}, std::list<int>{});
    pool.parallel_for(5, 5, [](int) {});
    pool.parallel_for(5, 1, [](int) {});
}

TEST_CASE("all items are run, then the error of the first that failed is thrown") {
    ThreadPool pool(3);
    std::vector<int> numbers(300);
    std::iota(numbers.begin(), numbers.end(), 0);
    std::atomic<int> runs{0};
    std::string text;
    try {
        pool.map(
            [&](int x) {
                ++runs;
                if (x % 100 == 50) throw std::runtime_error("item " + std::to_string(x));
                return x;
            },
            numbers);
    } catch (const std::runtime_error& error) {
        text = error.what();
    }
    CHECK(text == "item 50");
    CHECK(runs == 300);
    CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("a range that throws while it is read calls nothing, and the pool goes on") {
    struct Faulty {
        struct iterator {
            using value_type = int;
            using difference_type = std::ptrdiff_t;
            int operator*() const {
                if (at == 2) throw std::runtime_error("item 2");
                return at;
            }
            iterator& operator++() {
                ++at;
                return *this;
            }
            void operator++(int) { ++at; }
            bool operator==(const iterator& other) const { return at == other.at; }
            int at = 0;
        };
        [[nodiscard]] static iterator begin() { return {0}; }
        [[nodiscard]] static iterator end() { return {5}; }
    };
    ThreadPool pool(2);
    std::atomic<int> runs{0};
    CHECK_THROWS_AS(pool.map([&](int) { ++runs; }, Faulty{}), std::runtime_error);
    CHECK(runs == 0);
    CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("starmap spreads tuples, and the asynchronous maps keep copies of the items") {
    ThreadPool pool(2);
    const auto multiply = [](int a, int b) { return a * b; };
    CHECK(pool.starmap(multiply, std::vector<std::pair<int, int>>{{2, 3}, {4, 5}}) == std::vector{6, 20});
    CHECK(pool.starmap_async(multiply, std::vector<std::tuple<int, int>>{{2, 3}}).get() == std::vector{6});
    std::optional<Future<std::vector<std::string>>> later;
    {
        const Busy first(pool);
        const Busy second(pool);
        const std::vector<std::string> words{"a", "b"};
        later = pool.map_async([](const std::string& word) { return word + "!"; }, words);
    }
    CHECK(later->get(30s) == std::vector<std::string>{"a!", "b!"});
}

TEST_CASE("parallel_for calls each index once, and throws the first error") {
    ThreadPool pool(3);
    std::vector<int> calls(10'000);
    pool.parallel_for(std::size_t{0}, calls.size(), [&](std::size_t i) { ++calls[i]; });
    CHECK(calls == std::vector(10'000, 1));
    std::atomic<int> sum{0};
    pool.parallel_for(-3, 4, [&](int i) { sum += i; });
    CHECK(sum == 0);
    const auto fail = [](int i) {
        if (i >= 3) throw i;
    };
    CHECK_THROWS_AS(pool.parallel_for(0, 10, fail), int);
}

TEST_CASE("close lets everything run that was submitted, and takes nothing more") {
    ThreadPool pool(2);
    std::atomic<int> runs{0};
    for (int i = 0; i < 1000; ++i) static_cast<void>(pool.apply_async([&] { ++runs; }));
    CHECK_THROWS_AS(pool.join(), UsageError);
    pool.close();
    pool.close();
    CHECK_THROWS_AS(pool.apply(square, 1), UsageError);
    CHECK_THROWS_AS(pool.map(square, std::vector{1}), UsageError);
    CHECK_THROWS_AS(pool.map(square, std::vector<int>{}), UsageError);
    pool.join();
    pool.join();
    CHECK(runs == 1000);
}

TEST_CASE("a call may submit, but not to its pool that was closed, nor join it") {
    ThreadPool pool(1);
    CHECK(pool.apply([&] { return pool.apply(square, 3); }) == 9);
    Event closed;
    const Future<bool> refused = pool.apply_async([&] {
        closed.wait();
        try {
            static_cast<void>(pool.apply_async(square, 1));
            return false;
        } catch (const UsageError&) {
            return true;
        }
    });
    const Future<bool> joined = pool.apply_async([&] {
        try {
            pool.join();
            return false;
        } catch (const UsageError&) {
            return true;
        }
    });
    pool.close();
    closed.set();
    CHECK(refused.get(30s));
    CHECK(joined.get(30s));
}

TEST_CASE("terminate fails what queues, tells what runs, and waits for it to end") {
    ThreadPool pool(1);
    Event begun;
    bool stopped = false;
    Event never;
    const Future<void> running = pool.apply_async([&](const StopToken& stop) {
        begun.set();
        stopped = !never.wait(stop);
    });
    begun.wait();
    std::atomic<int> runs{0};
    std::vector<Future<void>> queued;
    for (int i = 0; i < 1000; ++i) queued.push_back(pool.apply_async([&] { ++runs; }));
    const Future<std::vector<int>> mapped = pool.map_async(square, std::vector{1, 2, 3});
    pool.terminate();
    pool.join();
    running.get();
    CHECK(stopped);
    CHECK(runs == 0);
    CHECK_THROWS_AS(queued.front().get(), PoolTerminatedError);
    CHECK_THROWS_AS(queued.back().get(), PoolTerminatedError);
    CHECK_THROWS_AS(mapped.get(), PoolTerminatedError);
    CHECK_THROWS_AS(pool.apply(square, 1), UsageError);
}

TEST_CASE("the destructor runs what was submitted, but not while an exception unwinds") {
    std::atomic<int> runs{0};
    {
        ThreadPool pool(2);
        for (int i = 0; i < 100; ++i) static_cast<void>(pool.apply_async([&] { ++runs; }));
    }
    CHECK(runs == 100);

    runs = 0;
    Event begun;
    Event never;
    try {
        ThreadPool pool(1);
        static_cast<void>(pool.apply_async([&](const StopToken& stop) {
            begun.set();
            static_cast<void>(never.wait(stop));
        }));
        begun.wait();
        for (int i = 0; i < 100; ++i) static_cast<void>(pool.apply_async([&] { ++runs; }));
        throw std::runtime_error("broken");
    } catch (const std::runtime_error&) {
        CHECK(runs == 0);
    }
}

TEST_CASE("a pool may be destroyed by a call of its own") {
    const auto ended = std::make_shared<Event>();
    auto pool = std::make_shared<ThreadPool>(2);
    Event let_go;
    static_cast<void>(pool->apply_async([ended, &let_go, kept = pool]() mutable {
        let_go.wait();
        kept.reset();
        ended->set();
    }));
    pool.reset();
    let_go.set();
    CHECK(ended->wait(30s));
}

TEST_CASE("a queued call is cancelled, a running one is not") {
    ThreadPool pool(1);
    std::atomic<int> runs{0};
    Future<void> queued;
    {
        const Busy busy(pool);
        queued = pool.apply_async([&] { ++runs; });
        CHECK(queued.cancel());
        CHECK(queued.cancelled());
    }
    Event begun;
    Event go_on;
    Future<void> running = pool.apply_async([&] {
        begun.set();
        go_on.wait();
    });
    begun.wait();
    CHECK_FALSE(running.cancel());
    go_on.set();
    running.get();
    CHECK(runs == 0);
}

TEST_CASE("a callable and what it holds are gone before the result is there") {
    ThreadPool pool(2);
    for (int round = 0; round < 200; ++round) {
        const auto witness = std::make_shared<int>(0);
        // The future is kept, so that nothing but the end of the call can have let go.
        const Future<void> called = pool.apply_async([witness] {});
        called.wait();
        CHECK(witness.use_count() == 1);
        const Future<std::vector<int>> mapped = pool.map_async([witness](int x) { return x; }, std::vector{1, 2, 3});
        mapped.wait();
        CHECK(witness.use_count() == 1);
    }
}

TEST_CASE("calls that wait for calls that they submitted never deadlock, with one thread or several") {
    for (const int workers : {1, 2, 3}) {
        ThreadPool pool(workers);
        CHECK(pool.apply([&] { return fibonacci(pool, 15); }) == 610);
        CHECK(pool.apply([&] {
            return pool.map([&](int x) { return pool.apply(square, x); }, std::vector{1, 2, 3});
        }) == std::vector{1, 4, 9});
    }
}

TEST_CASE("a waiting call runs what it submitted, and no stranger") {
    ThreadPool pool(1);
    plait::Promise<void> promise;
    Event begun;
    Event submitted;
    std::thread::id outer_thread;
    std::thread::id own_thread;
    std::thread::id stranger_thread;
    const Future<void> outer = pool.apply_async([&] {
        outer_thread = std::this_thread::get_id();
        begun.set();
        submitted.wait();
        const Future<void> own = pool.apply_async([&] { own_thread = std::this_thread::get_id(); });
        promise.future().get();
        own.get();
    });
    begun.wait();
    const Future<void> stranger = pool.apply_async([&] { stranger_thread = std::this_thread::get_id(); });
    submitted.set();
    stranger.get(30s);  // a spare stands in for the thread that waits
    promise.set_value();
    outer.get(30s);
    CHECK(own_thread == outer_thread);
    CHECK(stranger_thread != outer_thread);
}

TEST_CASE("a waiting call runs no stranger that queues behind it, not even after a call of its own") {
    ThreadPool pool(1);
    plait::Promise<void> promise;
    std::thread::id outer_thread;
    Future<void> outer;
    std::vector<Future<std::thread::id>> strangers;
    {
        const Busy busy(pool);
        outer = pool.apply_async([&] {
            outer_thread = std::this_thread::get_id();
            pool.apply(square, 3);
            promise.future().get();
        });
        for (int i = 0; i < 3; ++i) strangers.push_back(pool.apply_async([] { return std::this_thread::get_id(); }));
    }
    std::vector<std::thread::id> stranger_threads;
    for (const auto& stranger : strangers) stranger_threads.push_back(stranger.get(30s));
    promise.set_value();
    outer.get(30s);
    for (const auto& thread : stranger_threads) CHECK(thread != outer_thread);
}

TEST_CASE("more waiting calls than threads do not keep others from running") {
    ThreadPool pool(2);
    plait::Promise<int> promise;
    std::vector<Future<int>> waiting;
    for (int i = 0; i < 8; ++i)
        waiting.push_back(pool.apply_async([future = promise.future()] { return future.get(); }));
    const Future<void> setter = pool.apply_async([&] { promise.set_value(7); });
    for (const auto& future : waiting) CHECK(future.get(30s) == 7);
    setter.get(30s);
}

TEST_CASE("many threads submit at once, and every call is run once") {
    ThreadPool pool(2);
    std::atomic<int> runs{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int k = 0; k < 500; ++k) static_cast<void>(pool.apply_async([&] { ++runs; }));
        });
    for (auto& thread : threads) thread.join();
    pool.close();
    pool.join();
    CHECK(runs == 2000);
}

TEST_CASE("a call that races with close is either run or refused") {
    for (int round = 0; round < 300; ++round) {
        ThreadPool pool(2);
        std::atomic<int> runs{0};
        std::atomic<int> taken{0};
        const auto submit_many = [&] {
            try {
                for (;;) {
                    static_cast<void>(pool.apply_async([&] { ++runs; }));
                    ++taken;
                }
            } catch (const UsageError&) {
            }
        };
        std::thread outside{submit_many};
        static_cast<void>(pool.apply_async(submit_many));
        while (taken == 0) std::this_thread::yield();
        pool.close();
        outside.join();
        pool.join();
        CHECK(runs == taken);
    }
}

TEST_CASE("a thread that sleeps never misses a call") {
    ThreadPool pool(2);
    for (int i = 0; i < 5000; ++i) {
        const Future<int> result = pool.apply_async(square, i % 100);
        if (i % 50 == 0) CHECK(within(20s, [&] { return pool.waiting() == 2; }));
        if (!result.wait(30s)) FAIL("a call was missed");
    }
    SUCCEED();
}

TEST_CASE("a pool moves, and one that was moved from says so") {
    ThreadPool pool(1);
    ThreadPool taken = std::move(pool);
    CHECK(taken.apply(square, 3) == 9);
    CHECK_THROWS_AS(pool.apply(square, 3), UsageError);
    taken = ThreadPool(2);
    CHECK(taken.size() == 2);
}

TEST_CASE("a call that is cancelled is dropped before that is seen, though it still queues") {
    ThreadPool pool(1);
    const Busy busy(pool);
    const auto witness = std::make_shared<int>(0);
    Future<void> queued = pool.apply_async([witness] {});
    CHECK(witness.use_count() == 2);
    long uses = 0;
    queued.add_done_callback([&](const Future<void>&) { uses = witness.use_count(); });
    CHECK(queued.cancel());
    CHECK(uses == 1);
}

TEST_CASE("a posted call is run, and what it throws is reported") {
    static std::atomic<int> reports{0};
    const auto before = plait::set_unraisable_hook([](const std::string&, std::exception_ptr) { ++reports; });
    {
        ThreadPool pool(2);
        std::atomic<int> sum{0};
        for (int i = 0; i < 100; ++i) pool.post([&](int x) { sum += x; }, i);
        pool.post([] { throw std::runtime_error("posted"); });
        pool.close();
        CHECK_THROWS_AS(pool.post([] {}), UsageError);
        pool.join();
        CHECK(sum == 4950);
    }
    plait::set_unraisable_hook(before);
    CHECK(reports == 1);
}

TEST_CASE("calls that queue behind the pool's own destruction still get spares while they wait") {
    auto pool = std::make_unique<ThreadPool>(1);
    plait::Promise<int> promise;
    Event go_on;
    const auto destroys = pool->apply_async([&] {
        go_on.wait();
        pool.reset();
    });
    const auto waits = pool->apply_async([&] { return promise.future().get(30s); });
    const auto gives = pool->apply_async([&] { promise.set_value(7); });
    go_on.set();
    destroys.get(30s);
    CHECK(waits.get(30s) == 7);
    gives.get(30s);
}

TEST_CASE("parallel_for says what it makes of a negative number beside one without a sign") {
    ThreadPool pool(1);
    int calls = 0;
    const auto count = [&](auto) { ++calls; };
    CHECK_THROWS_AS(pool.parallel_for(-1, std::size_t{5}, count), std::invalid_argument);
    CHECK_THROWS_AS(pool.parallel_for(std::size_t{0}, -1, count), std::invalid_argument);
    pool.parallel_for(0, std::size_t{5}, count);
    pool.parallel_for(-2, 2, count);
    CHECK(calls == 9);
}
