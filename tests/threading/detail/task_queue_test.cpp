// SPDX-License-Identifier: MIT
#include <plait/threading/detail/task_queue.hpp>

#include "support/catch.hpp"

#include <array>

using plait::threading::detail::PoolTask;
using plait::threading::detail::TaskQueue;

namespace {

struct Task final : PoolTask {
    void run() noexcept override { ran = true; }
    void discard() noexcept override {}
    [[nodiscard]] bool begun() const noexcept override { return ran; }
    void release() noexcept override {}
    bool ran = false;
};

}  // namespace

TEST_CASE("the newest and the oldest are taken from their ends") {
    std::array<Task, 4> tasks;
    TaskQueue queue;
    CHECK(queue.take_newest(0) == nullptr);
    CHECK(queue.take_oldest() == nullptr);
    for (auto& task : tasks) CHECK(queue.put(task));
    CHECK(queue.end() == 4);
    CHECK(queue.take_newest(0) == &tasks[3]);
    CHECK(queue.take_oldest() == &tasks[0]);
    CHECK_FALSE(queue.empty());
    CHECK(queue.take_oldest() == &tasks[1]);
    CHECK(queue.take_newest(0) == &tasks[2]);
    CHECK(queue.empty());
    CHECK(queue.seems_empty());
}

TEST_CASE("what stands below the floor is not taken as the newest, whoever took the oldest") {
    std::array<Task, 3> tasks;
    TaskQueue queue;
    CHECK(queue.put(tasks[0]));
    const auto floor = queue.end();
    CHECK(queue.put(tasks[1]));
    CHECK(queue.put(tasks[2]));
    CHECK(queue.take_oldest() == &tasks[0]);
    CHECK(queue.take_newest(floor) == &tasks[2]);
    CHECK(queue.take_newest_begun(floor) == nullptr);
    tasks[1].run();
    CHECK(queue.take_newest_begun(floor) == &tasks[1]);
    CHECK(queue.put(tasks[0]));
    CHECK(queue.take_newest(queue.end()) == nullptr);
    CHECK(queue.take_newest(0) == &tasks[0]);
}

TEST_CASE("a share is a part of what there is, and keeps the order") {
    std::array<Task, 8> tasks;
    TaskQueue inbox;
    TaskQueue own;
    CHECK(inbox.take_share(1, own) == nullptr);
    for (auto& task : tasks) CHECK(inbox.put(task));
    own.close();
    CHECK(inbox.take_share(2, own) == &tasks[0]);
    CHECK(own.take_newest(0) == &tasks[1]);
    CHECK(own.take_newest(0) == &tasks[2]);
    CHECK(own.take_newest(0) == nullptr);
    CHECK(inbox.take_oldest() == &tasks[3]);
}

TEST_CASE("nothing is put into a closed queue, and what stands there stays") {
    std::array<Task, 2> tasks;
    TaskQueue queue;
    CHECK(queue.put(tasks[0]));
    queue.close();
    CHECK_FALSE(queue.put(tasks[1]));
    CHECK(queue.take_oldest() == &tasks[0]);
}
