// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/segmented_fifo.hpp>
#include <plait/threading/detail/stealing_deque.hpp>
#include <plait/threading/detail/task_pages.hpp>
#include <plait/threading/lock.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

/// What a pool runs. It stands in one queue at most, and the queue has a share in its life.
class PoolTask {
public:
    PoolTask() = default;
    PoolTask(const PoolTask&) = delete;
    PoolTask& operator=(const PoolTask&) = delete;

    /// Runs it, unless that was begun, or it was cancelled.
    virtual void run() noexcept = 0;
    /// Fails it, unless it was begun: its pool is terminated.
    virtual void discard() noexcept = 0;
    /// Whether `run` would do nothing.
    [[nodiscard]] virtual bool begun() const noexcept = 0;
    /// Gives up the queue's share: it may be gone after that.
    virtual void release() noexcept = 0;

    /// Which run of a task submitted it; 0 for none.
    std::uint64_t submitter = 0;

protected:
    ~PoolTask() = default;
};

using TaskDeque = StealingDeque<PoolTask>;

/// What is submitted to a pool from outside, first in, first out. Who puts and who takes do not meet.
class Inbox {
public:
    /// False once it is closed. Throws: std::bad_alloc, and nothing was put.
    [[nodiscard]] bool put(PoolTask& task) {
        const std::scoped_lock lock{put_lock_};
        if (closed_) return false;
        tasks_.emplace(&task);
        return true;
    }
    /// Makes a Task in `pages_` and puts it. It must be made without running code of the user's, which may not stand
    /// under a lock.
    template <class Task, class... Args>
    [[nodiscard]] bool emplace(Args&&... args) {
        static_assert(TaskPages::suits<Task> && std::is_nothrow_constructible_v<Task, Args...>);
        const std::scoped_lock lock{put_lock_};
        if (closed_) return false;
        Task* const task = ::new (pages_.allocate(sizeof(Task))) Task(std::forward<Args>(args)...);
        try {
            tasks_.emplace(task);
        } catch (...) {
            task->release();
            throw;
        }
        return true;
    }
    /// Also where it is closed, and without memory: for a task that was taken and may not be run where it is. Who
    /// submitted it is forgotten.
    void put_back(PoolTask& task) noexcept {
        const std::scoped_lock lock{put_lock_};
        task.submitter = reinterpret_cast<std::uintptr_t>(back_);
        back_ = &task;
        back_count_.fetch_add(1, std::memory_order_seq_cst);
    }
    [[nodiscard]] PoolTask* take() noexcept {
        if (PoolTask* const task = take_back()) return task;
        if (tasks_seem_empty()) return nullptr;
        const std::scoped_lock lock{take_lock_};
        return take_first();
    }
    /// Takes a fair share for one of `takers`: returns the oldest, and puts the others into `rest`, the taker's own, so
    /// that its newest is the oldest of them.
    [[nodiscard]] PoolTask* take_share(std::size_t takers, TaskDeque& rest) noexcept {
        constexpr std::size_t most = 32;
        if (PoolTask* const task = take_back()) return task;
        if (tasks_seem_empty()) return nullptr;
        PoolTask* share[most];
        std::size_t count = 0;
        const std::size_t room = rest.make_room(most) ? most : 1;
        {
            const std::scoped_lock lock{take_lock_};
            const std::size_t fair = (std::min)(room, size() / (2 * takers) + 1);
            while (count < fair && (share[count] = take_first()) != nullptr) ++count;
        }
        while (count > 1) rest.put(share[--count]);
        return count != 0 ? share[0] : nullptr;
    }

    void close() noexcept {
        const std::scoped_lock lock{put_lock_};
        closed_ = true;
    }
    /// For certain, unlike `seems_empty`: what was put before is seen.
    [[nodiscard]] bool empty() const noexcept {
        const std::scoped_lock lock{put_lock_};
        return seems_empty();
    }
    [[nodiscard]] bool seems_empty() const noexcept {
        return tasks_seem_empty() && back_count_.load(std::memory_order_seq_cst) == 0;
    }

private:
    [[nodiscard]] bool tasks_seem_empty() const noexcept { return size() == 0; }
    PoolTask* take_back() noexcept {
        if (back_count_.load(std::memory_order_relaxed) == 0) return nullptr;
        const std::scoped_lock lock{put_lock_};
        if (back_ == nullptr) return nullptr;
        PoolTask* const task = back_;
        back_ = reinterpret_cast<PoolTask*>(static_cast<std::uintptr_t>(std::exchange(task->submitter, 0)));
        back_count_.fetch_sub(1, std::memory_order_seq_cst);
        return task;
    }
    [[nodiscard]] std::size_t size() const noexcept {
        // In this order: what was taken had been put.
        const std::uint64_t taken = tasks_.taken_count();
        return static_cast<std::size_t>(tasks_.put_count() - taken);
    }
    PoolTask* take_first() noexcept {
        PoolTask** const first = tasks_.front();
        if (first == nullptr) return nullptr;
        PoolTask* const task = *first;
        tasks_.pop();
        return task;
    }

    SegmentedFifo<PoolTask*> tasks_;
    // The standard's: `empty` is asked where no thread may sleep in the parking place. Guards the putting end, pages_,
    // closed_ and back_.
    alignas(64) mutable std::mutex put_lock_;
    bool closed_ = false;
    PoolTask* back_ = nullptr;  // what was put back, linked by `submitter`
    std::atomic<std::size_t> back_count_{0};
    TaskPages pages_;
    alignas(64) Lock take_lock_;  // guards the taking end
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
