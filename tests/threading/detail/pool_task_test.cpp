// SPDX-License-Identifier: MIT
#include <plait/threading/detail/pool_task.hpp>

#include "support/catch.hpp"

#include <memory>
#include <utility>

using plait::detail::StatePointer;
using plait::threading::detail::BoundCallOf;
using plait::threading::detail::CallTask;
using plait::threading::detail::PoolCore;
using plait::threading::detail::submit_call;

namespace {

using Call = int (*)();
using Task = CallTask<int, BoundCallOf<Call>>;

int seven() { return 7; }

}  // namespace

TEST_CASE("a task is run once, and its state has the result") {
    PoolCore pool(1);
    const StatePointer<Task> task{new Task(pool, &seven)};
    CHECK_FALSE(task->begun());
    task->run();
    CHECK(task->begun());
    task->run();
    task->discard();
    CHECK(task->ready());
    CHECK(task->result().value() == 7);
}

TEST_CASE("a discarded task has failed, and a cancelled one does not run") {
    PoolCore pool(1);
    const StatePointer<Task> discarded{new Task(pool, &seven)};
    discarded->discard();
    CHECK_THROWS_AS(discarded->result().value(), plait::PoolTerminatedError);

    const StatePointer<Task> cancelled{new Task(pool, &seven)};
    CHECK(cancelled->cancel());
    cancelled->run();
    CHECK(cancelled->cancelled());
}

TEST_CASE("a task is known to its own pool only") {
    PoolCore pool(1);
    PoolCore other(1);
    const StatePointer<Task> task{new Task(pool, &seven)};
    CHECK(task->task_in(&pool) != nullptr);
    CHECK(task->task_in(&other) == nullptr);
}

TEST_CASE("a call that its pool refuses leaves nothing behind") {
    const auto pool = std::make_shared<PoolCore>(1);
    pool->close();
    const auto witness = std::make_shared<int>(0);
    CHECK_THROWS_AS(submit_call(*pool, [witness] {}), plait::UsageError);
    CHECK(witness.use_count() == 1);
}
