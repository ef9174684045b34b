// SPDX-License-Identifier: MIT
#include <plait/core/future.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace plait;

namespace {

std::atomic<int> reports{0};

/// Counts what is reported instead of printing it.
class CountReports {
public:
    CountReports() { reports = 0; }
    ~CountReports() { set_unraisable_hook(before_); }

private:
    UnraisableHook before_ = set_unraisable_hook([](const std::string&, std::exception_ptr) { ++reports; });
};

std::exception_ptr broken() { return std::make_exception_ptr(std::runtime_error("broken")); }

}  // namespace

TEST_CASE("a future gives the value, any number of times and through every copy") {
    Promise<std::string> promise;
    const Future<std::string> future = promise.future();
    const Future<std::string> copy = future;
    CHECK_FALSE(future.ready());
    promise.set_value("seven");
    CHECK(future.ready());
    CHECK(future.successful());
    CHECK(future.get() == "seven");
    CHECK(copy.get() == "seven");
    CHECK(&future.get() == &copy.get());
    CHECK(future.exception() == nullptr);
}

TEST_CASE("a future gives the exception with its own type") {
    Promise<int> promise;
    const Future<int> future = promise.future();
    promise.set_exception(broken());
    CHECK_THROWS_AS(future.get(), std::runtime_error);
    CHECK_THROWS_AS(future.get(1s), std::runtime_error);
    CHECK_FALSE(future.successful());
    CHECK(future.exception() != nullptr);
}

TEST_CASE("nothing, references and move-only values can be promised") {
    Promise<void> nothing;
    nothing.set_value();
    nothing.future().get();

    int place = 1;
    Promise<int&> reference;
    reference.set_value(place);
    reference.future().get() = 2;
    CHECK(place == 2);

    Promise<std::unique_ptr<int>> owner;
    owner.set_value(std::make_unique<int>(7));
    CHECK(*owner.future().get() == 7);
}

TEST_CASE("a move-only value is moved from the only future, and refused to one of several") {
    Promise<std::unique_ptr<int>> promise;
    Future<std::unique_ptr<int>> future = promise.future();
    Future<std::unique_ptr<int>> copy = future;
    promise.set_value(std::make_unique<int>(7));
    CHECK_THROWS_AS(std::move(copy).get(), UsageError);
    copy = Future<std::unique_ptr<int>>();
    CHECK(*std::move(future).get() == 7);
}

TEST_CASE("what a callback may read is not moved out beside it") {
    Promise<std::string> promise;
    Future<std::string> future = promise.future();
    std::string seen;
    future.add_done_callback([&](const Future<std::string>& done) { seen = done.get(); });
    promise.set_value("seven");
    CHECK(std::move(future).get() == "seven");
    CHECK(promise.future().get() == "seven");
    CHECK(seen == "seven");
}

TEST_CASE("a wait that times out says so and the promise can still be kept") {
    Promise<int> promise;
    const Future<int> future = promise.future();
    CHECK_THROWS_AS(future.get(1ms), TimeoutError);
    CHECK_THROWS_AS(future.get(0s), TimeoutError);
    CHECK_FALSE(future.wait(-1h));
    CHECK_THROWS_AS(static_cast<void>(future.successful()), UsageError);
    promise.set_value(7);
    CHECK(future.get(0s) == 7);
    CHECK(future.wait(0s));
}

TEST_CASE("a result set by another thread wakes all who wait, and is wholly seen") {
    for (int round = 0; round < 200; ++round) {
        Promise<std::vector<int>> promise;
        std::atomic<int> right{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; ++i)
            threads.emplace_back([&right, future = promise.future()] {
                if (future.get(30s).size() == 100) ++right;
            });
        promise.set_value(std::vector<int>(100, 1));
        for (auto& thread : threads) thread.join();
        CHECK(right == 3);
    }
}

TEST_CASE("a result is set once, and a promise that goes unkept is an error, not a hang") {
    Future<int> future;
    {
        Promise<int> promise;
        future = promise.future();
        promise.set_value(1);
        CHECK_THROWS_AS(promise.set_value(2), UsageError);
        CHECK_THROWS_AS(promise.set_exception(broken()), UsageError);
    }
    CHECK(future.get() == 1);
    {
        future = Promise<int>().future();
    }
    CHECK_THROWS_AS(future.get(1s), BrokenPromiseError);
}

TEST_CASE("what was not begun is cancelled, what runs or has ended is not") {
    Promise<int> promise;
    Future<int> future = promise.future();
    CHECK(future.cancel());
    CHECK(future.cancel());
    CHECK(future.cancelled());
    CHECK(future.ready());
    CHECK_FALSE(future.successful());
    CHECK_FALSE(promise.set_running());
    promise.set_value(7);
    CHECK_THROWS_AS(future.get(), CancelledError);

    Promise<int> running;
    CHECK(running.set_running());
    CHECK_FALSE(running.future().cancel());
    running.set_value(7);
    CHECK_FALSE(running.future().cancel());
    CHECK(running.future().get() == 7);
}

TEST_CASE("callbacks run once each, in order, late ones at once") {
    Promise<int> promise;
    Future<int> future = promise.future();
    std::vector<int> order;
    for (int i = 0; i < 3; ++i) future.add_done_callback([&, i](Future<int> done) { order.push_back(i + done.get()); });
    future.add_done_callback(
        [&](Future<int> done) { done.add_done_callback([&](const Future<int>&) { order.push_back(99); }); });
    CHECK(order.empty());
    promise.set_value(10);
    CHECK(order == std::vector{10, 11, 12, 99});
    future.add_done_callback([&](const Future<int>&) { order.push_back(100); });
    CHECK(order.back() == 100);
}

TEST_CASE("a callback that throws is reported and harms neither the others nor the result") {
    const CountReports count;
    Promise<int> promise;
    Future<int> future = promise.future();
    bool ran = false;
    future.add_done_callback([](const Future<int>&) { throw std::runtime_error("broken"); });
    future.add_done_callback([&](const Future<int>&) { ran = true; });
    promise.set_value(7);
    CHECK(ran);
    CHECK(future.get() == 7);
    CHECK(reports == 1);
}

TEST_CASE("callbacks added while the result comes run exactly once") {
    for (int round = 0; round < 500; ++round) {
        Promise<int> promise;
        Future<int> future = promise.future();
        std::atomic<int> ran{0};
        std::thread setter{[&] { promise.set_value(1); }};
        for (int i = 0; i < 3; ++i) future.add_done_callback([&](const Future<int>&) { ++ran; });
        setter.join();
        CHECK(ran == 3);
    }
}

TEST_CASE("an error that nobody looked at is reported when the last future goes") {
    const CountReports count;
    {
        Promise<int> promise;
        const Future<int> future = promise.future();
        promise.set_exception(broken());
    }
    CHECK(reports == 1);
    {
        Promise<int> promise;
        const Future<int> future = promise.future();
        promise.set_exception(broken());
        CHECK(future.exception() != nullptr);
    }
    CHECK(reports == 1);
}

TEST_CASE("an error that comes after the last future has gone is reported then") {
    const CountReports count;
    Promise<int> promise;
    {
        const Future<int> future = promise.future();
    }
    promise.set_exception(broken());
    CHECK(reports == 1);
}

TEST_CASE("of a last future that goes and an error that comes at once, one reports it") {
    const CountReports count;
    for (int round = 0; round < 1000; ++round) {
        Promise<int> promise;
        Future<int> future = promise.future();
        std::thread dropper{[dropped = std::move(future)] {}};
        promise.set_exception(broken());
        dropper.join();
        CHECK(reports == round + 1);
    }
}

TEST_CASE("values, cancellations and promises that nobody waits for are not reported") {
    const CountReports count;
    {
        Promise<int> kept;
        static_cast<void>(kept.future());
        kept.set_value(1);
        Promise<int> cancelled;
        cancelled.future().cancel();
        const Promise<int> never_asked;
    }
    CHECK(reports == 0);
}

TEST_CASE("a future of no call says so") {
    Future<int> none;
    CHECK_FALSE(none.valid());
    CHECK_THROWS_AS(none.get(), UsageError);
    CHECK_THROWS_AS(none.wait(), UsageError);
    CHECK_THROWS_AS(static_cast<void>(none.ready()), UsageError);
}

namespace {

/// Throws when it is copied for the `fatal`th time.
struct Copied {
    Copied() = default;
    Copied(const Copied&) {
        if (++copies == fatal) throw std::runtime_error("the copy failed");
    }
    Copied& operator=(const Copied&) = delete;
    static inline int copies = 0;
    static inline int fatal = 0;
};

}  // namespace

TEST_CASE("a value that fails to be copied is the caller's error or the future's, and nobody waits for ever") {
    bool kept = false;
    for (int fatal = 1; !kept && fatal < 20; ++fatal) {
        Copied::copies = 0;
        Copied::fatal = fatal;
        Promise<Copied> promise;
        const Future<Copied> future = promise.future();
        bool refused = false;
        try {
            promise.set_value(Copied{});
        } catch (const std::runtime_error&) {
            refused = true;
        }
        kept = Copied::copies < fatal;
        CHECK(future.wait(0s) != refused);
        if (refused) promise.set_value(Copied{});
        REQUIRE(future.wait(20s));
        CHECK(future.successful() == (kept || refused));
    }
    CHECK(kept);
}

TEST_CASE("a promise that was moved from says so") {
    Promise<int> promise;
    const Promise<int> taken = std::move(promise);
    CHECK_THROWS_AS(promise.set_value(1), UsageError);
    CHECK_THROWS_AS(promise.set_exception(broken()), UsageError);
    CHECK_THROWS_AS(promise.set_running(), UsageError);
    CHECK_THROWS_AS(static_cast<void>(promise.future()), UsageError);
}

TEST_CASE("futures of one call are equal, and can be keys") {
    Promise<int> promise;
    Promise<int> another;
    const Future<int> future = promise.future();
    const Future<int> copy = future;
    CHECK(future == copy);
    CHECK(future != another.future());
    CHECK(Future<int>{} == Future<int>{});
    std::unordered_map<Future<int>, std::string> names{{future, "first"}, {another.future(), "other"}};
    CHECK(names[copy] == "first");
}

TEST_CASE("a future whose result was moved out names no call any more") {
    Promise<std::string> promise;
    auto future = promise.future();
    auto copy = future;
    promise.set_value("text");
    CHECK(std::move(copy).get() == "text");
    CHECK_FALSE(copy.valid());
    CHECK(future.get() == "text");
    CHECK(std::move(future).get() == "text");
    CHECK_THROWS_AS(future.get(), UsageError);
}

TEST_CASE("a callback may destroy the promise and the futures of its call") {
    for (const bool cancelled : {false, true}) {
        auto promise = std::make_unique<Promise<int>>();
        auto future = std::make_unique<Future<int>>(promise->future());
        int calls = 0;
        future->add_done_callback([&](const Future<int>&) {
            ++calls;
            promise.reset();
            future.reset();
        });
        future->add_done_callback([&](const Future<int>&) { ++calls; });
        if (cancelled)
            CHECK(future->cancel());
        else
            promise->set_value(1);
        CHECK(calls == 2);
    }
}
