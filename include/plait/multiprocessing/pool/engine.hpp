// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/report.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/cpu_count.hpp>
#include <plait/multiprocessing/pool/call.hpp>
#include <plait/multiprocessing/pool/callbacks.hpp>
#include <plait/multiprocessing/pool/crew.hpp>
#include <plait/multiprocessing/pool/harvest.hpp>
#include <plait/os/fork_mark.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What becomes of the calls on a pool: a queue of batches, which go to the workers, and the replies that come back.
///
/// Dispatch is a role and not a thread. Whoever has the lock may give batches to workers and take their replies: a caller
/// that submits gives at once, and a thread that waits for a result takes them for all while it waits (the attendant; one
/// at a time). So a round trip takes two wakes, or none where both look out for each other. A thread in the background
/// takes the replies while nobody attends, and sees to deaths, time limits and the end.
///
/// Why no call hangs, whatever dies and whenever. An item is in exactly one place: the queue, the batches of one worker, or
/// a Harvest on its way to its sink. A worker's batches are settled by its replies, or by the maker's report of its death,
/// which the kernel gives for every death; the end of the maker itself is the end of its channel, and counts as the death
/// of all its workers. On a death all replies that are whole are taken first; then the item whose begin mark stands without
/// a reply fails, and the rest, which nobody began, goes back to the front of the queue. So an item is begun once at most,
/// and told of exactly once. That somebody looks: each busy worker's `listener` says who sleeps, the attendant or the
/// background; whoever goes to sleep sets it in all of them and looks at all rings once more (see Slot), and an attendant
/// that leaves does so for the background. What makes a future ready elsewhere wakes the attendant, too.
class Engine {
public:
    explicit Engine(CrewOptions options) : crew_{std::move(options)} {
        watched_.reserve(processes());
        graveyard_.reserve(4 * processes());
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

    /// Numbers the items of `call` and begins to give them out. Throws: UsageError after `close`, and what broke the pool.
    void submit(std::shared_ptr<Call> call);
    /// Ends the items of this sink that run, and forgets those that wait: nobody is told of them any more.
    void cancel(ItemSink& sink) { withdraw(sink, true); }
    /// Forgets those that wait; what has begun goes on.
    void forget(ItemSink& sink) { withdraw(sink, false); }

    /// A thread that attends from now on, where no other does.
    class Attendance {
    public:
        explicit Attendance(Engine& engine) : engine_{engine}, role_{engine.begin_attendance()} {}
        Attendance(const Attendance&) = delete;
        Attendance& operator=(const Attendance&) = delete;
        ~Attendance() {
            if (role_ == Role::begun) engine_.end_attendance();
        }
        /// False where another thread attends.
        explicit operator bool() const noexcept { return role_ != Role::of_another; }

    private:
        friend class Engine;
        enum class Role { begun, had_already, of_another };

        Engine& engine_;
        const Role role_;
    };
    /// For a thread that waits until `ready()`: takes replies for all until then, or the deadline, unless another thread
    /// does so already. `announce()` comes before it sleeps, and is false where it need not: whoever makes it ready after
    /// that calls `wake_attendant`.
    template <class Ready, class Announce>
    void attend(const Ready& ready, const Announce& announce, plait::detail::Deadline deadline);
    void wake_attendant() noexcept {
        // Without the lock: what a dropped call makes ready may come under it. seq_cst: see lie_down.
        if (attendant_sleeps_.load(std::memory_order_seq_cst) && !is_copy()) crew_.bell().wake();
    }
    /// Whether this is a forked copy of the program that the pool is of.
    [[nodiscard]] bool is_copy() const noexcept { return fork_mark_.is_copy(); }

    void close() { set(closed_); }
    void terminate() { set(terminated_); }
    /// Waits until all is settled, no process is left, and the callbacks have run; from a callback, all but that one.
    /// Throws: UsageError before `close`.
    [[nodiscard]] bool join(Timeout timeout);

    [[nodiscard]] std::size_t processes() const noexcept { return crew_.options().processes; }
    /// All of them: where one is being made it waits for that, a second at most.
    [[nodiscard]] std::vector<WorkerInfo> workers();
    Callbacks& callbacks() noexcept { return callbacks_; }
    /// The thread on which progress is told: not that of the callbacks, for a map's result is behind its last progress, and
    /// a callback may wait for that.
    Callbacks& progress_calls() noexcept { return progress_calls_; }

private:
    using Deadline = plait::detail::Deadline;
    using Lock = std::unique_lock<std::mutex>;

    /// A ring that the attendant looks at without the lock, and how far it had come.
    struct Watched {
        const std::atomic<std::uint64_t>* written;
        std::uint64_t seen;
    };

    void end_threads() {
        const std::scoped_lock lock{join_mutex_};
        if (thread_.joinable()) thread_.join();
        progress_calls_.finish();  // first: they make results ready, which have callbacks
        callbacks_.finish();
    }
    void set(std::atomic<bool>& flag) {
        {
            const std::scoped_lock lock{mutex_};
            flag.store(true, std::memory_order_seq_cst);
        }
        waker_.wake();
    }

    // The attendant.
    Attendance::Role begin_attendance();
    void end_attendance() noexcept;
    bool take_replies();
    void leave_replies_to_background() noexcept;
    void leave_to_background(std::exception_ptr error) noexcept;
    bool lie_down() noexcept;
    void get_up() noexcept;

    void withdraw(ItemSink& sink, bool what_runs_too);

    // Giving, under the lock.
    void dispatch(Harvest& harvest);
    [[nodiscard]] CrewMember* least_loaded() noexcept;
    [[nodiscard]] bool could_wait_in(CrewMember& member) const;
    [[nodiscard]] bool balance();
    void free_those_behind_long_tasks();
    bool give_next(CrewMember& member, Harvest& harvest);
    void send(CrewMember& member, Request head, const std::shared_ptr<Call>& call, std::span<const std::byte> body);
    void write_output(CrewMember& member);
    void tell_to_leave(CrewMember& member);
    static void wake_worker(CrewMember& member, Slot::Waits waits);
    void put_back(Batch batch);
    void recall(CrewMember& member);
    void retire(CrewMember& member);
    /// The background is awake at `deadline`.
    void be_awake_at(Deadline deadline) noexcept {
        if (deadline < awake_at_) waker_.wake();
    }

    // Taking, under the lock.
    void collect_all(Harvest& harvest);
    void collect(CrewMember& member, Harvest& harvest);
    void understand(CrewMember& member, Harvest& harvest);
    void misbehaves(CrewMember& member);
    [[nodiscard]] static bool is_first(const Reply& reply) noexcept;
    [[nodiscard]] static bool is_result_of(const Reply& reply, std::uint64_t task) noexcept;
    void set_listener(Slot::Listener listener) noexcept;
    [[nodiscard]] static bool has_news(CrewMember& member) noexcept;
    [[nodiscard]] bool some_have_news() noexcept;

    /// Tells what was harvested; without the lock.
    void settle(Harvest& harvest) noexcept;

    // The background: all but `run` under the lock, which they let go of while they wait.
    void run();
    [[nodiscard]] bool work(Harvest& harvest);
    void wait(Lock& lock);
    void look_after(CrewMember& member, Harvest& harvest);
    void look_at_memory(CrewMember& member, Harvest& harvest);
    void settle_death(CrewMember& member, Harvest& harvest);
    void bury(CrewMember& member) noexcept;
    void settle_end_of_maker(Harvest& harvest);
    void break_with(Lock& lock, std::exception_ptr cause);
    void end_front(CrewMember& member, CrewMember::Ending why, int number = os::polite_end);
    void fail_everything(const std::exception_ptr& exception, Harvest& harvest) noexcept;
    void try_to_fail_everything(const std::exception_ptr& exception, Harvest& harvest);
    void retire_all(Lock& lock);
    /// Wakes who waits for workers that are being made.
    void tell_of_change() noexcept;
    [[nodiscard]] bool all_settled() const;
    [[nodiscard]] Deadline next_deadline() const;

    mutable std::mutex mutex_;  // guards all from here to the next remark
    Crew crew_;
    std::deque<Batch> queue_;  // what no worker has, in order
    std::uint64_t next_task_ = 0;
    std::uint64_t seen_task_ = 0;          // what it was when the background looked
    bool looks_ = false;                   // whether it does so now and then
    std::exception_ptr broken_;            // why, once the pool is
    std::exception_ptr background_error_;  // what breaks it, until the background has seen to it
    Slot::Listener listener_ = Slot::background;
    std::thread::id attendant_ = {};
    std::vector<os::SharedMapping> graveyard_;      // memory of dead workers that the attendant may be looking at
    std::vector<std::shared_ptr<Call>> done_with_;  // to be let go of without the lock
    std::vector<std::byte> initializer_error_;      // what an initializer threw, if it did
    Deadline awake_at_ = Deadline::never();         // when the background is at the latest
    unsigned deaths_at_start_ = 0;                  // one after the other, without a worker that came up between
    unsigned makers_lost_ = 0;                      // one after the other, without a worker that came up between

    std::vector<Watched> watched_;  // the attendant's, and so is this:
    bool may_spin_ = false;
    std::vector<os::PollItem> poll_items_;  // the background's, and so is this:
    bool maker_ended_ = false;

    std::atomic<bool> attendant_sleeps_{false};  // set under the lock, as the next two
    std::atomic<bool> closed_{false};
    std::atomic<bool> terminated_{false};
    std::atomic<int> settling_{0};      // how many threads but the background tell what they harvested; goes up under
                                        // the lock
    std::atomic<unsigned> changes_{0};  // how often there may have been other workers
    const unsigned processors_ = cpu_count();
    const os::ForkMark fork_mark_;  // a copy of the program sees the workers' memory, too: it keeps its hands off

    os::Waker waker_;  // the background
    Callbacks callbacks_;
    Callbacks progress_calls_;
    std::atomic<bool> ended_{false};
    std::mutex join_mutex_;
    std::thread thread_;
};

/// What is told of a worker that ended while it ran the next task of `batch`.
std::exception_ptr describe_death(const CrewMember& member, const Batch& batch, const CrewOptions& options);

template <class Ready, class Announce>
void Engine::attend(const Ready& ready, const Announce& announce, Deadline deadline) {
    const Attendance attendance{*this};
    if (!attendance) return;
    const auto has_news = [&] {
        for (const Watched& ring : watched_)
            if (ring.written->load(std::memory_order_relaxed) != ring.seen) return true;
        return ready();
    };
    while (!ready()) {
        if (take_replies()) continue;
        if (may_spin_ && plait::detail::spin_for(spin_time, has_news)) continue;
        if (deadline.has_passed()) return;
        if (!lie_down()) continue;
        // Ready before that: not announced. After: `wake_attendant` sees that this sleeps.
        if (announce()) os::wait_readable(crew_.bell().handle(), deadline);
        get_up();
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

#include <plait/multiprocessing/pool/dispatch.hpp>
#include <plait/multiprocessing/pool/engine_thread.hpp>
