// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/threading/detail/task_queue.hpp>
#include <plait/threading/event.hpp>
#include <plait/threading/thread.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading::detail {

class PoolCore;

/// One thread of a pool, with the queue of what its tasks submitted.
///
/// A task that waits for a future keeps its worker's stack but not its worker: the worker runs the awaited task itself,
/// or what the waiting task and its descendants have submitted here, and nothing else. Those stand in this queue above
/// `floor_`: the queue's end when the waiting task began, for only this thread puts into it; raised above what a stranger
/// left there that was run because it was awaited.
class Worker final : public WaitHelper {
public:
    explicit Worker(PoolCore& pool) noexcept : pool_{pool} {}

    /// Runs what was taken from a queue.
    void run_taken(PoolTask& task, bool descends) noexcept;

    // Said to be inline here already, or g++ makes every includer carry the class's table and all that it calls.
    inline void help(FutureStateBase& state, Deadline deadline) override;
    inline void sleep_begins() noexcept override;
    inline void sleep_ends() noexcept override;

    [[nodiscard]] PoolCore& pool() const noexcept { return pool_; }
    [[nodiscard]] std::uint64_t run_number() const noexcept { return run_; }

    /// The calling thread's, or null.
    PLAIT_VISIBLE static Worker*& current() noexcept {
        static constinit thread_local Worker* worker = nullptr;
        return worker;
    }

    TaskQueue tasks;
    std::optional<Thread> thread;
    // Of a spare: its place in the list of those at rest, and how it is called from there. Guarded by the core's mutex.
    Worker* next_at_rest = nullptr;
    bool stands_in = true;
    Event called;

private:
    void run_nested(PoolTask& task, bool descends) noexcept;

    PoolCore& pool_;
    std::uint64_t run_ = 0;    // the task run on top of this thread's stack; 0 for none
    std::uint64_t floor_ = 0;  // from there on its descendants' tasks stand in `tasks`
};

/// All of a pool but its vocabulary: its workers, what they run, and how they sleep.
///
/// Who sleeps misses nothing: a worker counts itself in `sleepers_` and then looks into every queue under its mutex,
/// while who submits puts the task under that mutex and then looks at `sleepers_`. Whichever holds the mutex later sees
/// what the other did before.
class PoolCore : public std::enable_shared_from_this<PoolCore> {
public:
    explicit PoolCore(std::size_t workers) {
        for (std::size_t i = 0; i < workers; ++i) workers_.push_back(std::make_unique<Worker>(*this));
    }

    /// Starts the workers, or throws with none running.
    void start();

    /// Queues `task`. Throws: UsageError after `close`; then the task is not touched.
    void submit(PoolTask& task) {
        Worker* const worker = Worker::current();
        const bool own = worker != nullptr && &worker->pool() == this;
        task.submitter = own ? worker->run_number() : 0;
        if (!(own ? worker->tasks : inbox_).put(task))
            throw UsageError(
                "the pool is closed and takes no more calls: make them before close(), or in another pool");
        wake_for_work();
    }

    void close();
    void terminate();
    void join();

    [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
    [[nodiscard]] bool terminated() const noexcept { return terminated_.load(std::memory_order_acquire); }
    [[nodiscard]] std::size_t size() const noexcept { return workers_.size(); }
    [[nodiscard]] std::size_t idle() const noexcept { return sleepers_.load(std::memory_order_acquire); }
    [[nodiscard]] StopToken stop_token() const noexcept { return stop_.get_token(); }

    void worker_blocks();
    void worker_unblocks() noexcept { blocked_.fetch_sub(1, std::memory_order_relaxed); }

private:
    static constexpr std::size_t spare_limit = 32;

    void work(Worker& self);
    void work_as_spare(Worker& self);
    PoolTask* find(Worker& self) noexcept;
    void rest(Worker& self);
    void run_thread_of(Worker& worker, const std::string& name, void (PoolCore::*loop)(Worker&));

    void wake_for_work() {
        // Relaxed: ordered by the queue's mutex, see above.
        if (sleepers_.load(std::memory_order_relaxed) != 0)
            wake_sleeper();
        else if (blocked_.load(std::memory_order_relaxed) > standing_in_.load(std::memory_order_relaxed))
            stand_in();
    }
    /// False where none sleeps.
    bool wake_sleeper() {
        bool any = false;
        parking::wake_one(&sleepers_, [&](parking::Sleepers sleepers) {
            any = sleepers != parking::Sleepers::none;
            if (any) sleepers_.fetch_sub(1, std::memory_order_relaxed);
            return parking::Result::woken;
        });
        return any;
    }
    void stand_in();

    template <class Function>
    void for_each_queue(Function function) {
        function(inbox_);
        for (const auto& worker : workers_) function(worker->tasks);
        // Acquire pairs with the release in stand_in: who sees the count sees the spares.
        const std::size_t count = spare_count_.load(std::memory_order_acquire);
        for (std::size_t i = 0; i < count; ++i) function(spares_[i]->tasks);
    }
    [[nodiscard]] bool has_work() {
        bool work = false;
        for_each_queue([&](const TaskQueue& queue) { work = work || !queue.empty(); });
        return work;
    }
    [[nodiscard]] bool seems_to_have_work() {
        bool work = false;
        for_each_queue([&](const TaskQueue& queue) { work = work || !queue.seems_empty(); });
        return work;
    }

    TaskQueue inbox_;  // what comes from outside
    std::vector<std::unique_ptr<Worker>> workers_;
    std::atomic<std::size_t> sleepers_{0};  // workers that sleep and were not picked; changed under its parking bucket
    std::atomic<bool> closed_{false};
    std::atomic<bool> terminated_{false};
    StopSource stop_;

    // Spares run tasks while workers are blocked in a wait: as many as are blocked, one of them each.
    std::atomic<std::size_t> blocked_{0};
    std::atomic<std::size_t> standing_in_{0};  // written under spares_mutex_
    std::atomic<std::size_t> spare_count_{0};  // written under spares_mutex_
    std::mutex spares_mutex_;                  // guards the rest, the closing of queues, and the spares' own fields
    std::unique_ptr<Worker> spares_[spare_limit];
    Worker* at_rest_ = nullptr;
    bool dismissed_ = false;  // no spare is needed any more
};

inline void Worker::run_taken(PoolTask& task, bool descends) noexcept {
    if (pool_.terminated())
        task.discard();
    else
        run_nested(task, descends);
    task.release();
}

inline void Worker::run_nested(PoolTask& task, bool descends) noexcept {
    static constinit std::atomic<std::uint64_t> last_block{0};
    static constinit thread_local std::uint64_t last_run = 0;
    constexpr std::uint64_t block = 1024;
    // Numbers that no other run has, taken by the thousand.
    if (last_run % block == 0) last_run = last_block.fetch_add(block, std::memory_order_relaxed);
    const std::uint64_t outer_run = std::exchange(run_, ++last_run);
    const std::uint64_t outer_floor = std::exchange(floor_, tasks.end());
    const bool descendant = descends || task.submitter == outer_run;
    task.run();
    const bool left_tasks = tasks.end() > floor_;
    run_ = outer_run;
    floor_ = left_tasks && !descendant ? tasks.end() : outer_floor;
}

inline void Worker::help(FutureStateBase& state, Deadline deadline) {
    if (auto* const awaited = static_cast<PoolTask*>(state.task_in(&pool_))) {
        if (pool_.terminated())
            awaited->discard();
        else if (!awaited->begun())
            run_nested(*awaited, false);
        // Its place in the queue, if it is in this one, is most likely the last.
        while (PoolTask* const done = tasks.take_newest_begun(floor_)) done->release();
    }
    while (!state.ready() && !deadline.has_passed()) {
        PoolTask* const task = tasks.take_newest(floor_);
        if (task == nullptr) return;
        run_taken(*task, true);
    }
}

inline void Worker::sleep_begins() noexcept { pool_.worker_blocks(); }
inline void Worker::sleep_ends() noexcept { pool_.worker_unblocks(); }

inline void PoolCore::start() {
    try {
        for (std::size_t i = 0; i < workers_.size(); ++i)
            run_thread_of(*workers_[i], "plait-pool-" + std::to_string(i), &PoolCore::work);
    } catch (...) {
        close();
        join();
        throw;
    }
}

inline void PoolCore::run_thread_of(Worker& worker, const std::string& name, void (PoolCore::*loop)(Worker&)) {
    worker.thread.emplace(ThreadOptions{.name = name}, [self = shared_from_this(), &worker, loop] {
        Worker::current() = &worker;
        wait_helper() = &worker;
        ((*self).*loop)(worker);
        // Before this thread's share of the core goes, and with it, perhaps, the worker.
        wait_helper() = nullptr;
        Worker::current() = nullptr;
    });
    try {
        worker.thread->start();
    } catch (...) {
        worker.thread.reset();  // what it was to run keeps this core alive
        throw;
    }
}

inline PoolTask* PoolCore::find(Worker& self) noexcept {
    if (PoolTask* const task = self.tasks.take_newest(0)) return task;
    if (PoolTask* const task = inbox_.take_share(workers_.size(), self.tasks)) return task;
    PoolTask* stolen = nullptr;
    for_each_queue([&](TaskQueue& queue) {
        if (stolen == nullptr) stolen = queue.take_oldest();
    });
    return stolen;
}

inline void PoolCore::work(Worker& self) {
    for (;;) {
        while (PoolTask* const task = find(self)) self.run_taken(*task, false);
        if (!closed() && spin_until([this] { return seems_to_have_work() || closed(); })) continue;
        bool last_look = false;
        parking::sleep(&sleepers_, Deadline::never(), [&] {
            sleepers_.fetch_add(1, std::memory_order_relaxed);
            const bool was_closed = closed();  // asked before the queues: then nothing is put into them any more
            const bool work = has_work();
            last_look = was_closed && !work;
            if (was_closed || work) sleepers_.fetch_sub(1, std::memory_order_relaxed);
            return !was_closed && !work;
        });
        if (last_look) return;
    }
}

inline void PoolCore::worker_blocks() {
    blocked_.fetch_add(1, std::memory_order_relaxed);
    // A task that was put before is seen here; whoever puts one from now on sees that this worker is blocked.
    if (has_work()) wake_for_work();
}

inline void PoolCore::stand_in() {
    const std::scoped_lock lock{spares_mutex_};
    if (dismissed_ || standing_in_.load(std::memory_order_relaxed) >= blocked_.load(std::memory_order_relaxed)) return;
    if (at_rest_ != nullptr) {
        Worker& spare = *std::exchange(at_rest_, at_rest_->next_at_rest);
        spare.stands_in = true;
        standing_in_.fetch_add(1, std::memory_order_relaxed);
        spare.called.set();
        return;
    }
    const std::size_t count = spare_count_.load(std::memory_order_relaxed);
    if (count == spare_limit) return;
    try {
        if (spares_[count] == nullptr) spares_[count] = std::make_unique<Worker>(*this);
        if (closed()) spares_[count]->tasks.close();
        run_thread_of(*spares_[count], "plait-spare-" + std::to_string(count), &PoolCore::work_as_spare);
        standing_in_.fetch_add(1, std::memory_order_relaxed);
        spare_count_.store(count + 1, std::memory_order_release);
    } catch (const std::exception&) {
        // No thread to be had: the tasks wait until a worker is free again.
    }
}

inline void PoolCore::work_as_spare(Worker& self) {
    for (;;) {
        // Relaxed: a count that is old by a moment lets one task more run, or one less.
        while (standing_in_.load(std::memory_order_relaxed) <= blocked_.load(std::memory_order_relaxed)) {
            PoolTask* const task = find(self);
            if (task == nullptr) break;
            self.run_taken(*task, false);
        }
        rest(self);
        const std::scoped_lock lock{spares_mutex_};
        if (!self.stands_in) return;
    }
}

/// Until this spare is needed again, or dismissed.
inline void PoolCore::rest(Worker& self) {
    {
        const std::scoped_lock lock{spares_mutex_};
        standing_in_.fetch_sub(1, std::memory_order_relaxed);
        self.stands_in = false;
        if (dismissed_) return;
        self.called.clear();
        self.next_at_rest = at_rest_;
        at_rest_ = &self;
    }
    // Who put a task while this spare still counted as standing in has called nobody.
    if (has_work()) wake_for_work();
    self.called.wait();
}

inline void PoolCore::close() {
    {
        const std::scoped_lock lock{spares_mutex_};
        for_each_queue([](TaskQueue& queue) { queue.close(); });
        // Release pairs with the acquire in closed(): who sees it finds every queue closed.
        closed_.store(true, std::memory_order_release);
    }
    // Not by the count: only the parking bucket orders this after the question of a worker that is about to sleep.
    while (wake_sleeper()) {
    }
}

inline void PoolCore::terminate() {
    terminated_.store(true, std::memory_order_release);
    close();
    for_each_queue([](TaskQueue& queue) {
        while (PoolTask* const task = queue.take_oldest()) {
            task->discard();
            task->release();
        }
    });
    stop_.request_stop();
}

inline void PoolCore::join() {
    // A destructor may run in one of the pool's own tasks: that thread ends by itself, after the task.
    const Worker* const self = Worker::current();
    const auto join_worker = [self](Worker& worker) {
        if (&worker != self && worker.thread && worker.thread->ident() != 0) worker.thread->join();
    };
    for (const auto& worker : workers_) join_worker(*worker);
    {
        const std::scoped_lock lock{spares_mutex_};
        dismissed_ = true;
        for (Worker* spare = std::exchange(at_rest_, nullptr); spare != nullptr;) {
            Worker* const next = spare->next_at_rest;
            spare->called.set();
            spare = next;
        }
    }
    const std::size_t count = spare_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) join_worker(*spares_[i]);
}

}  // namespace plait::inline PLAIT_ABI::threading::detail
