// SPDX-License-Identifier: MIT
#include <plait/asyncio/run.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>

#include "asyncio/virtual_time.hpp"
#include "support/catch.hpp"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::CancelledError;
using plait::UsageError;
using plait::asyncio::Coroutine;
using plait::asyncio::Task;
using support::run_virtual;
namespace aio = plait::asyncio;

namespace {

Coroutine<int> late(int x) {
    co_await aio::sleep(1s);
    co_return x;
}
Coroutine<int> fails() {
    co_await aio::sleep(0s);
    throw std::runtime_error("failed");
}
Coroutine<std::unique_ptr<int>> move_only() { co_return std::make_unique<int>(7); }
Coroutine<void> hang() { co_await aio::sleep(1h); }
Coroutine<int> await_task(Task<int> task) { co_return co_await task; }

/// Awaits, and tells how that ended.
template <class A>
Coroutine<std::string> ending(A awaitable) {
    try {
        co_await std::move(awaitable);
    } catch (const CancelledError& error) {
        co_return std::string("cancelled: ") + error.message();
    } catch (const std::exception& error) {
        co_return std::string("error: ") + error.what();
    }
    co_return "value";
}

}  // namespace

TEST_CASE("a task begins in the next pass, not where it is made") {
    run_virtual([]() -> Coroutine<void> {
        bool began = false;
        auto task = aio::create_task([&]() -> Coroutine<void> {
            began = true;
            co_return;
        });
        CHECK_FALSE(began);
        co_await aio::sleep(0s);
        CHECK(began);
        CHECK(task.done());
    });
}

TEST_CASE("a task is awaited any number of times, by any number of tasks") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(5));
        auto first = aio::create_task(await_task(task));
        auto second = aio::create_task(await_task(task));
        const auto got1 = co_await first;
        CHECK(got1 == 5);
        const auto got2 = co_await second;
        CHECK(got2 == 5);
        const auto got3 = co_await task;
        CHECK(got3 == 5);
        const auto got4 = co_await task;
        CHECK(got4 == 5);
        CHECK(task.result() == 5);
    });
}

TEST_CASE("a task's move-only value is moved out of its only handle, and read in place from a named one") {
    run_virtual([]() -> Coroutine<void> {
        const std::unique_ptr<int> moved = co_await aio::create_task(move_only());
        CHECK(*moved == 7);
        auto task = aio::create_task(move_only());
        const std::unique_ptr<int>& read = co_await task;
        CHECK(*read == 7);
        CHECK(&read == &task.result());
        auto copy = task;
        CHECK_THROWS_AS(std::move(copy).result(), UsageError);
        copy = {};
        const std::unique_ptr<int> last = std::move(task).result();
        CHECK(*last == 7);
    });
}

TEST_CASE("a task's error is thrown at every await, and tells itself") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(fails());
        const auto got5 = co_await ending(task);
        CHECK(got5 == "error: failed");
        const auto got6 = co_await ending(task);
        CHECK(got6 == "error: failed");
        CHECK(task.exception());
        CHECK_FALSE(task.cancelled());
        CHECK_THROWS_WITH(task.result(), "failed");
    });
}

TEST_CASE("the result and the exception of a task that runs are usage errors") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(1));
        CHECK_THROWS_AS(task.result(), UsageError);
        CHECK_THROWS_AS(task.exception(), UsageError);
        co_await task;
        CHECK_FALSE(task.exception());
        CHECK_THROWS_AS(aio::AnyTask{}.done(), UsageError);
    });
}

TEST_CASE("a task cancelled before its first step never runs its body") {
    run_virtual([]() -> Coroutine<void> {
        bool ran = false;
        auto task = aio::create_task([&]() -> Coroutine<void> {
            ran = true;
            co_return;
        });
        CHECK(task.cancel("early"));
        CHECK_FALSE(task.done());
        const auto got7 = co_await ending(task);
        CHECK(got7 == "cancelled: early");
        CHECK_FALSE(ran);
        CHECK(task.cancelled());
    });
}

TEST_CASE("a cancelled task sees CancelledError at its await, and its destructors run") {
    run_virtual([]() -> Coroutine<void> {
        bool cleaned = false;
        auto task = aio::create_task([&]() -> Coroutine<void> {
            const std::unique_ptr<bool, void (*)(bool*)> guard{&cleaned, [](bool* flag) { *flag = true; }};
            co_await aio::sleep(1h);
        });
        co_await aio::sleep(1s);
        CHECK(task.cancel("enough"));
        CHECK_FALSE(cleaned);
        const auto got8 = co_await ending(task);
        CHECK(got8 == "cancelled: enough");
        CHECK(cleaned);
        CHECK(task.cancelled());
        CHECK(aio::get_running_loop().time().time_since_epoch() == 1s);
    });
}

TEST_CASE("cancelling a task that has ended does nothing") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(1));
        co_await task;
        CHECK_FALSE(task.cancel());
        CHECK_FALSE(task.cancelled());
        CHECK(task.cancelling() == 0);
        const auto got9 = co_await task;
        CHECK(got9 == 1);
    });
}

TEST_CASE("cancelling a task that awaits another cancels that, down a chain") {
    run_virtual([]() -> Coroutine<void> {
        auto inner = aio::create_task(late(1));
        auto middle = aio::create_task(await_task(inner));
        auto outer = aio::create_task(await_task(middle));
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        CHECK(outer.cancel("all of you"));
        const auto got10 = co_await ending(outer);
        CHECK(got10 == "cancelled: all of you");
        CHECK(inner.cancelled());
        CHECK(middle.cancelled());
    });
}

TEST_CASE("a chain of a hundred thousand tasks is cancelled without recursion") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<Task<int>> tasks{aio::create_task(late(1))};
        for (int i = 0; i < 100'000; ++i) tasks.push_back(aio::create_task(await_task(tasks.back())));
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
        CHECK(tasks.back().cancel());
        const auto got11 = co_await ending(tasks.back());
        CHECK(got11 == "cancelled: ");
        CHECK(tasks.front().cancelled());
    });
}

TEST_CASE("tasks that await each other in a ring can be cancelled") {
    run_virtual([]() -> Coroutine<void> {
        Task<void> second;
        auto first = aio::create_task([&]() -> Coroutine<void> { co_await second; });
        second = aio::create_task([&]() -> Coroutine<void> { co_await first; });
        co_await aio::sleep(0s);
        CHECK(first.cancel());
        co_await aio::sleep(1s);
        CHECK(first.cancelled());
        CHECK(second.cancelled());
    });
}

TEST_CASE("a task that catches its cancellation and returns 42 has the result 42") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task([]() -> Coroutine<int> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
            }
            co_return 42;
        });
        co_await aio::sleep(0s);
        CHECK(task.cancel());
        const auto got12 = co_await task;
        CHECK(got12 == 42);
        CHECK_FALSE(task.cancelled());
    });
}

TEST_CASE("catching std::exception does not swallow a cancellation") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task([]() -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const std::exception&) {
            }
        });
        co_await aio::sleep(0s);
        task.cancel();
        const auto got13 = co_await ending(task);
        CHECK(got13 == "cancelled: ");
    });
}

TEST_CASE("an error thrown while a task is cancelled wins") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task([]() -> Coroutine<void> {
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                throw std::runtime_error("while cleaning up");
            }
        });
        co_await aio::sleep(0s);
        task.cancel();
        const auto got14 = co_await ending(task);
        CHECK(got14 == "error: while cleaning up");
        CHECK_FALSE(task.cancelled());
    });
}

TEST_CASE("a cancelled task may await while it cleans up") {
    run_virtual([]() -> Coroutine<void> {
        bool cleaned = false;
        auto task = aio::create_task([&]() -> Coroutine<void> {
            bool cancelled = false;
            try {
                co_await aio::sleep(1h);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (!cancelled) co_return;
            co_await aio::sleep(1s);
            cleaned = true;
            throw CancelledError("passed on");
        });
        co_await aio::sleep(0s);
        task.cancel();
        const auto got15 = co_await ending(task);
        CHECK(got15 == "cancelled: passed on");
        CHECK(cleaned);
    });
}

TEST_CASE("each request is delivered once, and requests are counted until taken back") {
    run_virtual([]() -> Coroutine<void> {
        int caught = 0;
        auto task = aio::create_task([&]() -> Coroutine<void> {
            for (int i = 0; i < 3; ++i) {
                try {
                    co_await aio::sleep(1h);
                } catch (const CancelledError&) {
                    ++caught;
                }
            }
        });
        co_await aio::sleep(0s);
        CHECK(task.cancel());
        CHECK(task.cancel());  // before the first is delivered: both are one
        co_await aio::sleep(1s);
        CHECK(caught == 1);
        CHECK(task.cancelling() == 2);
        CHECK(task.cancel());
        co_await aio::sleep(1s);
        CHECK(caught == 2);
        CHECK(task.uncancel() == 2);
        CHECK(task.uncancel() == 1);
        CHECK(task.uncancel() == 0);
        CHECK(task.uncancel() == 0);
        task.cancel();
        co_await task;
        CHECK(caught == 3);
    });
}

TEST_CASE("taking back the last request drops one that is not delivered yet") {
    run_virtual([]() -> Coroutine<void> {
        auto task = aio::create_task(late(1));
        task.cancel();
        CHECK(task.uncancel() == 0);
        const auto got16 = co_await task;
        CHECK(got16 == 1);
    });
}

TEST_CASE("a task that cancels itself meets it at its next suspension, or not at all") {
    run_virtual([]() -> Coroutine<void> {
        bool after = false;
        auto suspends = aio::create_task([&]() -> Coroutine<void> {
            aio::current_task().cancel();
            after = true;
            co_await aio::sleep(1h);
            after = false;
        });
        const auto got17 = co_await ending(suspends);
        CHECK(got17 == "cancelled: ");
        CHECK(after);
        auto completes = aio::create_task([]() -> Coroutine<int> {
            aio::current_task().cancel();
            co_return 5;
        });
        const auto got18 = co_await completes;
        CHECK(got18 == 5);
        auto ready = aio::create_task(late(3));
        co_await ready;
        auto awaits_ready = aio::create_task([&]() -> Coroutine<int> {
            aio::current_task().cancel();
            co_return co_await ready;
        });
        const auto got19 = co_await awaits_ready;
        CHECK(got19 == 3);
        auto awaits_other = aio::create_task([]() -> Coroutine<void> {
            auto inner = aio::create_task(hang());
            aio::current_task().cancel();
            co_await inner;
        });
        const auto got20 = co_await ending(awaits_other);
        CHECK(got20 == "cancelled: ");
    });
}

TEST_CASE("a cancellation that meets a result in one pass is not swallowed") {
    run_virtual([]() -> Coroutine<void> {
        auto inner = aio::create_task(late(1));
        Task<int> outer;
        auto canceller = aio::create_task([&]() -> Coroutine<void> {
            co_await inner;  // its end has made outer ready too, whose turn comes after this one
            outer.cancel();
        });
        outer = aio::create_task(await_task(inner));
        const auto got21 = co_await ending(outer);
        CHECK(got21 == "cancelled: ");
        co_await canceller;
        CHECK(inner.result() == 1);
    });
}

TEST_CASE("a task cannot await itself, nor a task of another loop") {
    aio::EventLoop other;
    auto stranger = other.create_task(hang());
    run_virtual([&]() -> Coroutine<void> {
        Task<void> self;
        self = aio::create_task([&]() -> Coroutine<void> { co_await self; });
        const auto got22 = co_await ending(self);
        CHECK(got22 == "error: a task cannot await itself");
        const std::string text = co_await ending(stranger);
        CHECK(text.find("belongs to another event loop") != std::string::npos);
    });
    stranger.cancel();
    CHECK_THROWS_AS(other.run_until_complete(stranger), CancelledError);
}

TEST_CASE("done callbacks run in the pass after the end, in order, with the task") {
    run_virtual([]() -> Coroutine<void> {
        std::vector<int> order;
        auto task = aio::create_task([]() -> Coroutine<int> { co_return 1; });
        task.add_done_callback([&](Task<int> done) { order.push_back(done.result()); });
        task.add_done_callback([&](const aio::AnyTask& done) {
            order.push_back(2);
            CHECK(done.done());
            // One that is added by one comes last, in the next pass.
            task.add_done_callback([&](const aio::AnyTask&) { order.push_back(4); });
        });
        auto last = std::make_unique<int>(3);
        task.add_done_callback([&, last = std::move(last)](const aio::AnyTask&) { order.push_back(*last); });
        CHECK(order.empty());
        co_await task;
        co_await aio::sleep(1s);
        CHECK(order == std::vector<int>{1, 2, 3, 4});
    });
}

TEST_CASE("an exception that leaves a done callback is reported, and the next callback runs") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        auto task = aio::create_task(late(1));
        bool ran = false;
        task.add_done_callback([](const aio::AnyTask&) { throw std::runtime_error("in the callback"); });
        task.add_done_callback([&](const aio::AnyTask&) { ran = true; });
        co_await task;
        co_await aio::sleep(0s);
        CHECK(ran);
    });
    CHECK(log.texts == std::vector<std::string>{"in the callback"});
}

TEST_CASE("an error that nobody looked at is reported once, when the task dies") {
    support::ErrorLog log;
    run_virtual([&]() -> Coroutine<void> {
        log.watch(aio::get_running_loop());
        auto seen = aio::create_task(fails());
        auto unseen = std::optional{aio::create_task(fails())};
        unseen->set_name("forgotten");
        static_cast<void>(co_await ending(seen));
        co_await aio::sleep(1s);
        CHECK(log.messages.empty());
        unseen.reset();
        CHECK(log.tasks == std::vector<std::string>{"forgotten"});
        CHECK(log.texts == std::vector<std::string>{"failed"});
    });
    CHECK(log.messages.size() == 1);
}

TEST_CASE("the loop keeps a task whose handle is lost") {
    run_virtual([]() -> Coroutine<void> {
        bool ran = false;
        static_cast<void>(aio::create_task([&]() -> Coroutine<void> {
            co_await aio::sleep(1s);
            ran = true;
        }));
        co_await aio::sleep(2s);
        CHECK(ran);
    });
}

TEST_CASE("tasks have names") {
    run_virtual([]() -> Coroutine<void> {
        CHECK(aio::current_task().name() == "Task-1");
        auto task = aio::create_task(hang());
        CHECK(task.name() == "Task-2");
        task.set_name("reader");
        CHECK(task.name() == "reader");
        task.cancel("message");
        CHECK(task.name() == "reader");
        co_return;
    });
}

TEST_CASE("a task handle outlives its loop") {
    Task<int> ended;
    Task<void> cut_off;
    support::ErrorLog log;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        log.watch(loop);
        ended = loop.create_task(late(3));
        cut_off = loop.create_task(hang());
        loop.run_until_complete(ended);
    }
    CHECK(ended.result() == 3);
    CHECK(cut_off.cancelled());
    CHECK_FALSE(cut_off.cancel());
    CHECK_THROWS_AS(ended.add_done_callback([](const aio::AnyTask&) {}), UsageError);
    CHECK(log.tasks == std::vector<std::string>{"Task-2"});
}

TEST_CASE("the arguments of a task die at its end, whoever keeps the handle") {
    run_virtual([]() -> Coroutine<void> {
        auto argument = std::make_shared<int>(1);
        const std::weak_ptr<int> alive = argument;
        auto task =
            aio::create_task([](std::shared_ptr<int> x) -> Coroutine<int> { co_return *x; }, std::move(argument));
        CHECK_FALSE(alive.expired());
        const auto got23 = co_await task;
        CHECK(got23 == 1);
        CHECK(alive.expired());
    });
}

TEST_CASE("a destructor may cancel its own task while the loop dies") {
    struct Cancels {
        explicit Cancels(aio::AnyTask task) : own{std::move(task)} {}
        ~Cancels() { own.cancel(); }
        aio::AnyTask own;
    };
    support::ErrorLog log;
    {
        aio::EventLoop loop{{.manual_clock = true}};
        log.watch(loop);
        static_cast<void>(loop.create_task([]() -> Coroutine<void> {
            const Cancels guard{aio::current_task()};
            co_await hang();
        }));
        loop.run_until_complete(late(1));
    }
    CHECK(log.tasks == std::vector<std::string>{"Task-1"});
}

TEST_CASE("who is told of a dying task's error finds no current task") {
    aio::EventLoop loop;
    int told = 0;
    loop.set_exception_handler([&](aio::EventLoop&, const plait::asyncio::ErrorContext&) {
        ++told;
        CHECK_FALSE(aio::current_task().valid());
    });
    loop.run_until_complete([]() -> Coroutine<void> {
        static_cast<void>(aio::create_task([]() -> Coroutine<void> {
            throw std::runtime_error("nobody looks");
            co_return;
        }));
        co_await aio::sleep(0s);
        co_await aio::sleep(0s);
    }());
    CHECK(told == 1);
}
