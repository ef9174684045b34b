// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/pool/call.hpp>
#include <plait/multiprocessing/pool/callbacks.hpp>
#include <plait/multiprocessing/pool/crew.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What becomes of the calls on a pool: a queue of batches, and a thread that gives them to idle workers, takes their
/// results, and settles what a dead worker leaves.
///
/// Why no call hangs, whatever dies and whenever: an item is in exactly one place, the queue or the batch of one worker.
/// A worker's batch is settled by its results, or by the maker's report of its death, which the kernel gives for every
/// death; the end of the maker itself is the end of its channel, and counts as the death of all its workers. On a death
/// all results that are whole are read first; then the item whose begin mark stands without a result fails, and the rest,
/// which nobody began, goes back to the front of the queue. So an item is begun once at most, and told of exactly once.
class Engine {
public:
    explicit Engine(CrewOptions options) : crew_{std::move(options)} {
        publish();
        const os::BlockSignals blocked;  // they are for the program's own threads
        thread_ = std::thread([this] { run(); });
    }
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine() {
        close();
        static_cast<void>(join(Timeout::never()));
        end_threads();  // a callback that destroys the pool has not come so far
    }

    /// Numbers the items and queues them. Throws: UsageError after `close`, and what broke the pool.
    void submit(std::vector<Batch> batches);
    /// Ends the items of this sink that run, and forgets those that wait: nobody is told of them any more.
    void cancel(ItemSink& sink);

    void close() { set(closed_); }
    void terminate() { set(terminated_); }
    /// Waits until all is settled, no process is left, and the callbacks have run; from a callback, all but that one.
    /// Throws: UsageError before `close`.
    [[nodiscard]] bool join(Timeout timeout);

    [[nodiscard]] std::size_t processes() const noexcept { return crew_.options().processes; }
    /// All of them: where one is being made it waits for that, a second at most.
    [[nodiscard]] std::vector<WorkerInfo> workers();
    Callbacks& callbacks() noexcept { return callbacks_; }

private:
    void end_threads() {
        const std::scoped_lock lock{join_mutex_};
        if (thread_.joinable()) thread_.join();
        callbacks_.finish();
    }
    void set(bool& flag) {
        {
            const std::scoped_lock lock{mutex_};
            flag = true;
        }
        waker_.wake();
    }

    // All of these run on the thread of the engine.
    void run();
    void take_requests();
    void dispatch();
    void give(CrewMember& member, Batch batch);
    void wait();
    void look_after(CrewMember& member);
    void write_output(CrewMember& member);
    void read_results(CrewMember& member);
    void read_outbox(CrewMember& member);
    void accept_all(CrewMember& member);
    [[nodiscard]] static bool is_expected(const CrewMember& member, const Frame& frame) noexcept;
    void accept(CrewMember& member, const Frame& frame, Decoder payload);
    void settle_death(CrewMember& member);
    void settle_end_of_maker();
    void break_with(std::exception_ptr cause);
    void fail_everything(const std::exception_ptr& exception);
    void publish();
    void retire_all();
    [[nodiscard]] bool all_settled() const;
    [[nodiscard]] plait::detail::Deadline next_deadline() const;

    Crew crew_;
    std::deque<Batch> queue_;  // what no worker has
    std::vector<os::PollItem> poll_items_;
    std::size_t published_ = 0;     // how many workers infos_ tells of
    unsigned deaths_at_start_ = 0;  // one after the other, without a worker that came up between
    unsigned makers_lost_ = 0;      // likewise
    bool closing_ = false;
    bool terminating_ = false;
    bool is_broken_ = false;

    mutable std::mutex mutex_;  // guards what the callers share with the thread:
    std::vector<Batch> submitted_;
    std::vector<SinkPointer> cancelled_;
    std::uint64_t next_task_ = 0;
    bool closed_ = false;
    bool terminated_ = false;
    std::exception_ptr broken_;
    std::vector<WorkerInfo> infos_;

    os::Waker waker_;
    Callbacks callbacks_;
    std::atomic<bool> ended_{false};
    std::mutex join_mutex_;
    std::thread thread_;
};

/// What is told of a worker that ended while it ran a task.
std::exception_ptr describe_death(const CrewMember& member, const Batch& batch);

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

#include <plait/multiprocessing/pool/engine_thread.hpp>
