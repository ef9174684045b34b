// SPDX-License-Identifier: MIT
#include <plait/threading/detail/inbox.hpp>

#include "support/catch.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

using plait::threading::detail::Inbox;
using plait::threading::detail::PoolTask;
using plait::threading::detail::TaskDeque;

namespace {

struct Task final : PoolTask {
    void run() noexcept override { ++runs; }
    void discard() noexcept override {}
    [[nodiscard]] bool begun() const noexcept override { return runs != 0; }
    void release() noexcept override {}
    int runs = 0;
};

}  // namespace

TEST_CASE("what is put is taken, the oldest first") {
    std::array<Task, 3> tasks;
    Inbox inbox;
    CHECK(inbox.take() == nullptr);
    for (auto& task : tasks) CHECK(inbox.put(task));
    CHECK_FALSE(inbox.empty());
    for (auto& task : tasks) CHECK(inbox.take() == &task);
    CHECK(inbox.empty());
    CHECK(inbox.seems_empty());
}

TEST_CASE("who takes a share goes on with the oldest, and leaves others theirs") {
    std::vector<Task> tasks(40);
    Inbox inbox;
    for (auto& task : tasks) REQUIRE(inbox.put(task));
    TaskDeque own;
    CHECK(inbox.take_share(2, own) == &tasks[0]);
    for (std::size_t i = 1; i <= 10; ++i) CHECK(own.take(0) == &tasks[i]);
    CHECK(own.take(0) == nullptr);
    CHECK(inbox.take() == &tasks[11]);
}

TEST_CASE("a closed inbox takes nothing but what comes back, and gives what it has") {
    Task first;
    Task second;
    Inbox inbox;
    REQUIRE(inbox.put(first));
    inbox.close();
    CHECK_FALSE(inbox.put(second));
    inbox.put_back(second);
    CHECK_FALSE(inbox.empty());
    CHECK(inbox.take() == &second);  // what comes back is somebody's to wait for
    CHECK(inbox.take() == &first);
    CHECK(inbox.empty());
}

TEST_CASE("of what several put and several take, each is taken once") {
    constexpr std::size_t each = 20'000;
    std::vector<Task> tasks(2 * each);
    Inbox inbox;
    std::atomic<std::size_t> taken{0};
    std::vector<std::thread> threads;
    for (const std::size_t half : {std::size_t{0}, each}) {
        threads.emplace_back([&, half] {
            for (std::size_t i = 0; i < each; ++i) static_cast<void>(inbox.put(tasks[half + i]));
        });
        threads.emplace_back([&] {
            TaskDeque own;
            while (taken < tasks.size()) {
                for (PoolTask* task = inbox.take_share(2, own); task != nullptr; task = own.take(0)) {
                    task->run();
                    ++taken;
                }
                std::this_thread::yield();
            }
        });
    }
    for (auto& thread : threads) thread.join();
    std::size_t once = 0;
    for (const auto& task : tasks) once += task.runs == 1 ? 1 : 0;
    CHECK(once == tasks.size());
}
