// SPDX-License-Identifier: MIT

// Each kind of await, given up wherever it may stand: its task is cancelled, or its frame destroyed with the loop, before
// what it waits for has come, just when it comes, and after. AddressSanitizer looks on.

#include <plait/asyncio/as_completed.hpp>
#include <plait/asyncio/async_generator.hpp>
#include <plait/asyncio/barrier.hpp>
#include <plait/asyncio/condition.hpp>
#include <plait/asyncio/create_task.hpp>
#include <plait/asyncio/event.hpp>
#include <plait/asyncio/executor.hpp>
#include <plait/asyncio/future.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/lock.hpp>
#include <plait/asyncio/queue.hpp>
#include <plait/asyncio/semaphore.hpp>
#include <plait/asyncio/shield.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task_group.hpp>
#include <plait/asyncio/timeout.hpp>
#include <plait/asyncio/wait.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/threading/event.hpp>
#include <plait/threading/pool.hpp>

#include "support/catch.hpp"
#include "support/schedule_driver.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using plait::Future;
using plait::Promise;
using plait::StopToken;
using plait::UsageError;
using plait::asyncio::AsyncGenerator;
using plait::asyncio::Coroutine;
using plait::asyncio::EventLoop;
using plait::asyncio::Task;
using plait::threading::ThreadPool;
namespace aio = plait::asyncio;

namespace {

/// What the awaits find: a step that somebody else completes.
class Stage {
public:
    explicit Stage(ThreadPool& threads) noexcept : pool{threads} {}

    /// Waits until it is completed, and cleans up.
    Coroutine<int> step() {
        const auto local = std::make_unique<int>(1);
        int result = *local;
        bool cancelled = false;
        try {
            result += co_await completed;
        } catch (const plait::CancelledError&) {
            cancelled = true;
        }
        co_await aio::sleep(0s);
        if (cancelled) throw plait::CancelledError();
        co_return result;
    }
    /// The same in the frame of another: `inside` is one more meanwhile.
    Coroutine<int> step_inside(int& inside) {
        struct Entry {
            explicit Entry(int& count) : inside{count} { ++inside; }
            Entry(const Entry&) = delete;
            Entry& operator=(const Entry&) = delete;
            ~Entry() { --inside; }
            int& inside;
        };
        const Entry entry{inside};
        const int result = co_await step();
        co_return result;
    }
    AsyncGenerator<int> steps() {
        int inside = 0;
        for (int i = 0; i < 2; ++i) {
            const int item = co_await step_inside(inside);
            co_yield item;
        }
    }
    Coroutine<void> acquire() {
        const auto guard = co_await lock.scoped();
        co_await aio::sleep(0s);
    }
    /// On any thread: everything that waits for another thread is completed.
    void complete_outside() {
        promise.set_value(1);
        gate.set();
    }

    ThreadPool& pool;
    Future<void> call;  // what the pool runs
    Promise<int> promise;
    Future<int> completed = promise.future();
    plait::threading::Event gate;
    aio::Lock lock;
    aio::Semaphore semaphore{0};
    aio::Event event;
    aio::Condition condition;
    aio::Barrier barrier{2};
    aio::Queue<std::unique_ptr<int>> queue{2};
};

struct Scenario {
    std::string name;
    Coroutine<void> (*body)(Stage&);
    void (*complete)(Stage&) = [](Stage&) {};  // on the loop's thread
};

enum class Act { cancel, close };
enum class Completer { loop_before, loop_after, thread };

/// When what happens, counted in passes of the loop.
struct Plan {
    Act act;
    std::size_t act_at;
    std::size_t complete_at;
    Completer completer = Completer::loop_before;
    int delay = 0;
};

class Play {
public:
    Play(const Scenario& scenario, Plan plan, ThreadPool& pool)
        : scenario_{scenario}, plan_{plan}, pool_{pool}, task_{loop_.create_task(scenario.body, std::ref(stage_))} {
        loop_.set_exception_handler([](EventLoop&, const aio::ErrorContext&) {});
    }
    Play(const Play&) = delete;
    Play& operator=(const Play&) = delete;
    ~Play() {
        loop_.close();
        if (thread_) thread_->wait();
        stage_.gate.set();
        if (stage_.call.valid()) stage_.call.wait();
        static_cast<void>(task_.exception());
    }

    /// False where there was nothing left to do before the plan's moment.
    bool run() {
        for (std::size_t pass = 0; pass != plan_.act_at; ++pass) {
            if (pass == plan_.complete_at) complete();
            if (!driver_.pass() && pass >= plan_.complete_at) {
                if (task_.done()) return false;
                driver_.wait_for_pass();  // what was completed elsewhere is on its way
            }
            if (task_.done() || (driver_.idle() && plan_.complete_at == never)) return false;
        }
        const bool meets = plan_.act_at == plan_.complete_at;
        if (meets && plan_.completer != Completer::loop_after) complete();
        for (int i = 0; i < plan_.delay; ++i) stage_.gate.is_set();
        if (plan_.act == Act::close) {
            loop_.close();
        } else {
            task_.cancel();
            if (meets && plan_.completer == Completer::loop_after) complete();
            while (!task_.done()) driver_.wait_for_pass();
        }
        return true;
    }

    static constexpr std::size_t never = SIZE_MAX;

private:
    void complete() {
        if (plan_.completer == Completer::thread) {
            thread_ = std::make_unique<Future<void>>(pool_.apply_async([this] {
                stage_.complete_outside();
                try {
                    loop_.call_soon_threadsafe(scenario_.complete, std::ref(stage_));
                } catch (const UsageError&) {
                    // The loop was closed before.
                }
            }));
        } else {
            stage_.complete_outside();
            loop_.call_soon(scenario_.complete, std::ref(stage_));
        }
    }

    const Scenario& scenario_;
    const Plan plan_;
    ThreadPool& pool_;
    Stage stage_{pool_};
    EventLoop loop_{{.manual_clock = true}};
    support::LoopDriver driver_{loop_};
    Task<void> task_;
    std::unique_ptr<Future<void>> thread_;
};

std::vector<Scenario> scenarios() {
    return {
        {"sleep", [](Stage&) -> Coroutine<void> { co_await aio::sleep(1s); }},
        {"sleep for a pass", [](Stage&) -> Coroutine<void> { co_await aio::sleep(0s); }},
        {"coroutine", [](Stage& stage) -> Coroutine<void> { co_await stage.step(); }},
        {"future", [](Stage& stage) -> Coroutine<void> { co_await stage.completed; }},
        {"future of a pool",
         [](Stage& stage) -> Coroutine<void> {
             stage.call = stage.pool.apply_async([&stage] { stage.gate.wait(); });
             co_await stage.call;
         }},
        {"task",
         [](Stage& stage) -> Coroutine<void> {
             const auto task = aio::create_task(stage.step());
             co_await task;
         }},
        {"task as a temporary", [](Stage& stage) -> Coroutine<void> { co_await aio::create_task(stage.step()); }},
        {"to_thread of what refers to the frame",
         [](Stage& stage) -> Coroutine<void> {
             int calls = 0;
             const auto wait = [&stage, &calls](const StopToken& token) {
                 static_cast<void>(stage.gate.wait(token));
                 ++calls;
             };
             co_await aio::to_thread(wait);
         }},
        {"abandoned to_thread",
         [](Stage& stage) -> Coroutine<void> {
             const auto wait = [&stage](const StopToken& token) { static_cast<void>(stage.gate.wait(token)); };
             co_await aio::to_thread({.abandon = true}, wait);
         }},
        {"gather", [](Stage& stage) -> Coroutine<void> { co_await aio::gather(stage.step(), stage.step()); }},
        {"gather of what refers to the frame",
         [](Stage& stage) -> Coroutine<void> {
             int inside = 0;
             co_await aio::gather(stage.step_inside(inside), stage.step_inside(inside));
         }},
        {"gather of one that fails",
         [](Stage& stage) -> Coroutine<void> {
             const auto fail = []() -> Coroutine<void> {
                 co_await aio::sleep(0s);
                 throw std::runtime_error("failed");
             };
             co_await aio::gather(stage.step(), fail());
         }},
        {"lock",
         [](Stage& stage) -> Coroutine<void> {
             static_cast<void>(stage.lock.try_acquire());
             const auto second = aio::create_task(stage.acquire());
             const auto third = aio::create_task(stage.acquire());
             co_await second;
             co_await third;
         },
         [](Stage& stage) {
             if (stage.lock.locked()) stage.lock.release();
         }},
        {"semaphore",
         [](Stage& stage) -> Coroutine<void> {
             const auto permit = co_await stage.semaphore.scoped();
             co_await stage.semaphore.acquire();
         },
         [](Stage& stage) { stage.semaphore.release(2); }},
        {"event", [](Stage& stage) -> Coroutine<void> { co_await stage.event.wait(); },
         [](Stage& stage) { stage.event.set(); }},
        {"condition",
         [](Stage& stage) -> Coroutine<void> {
             const auto guard = co_await stage.condition.scoped();
             co_await stage.condition.wait();
         },
         [](Stage& stage) {
             if (!stage.condition.try_acquire()) return;
             stage.condition.notify_all();
             stage.condition.release();
         }},
        {"barrier",
         [](Stage& stage) -> Coroutine<void> {
             try {
                 co_await stage.barrier.wait();
             } catch (const plait::BrokenBarrierError&) {
             }
         },
         [](Stage& stage) { stage.barrier.abort(); }},
        {"get",
         [](Stage& stage) -> Coroutine<void> {
             const auto other = aio::create_task([&stage]() -> Coroutine<void> { co_await stage.queue.get(); });
             const auto item = co_await stage.queue.get();
             CHECK(*item == 1);
             co_await other;
         },
         [](Stage& stage) {
             stage.queue.put_nowait(std::make_unique<int>(1));
             stage.queue.put_nowait(std::make_unique<int>(1));
         }},
        {"put",
         [](Stage& stage) -> Coroutine<void> {
             while (!stage.queue.full()) stage.queue.put_nowait(std::make_unique<int>(3));
             const auto put = [&stage]() -> Coroutine<void> { co_await stage.queue.put(std::make_unique<int>(4)); };
             const auto other = aio::create_task(put);
             co_await put();
             co_await other;
         },
         [](Stage& stage) {
             while (!stage.queue.empty()) stage.queue.get_nowait();
         }},
        {"join",
         [](Stage& stage) -> Coroutine<void> {
             stage.queue.put_nowait(std::make_unique<int>(5));
             co_await stage.queue.join();
         },
         [](Stage& stage) { stage.queue.shutdown(true); }},
        {"generator",
         [](Stage& stage) -> Coroutine<void> {
             auto generator = stage.steps();
             while (co_await generator.next()) co_await aio::sleep(0s);
         }},
        {"closing of a generator",
         [](Stage& stage) -> Coroutine<void> {
             auto generator = stage.steps();
             co_await generator.next();
             co_await generator.aclose();
         }},
        {"timeout",
         [](Stage& stage) -> Coroutine<void> {
             int inside = 0;
             co_await aio::timeout(1s, [&]() -> Coroutine<void> { co_await stage.step_inside(inside); });
         }},
        {"shield", [](Stage& stage) -> Coroutine<void> { co_await aio::shield(stage.step()); }},
        {"as_completed",
         [](Stage& stage) -> Coroutine<void> {
             for (const auto& next : aio::as_completed(1s, stage.step(), stage.step(), stage.step())) co_await next;
         }},
        {"task_group",
         [](Stage& stage) -> Coroutine<void> {
             int inside = 0;
             const auto body = [&](aio::TaskGroup& group) -> Coroutine<void> {
                 group.create_task(stage.step_inside(inside));
                 group.create_task(stage.step_inside(inside));
                 co_await stage.step();
             };
             co_await aio::task_group(body);
         }},
        {"wait", [](Stage& stage) -> Coroutine<void> { co_await aio::wait(stage.step(), stage.step()); }},
        {"wait for the first",
         [](Stage& stage) -> Coroutine<void> {
             co_await aio::wait({.timeout = 1s, .return_when = aio::FIRST_COMPLETED}, stage.step(),
                                aio::create_task(aio::sleep(0s, 1)));
         }},
        {"wait_for", [](Stage& stage) -> Coroutine<void> { co_await aio::wait_for(stage.step(), 1s); }},
        {"wait_for of a future", [](Stage& stage) -> Coroutine<void> { co_await aio::wait_for(stage.completed, 1s); }},
    };
}

/// Every moment of every scenario.
void give_up_everywhere(Act act) {
    ThreadPool pool{2};
    for (const Scenario& scenario : scenarios()) {
        INFO(scenario.name);
        std::size_t plays = 0;
        for (const std::size_t complete_at :
             {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}, Play::never})
            for (std::size_t act_at = 0; act_at < 20; ++act_at) {
                ++plays;
                if (!Play{scenario, {act, act_at, complete_at}, pool}.run()) break;
                if (act_at == complete_at)
                    Play{scenario, {act, act_at, complete_at, Completer::loop_after}, pool}.run();
            }
        for (std::size_t at = 0; at < 4; ++at)
            for (int delay = 0; delay < 2'000; delay += 100)
                Play{scenario, {act, at, at, Completer::thread, delay}, pool}.run();
        CHECK(plays > 5);
    }
}

}  // namespace

TEST_CASE("each kind of await can be cancelled wherever it stands") { give_up_everywhere(Act::cancel); }

TEST_CASE("each kind of await can be destroyed with its loop wherever it stands") { give_up_everywhere(Act::close); }
