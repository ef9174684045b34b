// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/threading/detail/inbox.hpp>
#include <plait/threading/event.hpp>
#include <plait/threading/thread.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading::detail {

class PoolCore;
class Worker;

inline std::exception_ptr pool_terminated() noexcept {
    try {
        throw PoolTerminatedError("the pool was terminated before this call began: it did not run");
    } catch (...) {
        return std::current_exception();  // should there be no memory for it, that is the error
    }
}

/// A part of a call that runs beside the others while the call waits for it, so it may stand on the call's stack.
class Fork : public PoolTask {
public:
    void discard() noexcept final;
    [[nodiscard]] bool begun() const noexcept final { return false; }
    void release() noexcept final {
        // Release pairs with the acquire in ended. Once it says that it has ended the fork may be gone, and something else
        // sleep in its place: so it says that to a sleeper only while nobody can begin to sleep there.
        std::uint8_t state = unwatched;
        if (state_.compare_exchange_strong(state, has_ended, std::memory_order_release, std::memory_order_relaxed))
            return;
        parking::wake_all(this, [this] { state_.store(has_ended, std::memory_order_release); });
    }

    [[nodiscard]] bool ended() const noexcept { return state_.load(std::memory_order_acquire) == has_ended; }
    /// Sleeps until it has ended.
    void sleep() noexcept {
        for (;;) {
            std::uint8_t state = unwatched;
            // Acquire on both: the end may have come.
            if (!state_.compare_exchange_strong(state, awaited, std::memory_order_acquire, std::memory_order_acquire) &&
                state == has_ended)
                return;
            parking::sleep(this, Deadline::never(), [this] { return !ended(); });
        }
    }

protected:
    ~Fork() = default;
    /// To be called by `run`, first: where descendants of this are to be found.
    void begins_in(Worker& runner) noexcept;

    std::exception_ptr error_;

private:
    friend class Worker;
    enum State : std::uint8_t { unwatched, awaited, has_ended };

    std::atomic<std::uint8_t> state_{unwatched};  // a State: `awaited` by who sleeps, `has_ended` by who ran it
    std::atomic<Worker*> runner_{nullptr};        // who stole it
    std::int64_t base_ = 0;   // from there on its descendants stand in the runner's queue; written before runner_
    std::int64_t place_ = 0;  // where it stands in the queue of who made it, or `unqueued`
    static constexpr std::int64_t unqueued = -1;
};

/// One thread of a pool, with the queue of what its tasks submitted.
///
/// A task that waits for a future keeps its worker's stack but not its worker: the worker runs the awaited task itself,
/// or what the waiting task and its descendants have submitted here, and nothing else. Those stand in this queue above
/// `floor_`: the queue's end when the waiting task began, for only this thread puts into it. A stranger, run here because
/// it was awaited, leaves nothing there: what it submitted goes to the inbox.
///
/// A task that waits for a fork which another worker has stolen takes from that worker's queue what the fork's run has
/// put there: its own descendants again. (Wagner and Calder, "Leapfrogging", PPoPP 1993.)
class Worker final : public WaitHelper {
public:
    explicit Worker(PoolCore& pool) noexcept : pool_{pool} {}

    /// Runs what was taken from a queue.
    void run_taken(PoolTask& task, bool descends) noexcept;

    /// Runs what the task on this stack waits for and nobody has begun.
    void run_awaited(PoolTask& task) noexcept { run_nested(task, false); }

    /// Lets others take `fork`, if they are quicker, until it is joined. The last one forked is joined first.
    void fork(Fork& fork) noexcept;
    /// Has `call()` run as a task of its own, as far as waiting in it is concerned.
    template <class Call>
    void run_apart(Call call) noexcept {
        const std::int64_t outer_floor = std::exchange(floor_, tasks.end());
        call();
        floor_ = outer_floor;
    }
    /// True where nobody took `fork`, and the caller is to run it; else it has ended.
    [[nodiscard]] bool join(Fork& fork) noexcept;

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

    TaskDeque tasks;
    std::optional<Thread> thread;
    // Of a spare: its place in the list of those at rest, and how it is called from there. Guarded by the core's mutex.
    Worker* next_at_rest = nullptr;
    bool stands_in = true;
    Event called;

private:
    void run_nested(PoolTask& task, bool descends) noexcept;
    void wait_for(Fork& fork) noexcept;

    PoolCore& pool_;
    std::uint64_t run_ = 0;                           // the task run on top of this thread's stack; 0 for none
    std::int64_t floor_ = 0;                          // from there on its descendants' tasks stand in `tasks`
    int strangers_ = 0;                               // how many strangers run on this stack, above the lowest task
    std::atomic<std::uint32_t> stranger_changes_{0};  // odd while there is one
};

/// All of a pool but its vocabulary: its workers, what they run, and how they sleep.
///
/// Who sleeps misses nothing. A worker that finds nothing first counts itself out of `searching_`, then into `sleepers_`,
/// and then looks into every queue; who submits puts the task first, and then looks at both counts. All these are in the
/// one order of seq_cst operations (the inbox, by its lock), so whichever comes later sees what the other did before.
/// While a worker searches, nobody is woken: it finds the task, or it finds it in its last look before it sleeps. And
/// the last one that searches wakes another when it has found a task and there are more.
///
/// The end has come when the pool is closed and every worker sleeps or is about to, no spare runs anything and no queue
/// holds anything: then nothing can be put any more. The worker that sees it, in its last look, tells the others.
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
        check_open();
        if (worker != nullptr && &worker->pool() == this) {
            task.submitter = worker->run_number();
            worker->tasks.put(&task);
        } else {
            task.submitter = 0;
            if (!inbox_.put(task)) throw_closed();
        }
        wake_for_work();
    }
    /// Throws what `submit` would throw.
    void check_open() const {
        if (is_of_parent())
            throw UsageError(
                "this pool's threads are in the process that forked this one: make a pool of its own here");
        if (closed()) throw_closed();
    }
    /// Makes a Task and queues it, as `submit`. Makes it in the inbox's pages, so that it must be one that is gone once it
    /// was run, and that can be made under a lock.
    template <class Task, class... Args>
    void emplace(Args&&... args) {
        check_open();
        if (!inbox_.emplace<Task>(std::forward<Args>(args)...)) throw_closed();
        wake_for_work();
    }
    /// For what a worker has taken and may not run where it is.
    void put_back(PoolTask& task) noexcept {
        inbox_.put_back(task);
        wake_for_work();
    }
    void wake_for_work() {
        sync_point();
        if (searching_.load(std::memory_order_seq_cst) == 0 && sleepers_.load(std::memory_order_seq_cst) != 0)
            wake_sleeper();
        else if (blocked_.load(std::memory_order_seq_cst) > standing_in_.load(std::memory_order_seq_cst))
            stand_in();
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
    void worker_unblocks() noexcept { blocked_.fetch_sub(1, std::memory_order_seq_cst); }

private:
    static constexpr std::size_t spare_limit = 32;

    [[noreturn]] static void throw_closed() {
        throw UsageError("the pool is closed and takes no more calls: make them before close(), or in another pool");
    }
    void work(Worker& self);
    void work_as_spare(Worker& self);
    PoolTask* find(Worker& self) noexcept;
    bool sleep();
    void rest(Worker& self);
    void run_thread_of(Worker& worker, const std::string& name, void (PoolCore::*loop)(Worker&));
    void wake_sleeper();
    void wake_all_sleepers();
    void stand_in();
    void dismiss_spares();
    /// Whether this process is the child of a fork, where the pool has no threads, and its locks may be held for ever.
    [[nodiscard]] bool is_of_parent() const noexcept { return generation_ != ThreadRegistry::instance().generation(); }

    template <class Function>
    void for_each_deque(Function function) {
        for (const auto& worker : workers_) function(worker->tasks);
        // Pairs with stand_in: who sees the count sees the spares.
        const std::size_t count = spare_count_.load(std::memory_order_seq_cst);
        for (std::size_t i = 0; i < count; ++i) function(spares_[i]->tasks);
    }
    [[nodiscard]] bool has_work() {
        bool work = !inbox_.empty();
        for_each_deque([&](const TaskDeque& tasks) { work = work || !tasks.empty(); });
        return work;
    }
    [[nodiscard]] bool seems_to_have_work() {
        bool work = !inbox_.seems_empty();
        for_each_deque([&](const TaskDeque& tasks) { work = work || tasks.seems_to_have(0); });
        return work;
    }
    /// Whether nothing runs, if so many workers sleep: asked under the parking bucket of `sleepers_`.
    [[nodiscard]] bool all_idle(std::size_t sleepers) const noexcept {
        return sleepers + leaving_.load(std::memory_order_seq_cst) >= running_.load(std::memory_order_seq_cst) &&
               standing_in_.load(std::memory_order_seq_cst) <= leaving_spares_.load(std::memory_order_seq_cst);
    }

    const std::uint32_t generation_ = ThreadRegistry::instance().generation();
    Inbox inbox_;  // what comes from outside
    std::vector<std::unique_ptr<Worker>> workers_;
    std::atomic<std::size_t> running_{0};    // workers whose threads were started
    std::atomic<std::size_t> searching_{0};  // workers that are awake and look for a task
    std::atomic<std::size_t> sleepers_{0};   // workers that sleep and were not picked; changed under its parking bucket
    std::atomic<bool> closed_{false};
    std::atomic<bool> ended_{false};  // written under the parking bucket of sleepers_
    std::atomic<bool> terminated_{false};
    StopSource stop_;

    // Spares run tasks while workers are blocked in a wait: as many as are blocked, one of them each.
    std::atomic<std::size_t> blocked_{0};
    std::atomic<std::size_t> standing_in_{0};  // written under spares_mutex_
    std::atomic<std::size_t> spare_count_{0};  // written under spares_mutex_
    std::atomic<std::size_t> leaving_{0};      // workers in whose tasks the pool is destroyed: they never sleep again
    std::atomic<std::size_t> leaving_spares_{0};  // the same, of spares
    std::mutex spares_mutex_;                     // guards the rest, and the spares' own fields
    std::unique_ptr<Worker> spares_[spare_limit];
    Worker* at_rest_ = nullptr;
    bool dismissed_ = false;  // no spare is needed any more
};

inline void Fork::discard() noexcept { error_ = pool_terminated(); }

inline void Fork::begins_in(Worker& runner) noexcept {
    base_ = runner.tasks.end();
    // Release pairs with the acquire in wait_for: who sees the runner sees the base.
    sync_point();
    runner_.store(&runner, std::memory_order_release);
}

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
    const std::int64_t outer_floor = std::exchange(floor_, tasks.end());
    const bool stranger = outer_run != 0 && !descends && task.submitter != outer_run;
    // seq_cst here and in wait_for: a thief of what the stranger puts sees that it runs, or has run, meanwhile.
    if (stranger && strangers_++ == 0) stranger_changes_.fetch_add(1, std::memory_order_seq_cst);
    task.run();
    if (stranger) {
        while (PoolTask* const left = tasks.take(floor_)) pool_.put_back(*left);
        if (--strangers_ == 0) stranger_changes_.fetch_add(1, std::memory_order_seq_cst);
    }
    run_ = outer_run;
    floor_ = outer_floor;
}

inline void Worker::fork(Fork& fork) noexcept {
    fork.submitter = run_;
    const std::int64_t place = tasks.end();
    try {
        tasks.put(&fork);
    } catch (const std::bad_alloc&) {
        fork.place_ = Fork::unqueued;  // nobody can take it: whoever joins it runs it
        return;
    }
    fork.place_ = place;
    pool_.wake_for_work();
}

inline bool Worker::join(Fork& fork) noexcept {
    if (fork.place_ == Fork::unqueued) return true;
    // What stands above it was left by what ran since: descendants of the task that forked.
    while (PoolTask* const task = tasks.take(fork.place_)) {
        if (task == &fork) return true;
        run_taken(*task, true);
    }
    if (!fork.ended()) wait_for(fork);
    return false;
}

inline void Worker::wait_for(Fork& fork) noexcept {
    // Acquire pairs with the release in begins_in. It is null in the moment between the theft and the beginning.
    const auto runner = [&] { return fork.runner_.load(std::memory_order_acquire); };
    const auto has_descendants = [&] {
        // Not while a stranger runs there: whose they are cannot be told then.
        return runner() != nullptr && runner()->tasks.seems_to_have(fork.base_) &&
               runner()->stranger_changes_.load(std::memory_order_seq_cst) % 2 == 0;
    };
    for (;;) {
        if (!spin_until([&] { return fork.ended() || has_descendants(); })) {
            pool_.worker_blocks();
            fork.sleep();
            pool_.worker_unblocks();
        }
        if (fork.ended()) return;
        const std::atomic<std::uint32_t>& strangers = runner()->stranger_changes_;
        const std::uint32_t before = strangers.load(std::memory_order_seq_cst);
        if (before % 2 != 0) continue;
        sync_point();
        PoolTask* const task = runner()->tasks.steal(fork.base_);
        if (task == nullptr) continue;
        sync_point();
        // If the fork has not ended even now, what was stolen stood there during its run, and if no stranger has run
        // meanwhile, it is the fork's descendant. (Had the runner put it later, or a stranger, we would see that: who
        // reads the place of what was put sees what was before.)
        if (!fork.ended() && strangers.load(std::memory_order_seq_cst) == before)
            run_taken(*task, true);
        else
            pool_.put_back(*task);
    }
}

inline void Worker::help(FutureStateBase& state, Deadline deadline) {
    if (auto* const awaited = static_cast<PoolTask*>(state.task_in(&pool_))) {
        if (pool_.terminated())
            awaited->discard();
        else if (!awaited->begun())
            run_awaited(*awaited);
        // Its place in the queue, if it is in this one, is most likely the last.
        while (PoolTask* const task = tasks.take(floor_)) {
            if (!task->begun()) {
                tasks.put(task);  // there is room: it stood there
                break;
            }
            task->release();
        }
    }
    while (!state.ready() && !deadline.has_passed()) {
        PoolTask* const task = tasks.take(floor_);
        if (task == nullptr) return;
        run_taken(*task, true);
    }
}

inline void Worker::sleep_begins() noexcept { pool_.worker_blocks(); }
inline void Worker::sleep_ends() noexcept { pool_.worker_unblocks(); }

inline void PoolCore::start() {
    try {
        for (std::size_t i = 0; i < workers_.size(); ++i) {
            running_.fetch_add(1, std::memory_order_seq_cst);
            try {
                run_thread_of(*workers_[i], "plait-pool-" + std::to_string(i), &PoolCore::work);
            } catch (...) {
                running_.fetch_sub(1, std::memory_order_seq_cst);
                throw;
            }
        }
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
    if (PoolTask* const task = self.tasks.take(0)) return task;
    if (PoolTask* const task = inbox_.take_share(workers_.size(), self.tasks)) return task;
    PoolTask* stolen = nullptr;
    for_each_deque([&](TaskDeque& tasks) {
        if (stolen == nullptr) stolen = tasks.steal();
    });
    return stolen;
}

inline void PoolCore::work(Worker& self) {
    bool searching = false;
    for (;;) {
        if (PoolTask* const task = find(self)) {
            if (std::exchange(searching, false) && searching_.fetch_sub(1, std::memory_order_seq_cst) == 1 &&
                has_work())
                wake_for_work();
            self.run_taken(*task, false);
            continue;
        }
        if (!std::exchange(searching, true)) searching_.fetch_add(1, std::memory_order_seq_cst);
        if (spin_until([this] { return seems_to_have_work(); })) continue;
        searching_.fetch_sub(1, std::memory_order_seq_cst);
        sync_point();
        searching = sleep();
        if (ended_.load(std::memory_order_acquire)) return;
    }
}

/// Returns whether it slept, and was woken to search: who woke it has counted it.
inline bool PoolCore::sleep() {
    bool last = false;
    const auto result = parking::sleep(&sleepers_, Deadline::never(), [&] {
        const std::size_t sleepers = sleepers_.fetch_add(1, std::memory_order_seq_cst) + 1;
        sync_point();
        const bool was_closed = closed();
        const bool ended = ended_.load(std::memory_order_relaxed);
        const bool work = has_work();
        last = was_closed && !ended && !work && all_idle(sleepers);
        if (!work && !last && !ended) return true;
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        // Release pairs with the acquire in work: this thread's, and that of the others when they wake.
        if (last) ended_.store(true, std::memory_order_release);
        return false;
    });
    if (last) {
        wake_all_sleepers();
        dismiss_spares();
    }
    return result == parking::Result::woken;
}

inline void PoolCore::wake_sleeper() {
    parking::wake_one(&sleepers_, [&](parking::Sleepers sleepers) {
        if (sleepers != parking::Sleepers::none) {
            searching_.fetch_add(1, std::memory_order_seq_cst);
            sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        }
        return parking::Result::woken;
    });
}

inline void PoolCore::wake_all_sleepers() {
    parking::wake_all(&sleepers_, [&] {
        searching_.fetch_add(sleepers_.exchange(0, std::memory_order_seq_cst), std::memory_order_seq_cst);
    });
}

inline void PoolCore::worker_blocks() {
    blocked_.fetch_add(1, std::memory_order_seq_cst);
    sync_point();
    // A task that was put before is seen here; whoever puts one from now on sees that this worker is blocked.
    if (has_work()) wake_for_work();
}

inline void PoolCore::stand_in() {
    const std::scoped_lock lock{spares_mutex_};
    if (dismissed_ || standing_in_.load(std::memory_order_relaxed) >= blocked_.load(std::memory_order_relaxed)) return;
    if (at_rest_ != nullptr) {
        Worker& spare = *std::exchange(at_rest_, at_rest_->next_at_rest);
        spare.stands_in = true;
        standing_in_.fetch_add(1, std::memory_order_seq_cst);
        spare.called.set();
        return;
    }
    const std::size_t count = spare_count_.load(std::memory_order_relaxed);
    if (count == spare_limit) return;
    // Counted before it can run: the end does not come while it does, and others find what it puts.
    standing_in_.fetch_add(1, std::memory_order_seq_cst);
    try {
        if (spares_[count] == nullptr) spares_[count] = std::make_unique<Worker>(*this);
        spare_count_.store(count + 1, std::memory_order_seq_cst);
        run_thread_of(*spares_[count], "plait-spare-" + std::to_string(count), &PoolCore::work_as_spare);
    } catch (const std::exception&) {
        // No thread to be had: the tasks wait until a worker is free again.
        spare_count_.store(count, std::memory_order_seq_cst);
        standing_in_.fetch_sub(1, std::memory_order_seq_cst);
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
    bool dismissed = false;
    {
        const std::scoped_lock lock{spares_mutex_};
        standing_in_.fetch_sub(1, std::memory_order_seq_cst);
        self.stands_in = false;
        dismissed = dismissed_;
        if (!dismissed) {
            self.called.clear();
            self.next_at_rest = at_rest_;
            at_rest_ = &self;
        }
    }
    // Who put a task while this spare still counted as standing in has called nobody, and of a closed pool it may have
    // been the last that ran anything.
    if (closed()) wake_all_sleepers();
    if (has_work()) wake_for_work();
    if (!dismissed) self.called.wait();
}

inline void PoolCore::close() {
    if (is_of_parent()) return;
    sync_point();
    inbox_.close();
    sync_point();
    // Release pairs with the acquire in closed(): who sees it finds the inbox closed.
    closed_.store(true, std::memory_order_release);
    wake_all_sleepers();
}

inline void PoolCore::terminate() {
    if (is_of_parent()) return;
    terminated_.store(true, std::memory_order_release);
    close();
    const auto discard = [](PoolTask& task) {
        task.discard();
        task.release();
    };
    while (PoolTask* const task = inbox_.take()) discard(*task);
    for_each_deque([&](TaskDeque& tasks) {
        while (!tasks.empty())
            if (PoolTask* const task = tasks.steal()) discard(*task);
    });
    stop_.request_stop();
}

inline void PoolCore::join() {
    if (is_of_parent()) return;
    // A destructor may run in one of the pool's own tasks: that thread ends by itself, after the task, and the others
    // do not wait for it.
    const Worker* const self = Worker::current();
    const bool own = self != nullptr && &self->pool() == this;
    const bool spare =
        own && std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) { return worker.get() == self; });
    if (own) {
        (spare ? leaving_spares_ : leaving_).fetch_add(1, std::memory_order_seq_cst);
        wake_all_sleepers();
    }
    const auto join_worker = [self](Worker& worker) {
        if (&worker != self && worker.thread && worker.thread->ident() != 0) worker.thread->join();
    };
    for (const auto& worker : workers_) join_worker(*worker);
    // The last worker has dismissed them. If that is this one it does so after this call, and their threads end by
    // themselves: each has a share of this core.
    if (!ended_.load(std::memory_order_acquire) && running_.load(std::memory_order_seq_cst) != 0) return;
    const std::size_t count = spare_count_.load(std::memory_order_seq_cst);
    for (std::size_t i = 0; i < count; ++i) join_worker(*spares_[i]);
}

/// Nothing is left to run: those at rest end, and so will who still stands in, in a call that destroyed the pool.
inline void PoolCore::dismiss_spares() {
    const std::scoped_lock lock{spares_mutex_};
    dismissed_ = true;
    for (Worker* each = std::exchange(at_rest_, nullptr); each != nullptr;) {
        Worker* const next = each->next_at_rest;
        each->called.set();
        each = next;
    }
}

}  // namespace plait::inline PLAIT_ABI::threading::detail
