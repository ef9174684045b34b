// SPDX-License-Identifier: MIT
#include <plait/threading/detail/pool_core.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/no_threads.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::threading;
using detail::PoolCore;
using detail::PoolTask;
using detail::Worker;
using support::within;

namespace {

/// A task that is told apart by what became of it.
class Task final : public PoolTask {
public:
    explicit Task(std::function<void()> f) : f_{std::move(f)} {}
    void run() noexcept override {
        if (!begun_.exchange(true)) f_();
    }
    void discard() noexcept override { discarded = !begun_.exchange(true); }
    [[nodiscard]] bool begun() const noexcept override { return begun_; }
    void release() noexcept override { released = true; }

    std::atomic<bool> discarded{false};
    std::atomic<bool> released{false};

private:
    std::function<void()> f_;
    std::atomic<bool> begun_{false};
};

}  // namespace

TEST_CASE("every task is released once it was run or discarded") {
    const auto core = std::make_shared<PoolCore>(1);
    core->start();
    Event begun;
    Event go_on;
    Task first([&] {
        begun.set();
        go_on.wait();
    });
    Task second([] {});
    core->submit(first);
    begun.wait();
    core->submit(second);
    core->terminate();
    CHECK(second.discarded);
    CHECK(second.released);
    CHECK_FALSE(first.released);
    go_on.set();
    core->join();
    CHECK(first.released);
    CHECK_FALSE(first.discarded);
}

TEST_CASE("a task knows which run submitted it, and one from outside that none did") {
    const auto core = std::make_shared<PoolCore>(1);
    core->start();
    Task inner([] {});
    std::uint64_t run = 0;
    Event submitted;
    Task outer([&] {
        run = Worker::current()->run_number();
        core->submit(inner);
        submitted.set();
    });
    core->submit(outer);
    submitted.wait();
    core->close();
    core->join();
    CHECK(outer.submitter == 0);
    CHECK(run != 0);
    CHECK(inner.submitter == run);
    CHECK(Worker::current() == nullptr);
}

TEST_CASE("while workers are blocked spares run what queues, as many as are blocked") {
    const auto core = std::make_shared<PoolCore>(1);
    core->start();
    Event blocked;
    Event go_on;
    Task blocker([&] {
        core->worker_blocks();
        blocked.set();
        go_on.wait();
        core->worker_unblocks();
    });
    Event ran;
    Worker* spare = nullptr;
    Task behind([&] {
        spare = Worker::current();
        ran.set();
    });
    core->submit(blocker);
    blocked.wait();
    core->submit(behind);
    CHECK(ran.wait(30s));
    CHECK(spare != nullptr);
    // The same spare is called again from its rest.
    for (int i = 0; i < 100; ++i) {
        Event again;
        Worker* other = nullptr;
        auto task = std::make_unique<Task>([&] {
            other = Worker::current();
            again.set();
        });
        core->submit(*task);
        CHECK(again.wait(30s));
        CHECK(within(20s, [&] { return task->released.load(); }));
        CHECK(other == spare);
    }
    go_on.set();
    core->close();
    core->join();
}

TEST_CASE("a closed core ends its threads, and none counts as idle") {
    const auto core = std::make_shared<PoolCore>(2);
    core->start();
    CHECK(within(20s, [&] { return core->idle() == 2; }));
    core->close();
    core->join();
    CHECK(core->closed());
    CHECK(core->idle() == 0);
}

#if defined(__GLIBC__)
TEST_CASE("a core that gets no threads says so, and nothing of it is left") {
    auto core = std::make_shared<PoolCore>(2);
    const std::weak_ptr<PoolCore> watch = core;
    {
        const support::NoThreads none;
        CHECK_THROWS_AS(core->start(), std::system_error);
    }
    core.reset();
    CHECK(watch.expired());
}
#endif
