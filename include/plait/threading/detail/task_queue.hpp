// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
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

private:
    friend class TaskQueue;
    PoolTask* older_ = nullptr;
    PoolTask* newer_ = nullptr;
};

/// Tasks in the order of their arrival. A worker takes the newest of its own, everybody else the oldest.
///
/// Places are counted: the first task ever put stands at 0, the next one to be put will stand at `end()`.
class alignas(64) TaskQueue {
public:
    /// False once it is closed.
    [[nodiscard]] bool put(PoolTask& task) noexcept {
        const std::scoped_lock lock{mutex_};
        if (closed_) return false;
        append(task);
        return true;
    }
    /// The newest, if it stands at `floor` or later; null if not.
    [[nodiscard]] PoolTask* take_newest(std::uint64_t floor) noexcept {
        if (seems_empty()) return nullptr;
        const std::scoped_lock lock{mutex_};
        return newest_ != nullptr && end_ > floor ? take_last() : nullptr;
    }
    /// The same, if it has been begun.
    [[nodiscard]] PoolTask* take_newest_begun(std::uint64_t floor) noexcept {
        if (seems_empty()) return nullptr;
        const std::scoped_lock lock{mutex_};
        return newest_ != nullptr && end_ > floor && newest_->begun() ? take_last() : nullptr;
    }
    [[nodiscard]] PoolTask* take_oldest() noexcept {
        if (seems_empty()) return nullptr;
        const std::scoped_lock lock{mutex_};
        return oldest_ != nullptr ? take_first() : nullptr;
    }
    /// Takes a fair share of the oldest for one of `takers`: returns the oldest, and puts the others into `rest`, closed
    /// or not, so that its newest is the oldest of them.
    [[nodiscard]] PoolTask* take_share(std::size_t takers, TaskQueue& rest) noexcept {
        constexpr std::size_t most = 32;
        PoolTask* share[most];
        std::size_t count = 0;
        {
            if (seems_empty()) return nullptr;
            const std::scoped_lock lock{mutex_};
            const std::size_t fair = size_.load(std::memory_order_relaxed) / (2 * takers) + 1;
            while (oldest_ != nullptr && count < most && count < fair) share[count++] = take_first();
        }
        if (count == 0) return nullptr;
        if (count > 1) {
            const std::scoped_lock lock{rest.mutex_};
            for (std::size_t i = count; i-- > 1;) rest.append(*share[i]);
        }
        return share[0];
    }

    /// From now on nothing can be put.
    void close() noexcept {
        const std::scoped_lock lock{mutex_};
        closed_ = true;
    }
    /// For certain, unlike `seems_empty`: what was put before is seen.
    [[nodiscard]] bool empty() const noexcept {
        const std::scoped_lock lock{mutex_};
        return oldest_ == nullptr;
    }
    /// A guess without locking.
    [[nodiscard]] bool seems_empty() const noexcept { return size_.load(std::memory_order_relaxed) == 0; }
    /// For the one thread that puts and takes the newest.
    [[nodiscard]] std::uint64_t end() const noexcept { return end_; }

private:
    void append(PoolTask& task) noexcept {
        task.older_ = newest_;
        task.newer_ = nullptr;
        (newest_ != nullptr ? newest_->newer_ : oldest_) = &task;
        newest_ = &task;
        ++end_;
        add_to_size(1);
    }
    PoolTask* take_last() noexcept {
        PoolTask* const task = std::exchange(newest_, newest_->older_);
        (newest_ != nullptr ? newest_->newer_ : oldest_) = nullptr;
        --end_;
        add_to_size(-1);
        return task;
    }
    PoolTask* take_first() noexcept {
        PoolTask* const task = std::exchange(oldest_, oldest_->newer_);
        (oldest_ != nullptr ? oldest_->older_ : newest_) = nullptr;
        add_to_size(-1);
        return task;
    }
    void add_to_size(std::ptrdiff_t change) noexcept {
        // Only ever written under the mutex: no read-modify-write is needed.
        size_.store(size_.load(std::memory_order_relaxed) + static_cast<std::size_t>(change),
                    std::memory_order_relaxed);
    }

    mutable std::mutex mutex_;  // guards all of it
    PoolTask* oldest_ = nullptr;
    PoolTask* newest_ = nullptr;
    std::uint64_t end_ = 0;  // an own queue's is written by its worker alone, which may read it without the mutex
    bool closed_ = false;
    std::atomic<std::size_t> size_{0};
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
