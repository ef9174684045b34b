// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/pool/call.hpp>
#include <plait/multiprocessing/pool/fifo.hpp>
#include <plait/multiprocessing/pool/initializer.hpp>
#include <plait/multiprocessing/pool/maker.hpp>
#include <plait/multiprocessing/pool/protocol.hpp>
#include <plait/multiprocessing/start_method.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// One worker of a Pool, for people who want to look.
struct WorkerInfo {
    enum class State { starting, idle, busy, ending };

    std::int64_t pid = 0;
    State state = State::starting;
    std::optional<std::uint64_t> task = {};  ///< the number of the task that it is at
    std::uint64_t tasks_done = 0;            ///< by this process
    std::optional<std::size_t> memory = {};  ///< bytes that it has in memory now, where the system tells
};

namespace detail {

struct CrewOptions {
    std::size_t processes = 1;
    StartMethod start_method = StartMethod::forkserver;
    std::shared_ptr<const PackedCall> initializer;  ///< null for none
    std::optional<std::uint64_t> max_tasks_per_child;
    std::optional<std::size_t> memory_limit;          ///< of a worker that runs; bytes
    std::optional<std::size_t> max_memory_per_child;  ///< of a worker between two tasks; bytes
    std::chrono::nanoseconds termination_grace{};
    unsigned restart_limit = 5;
    std::string name;  ///< what its workers' names begin with
};

/// A request on its way to a worker, up to `done`: its head, and bytes of the call that it is of.
struct PendingRequest {
    Request head;
    std::shared_ptr<Call> call;
    std::span<const std::byte> body;
    std::size_t done = 0;

    [[nodiscard]] std::size_t size() const noexcept { return sizeof head + body.size(); }
};

/// One place for a worker, and the worker in it.
struct CrewMember {
    enum class State { absent, starting, ready };
    /// Why we end it: nobody does; its task ran too long; used too much memory; was cancelled; it broke the protocol; it has
    /// done its share of tasks; the maker is gone, and it with that; the pool is terminated.
    enum class Ending { no, timeout, memory, cancelled, misbehaved, retired, orphaned, terminated };

    [[nodiscard]] bool takes_work() const noexcept {
        return state == State::ready && ending == Ending::no && !retires && !channel_ended && !death;
    }
    [[nodiscard]] bool is_idle() const noexcept { return takes_work() && batches.empty(); }
    [[nodiscard]] bool is_busy() const noexcept { return !batches.empty(); }
    /// Whether it may have something to say.
    [[nodiscard]] bool is_heard() const noexcept {
        return ending != Ending::misbehaved && state != State::absent &&
               (is_busy() || state == State::starting || !output.empty());
    }
    /// Which task it is at, if it is at one.
    [[nodiscard]] bool runs_front() const noexcept {
        return is_busy() && slot().mark.begun_of(batches.front().task(), batches.front().left()) > 0;
    }
    /// How many of its tasks have begun whose results were not taken.
    [[nodiscard]] std::uint64_t begun() const noexcept;
    /// False where its mark tells of a task that it never had.
    [[nodiscard]] bool has_sound_mark() const noexcept {
        return (slot().mark.begun.load(std::memory_order_acquire) & Mark::number) == mark_at_rest || begun() != 0;
    }
    /// When its task will have run too long; while it has not begun, no sooner than if it began now.
    [[nodiscard]] plait::detail::Deadline time_limit() const;
    [[nodiscard]] WorkerInfo info() const;
    [[nodiscard]] Slot& slot() const noexcept { return *reinterpret_cast<Slot*>(memory.data()); }

    State state = State::absent;
    Ending ending = Ending::no;
    std::uint64_t number = 0;  ///< of this worker in its pool: no two ever share one
    std::int64_t pid = 0;
    os::Handle channel;
    os::SharedMapping memory;  ///< a Slot
    RingWriter<decltype(Slot::requests)> requests;
    RingReader<decltype(Slot::replies)> replies;
    std::vector<std::byte> input;     ///< taken, not yet understood
    Fifo<PendingRequest> output;      ///< what the ring had no room for
    std::vector<std::byte> callable;  ///< what it was told to call
    Fifo<Batch> batches;              ///< what it has: the first it runs, or is about to
    std::size_t depth = least_depth;  ///< how many batches it is given at most
    std::uint64_t tasks_given = 0;    ///< those that it has done among them
    std::uint64_t tasks_done = 0;
    std::uint64_t tasks_done_before = 0;      ///< when another had nothing to do
    std::uint64_t mark_at_rest = Mark::none;  ///< what its mark is when it has begun nothing that it has not told of
    bool is_distrusted = false;               ///< what it shares with the program was written over, its mark perhaps
    unsigned deaths_at_start = 0;             ///< of those in this place before it, since any worker came up
    bool retires = false;                     ///< it is given no more, and leaves when it has done what it has
    bool channel_ended = false;
    std::uint64_t ended_task = 0;                                           ///< the task for whose sake it is ended
    plait::detail::Deadline suspect_at = plait::detail::Deadline::never();  ///< of one whose channel ended
    plait::detail::Deadline kill_at = plait::detail::Deadline::never();
    plait::detail::Deadline retry_at = plait::detail::Deadline::never();  ///< of an absent one
    std::optional<Report> death;

    /// One that it runs, and one that waits for it.
    static constexpr std::size_t least_depth = 2;
    static constexpr std::size_t most_depth = 128;
};

/// A pool's processes: the maker, and a member for each place. All of it belongs to one thread at a time.
class Crew {
public:
    /// Makes all of them. Throws: UsageError, std::system_error; nothing is left behind then.
    explicit Crew(CrewOptions options) : options_{std::move(options)}, members_(options_.processes) {
        start_maker();
        try {
            // Not all at once: what is on its way to the maker is bounded, its bytes and its descriptors.
            constexpr std::size_t most_on_their_way = 32;
            for (std::size_t ordered = 0, answered = 0; answered < members_.size();) {
                if (ordered < members_.size() && ordered - answered < most_on_their_way) {
                    order(members_[ordered++]);
                    continue;
                }
                Report report;
                if (!os::receive_all(control_, writable_bytes_of(report)))
                    throw Error("the process that makes a pool's workers ended while it made the first");
                if (report.kind == Report::Kind::failed)
                    os::throw_system_error("fork of a pool's worker", static_cast<int>(report.code));
                take(report);
                if (report.kind == Report::Kind::made) ++answered;  // one that died young was made before
            }
        } catch (...) {
            end();
            throw;
        }
    }

    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;
    ~Crew() { end(); }

    [[nodiscard]] const CrewOptions& options() const noexcept { return options_; }
    [[nodiscard]] std::vector<CrewMember>& members() noexcept { return members_; }
    [[nodiscard]] const std::vector<CrewMember>& members() const noexcept { return members_; }
    [[nodiscard]] os::NativeHandle control() const noexcept { return control_.get(); }
    /// What wakes the thread that waits for replies: the workers have its other end.
    [[nodiscard]] os::Waker& bell() noexcept { return bell_; }

    /// Asks for a worker in an empty place. What fails is tried again later, see `retry_at`.
    void replace(CrewMember& member) {
        try {
            order(member);
        } catch (const std::system_error&) {
            try_later(member);  // no descriptor left: for now
        }
    }
    void kill(const CrewMember& member, int number) {
        send(Order{.kind = Order::Kind::kill, .signal = number, .worker = member.number}, {});
    }
    /// Forbids it to begin more, asks it to end, and sets the time for what it cannot refuse.
    void end_member(CrewMember& member, CrewMember::Ending why, int number = os::polite_end) {
        member.slot().mark.stop();
        member.ending = why;
        kill(member, number);
        member.kill_at = plait::detail::Deadline{options_.termination_grace};
    }

    /// Reads what the maker says. False where it is gone: its workers are then, too, and have a death to settle.
    bool read_reports();
    /// A new maker in place of one that is gone. False where there can be none: a copy of the program as it was is lost.
    bool replace_maker() {
        if (options_.start_method == StartMethod::fork) return false;
        end();
        start_maker();
        return true;
    }
    /// Ends every process that is left, and waits for the maker's end.
    void end() noexcept;

private:
    void start_maker();
    void order(CrewMember& member);
    void take(const Report& report);
    void send(const Order& order, std::span<const os::NativeHandle> handles) {
        // Where the maker is gone, its channel's end tells.
        static_cast<void>(os::send_with_handles(control_, bytes_of(order), handles));
    }
    void try_later(CrewMember& member) {
        backoff_ = (std::min)(2 * backoff_, std::chrono::milliseconds{1000});
        member.retry_at = plait::detail::Deadline{backoff_};
    }

    CrewOptions options_;
    os::Waker bell_;
    const os::SignalMask signal_mask_ = os::SignalMask::current();  // the program's, for makers to come
    std::vector<CrewMember> members_;
    os::Child maker_;
    os::Handle control_;
    std::uint64_t next_worker_ = 1;
    std::chrono::milliseconds backoff_{10};
};

inline std::uint64_t CrewMember::begun() const noexcept {
    if (!is_busy()) return 0;
    const std::uint64_t mark = slot().mark.begun.load(std::memory_order_acquire);
    std::uint64_t count = 0;
    for (const Batch& batch : batches) {
        if (const std::uint64_t of_this = Mark::begun_of(mark, batch.task(), batch.left()); of_this != 0)
            return count + of_this;
        count += batch.left();
    }
    return 0;
}

inline plait::detail::Deadline CrewMember::time_limit() const {
    using plait::detail::Deadline;
    const Timeout timeout = batches.front().call->timeout;
    if (timeout.is_never()) return Deadline::never();
    // The task that runs may be further on than the results that we have read.
    if (!runs_front()) return Deadline{timeout};
    // No later than now, and no earlier than the clock began: a task may have written over it.
    const auto now = Deadline::Clock::now().time_since_epoch();
    const std::chrono::nanoseconds since{slot().mark.begun_at.load(std::memory_order_relaxed)};
    const auto at = Deadline::Clock::time_point{(std::clamp)(
        std::chrono::duration_cast<Deadline::Clock::duration>(since), Deadline::Clock::duration::zero(), now)};
    return timeout.duration() < (Deadline::Clock::time_point::max)() - at ? Deadline::at(at + timeout.duration())
                                                                          : Deadline::never();
}

inline WorkerInfo CrewMember::info() const {
    WorkerInfo info{.pid = pid, .tasks_done = tasks_done};
    if (ending != Ending::no)
        info.state = WorkerInfo::State::ending;
    else if (is_busy())
        info.state = WorkerInfo::State::busy;
    else if (state == State::ready)
        info.state = WorkerInfo::State::idle;
    if (is_busy()) info.task = batches.front().task();
    return info;
}

/// "exited with status 3", "was killed by SIGSEGV (Segmentation fault)".
inline std::string describe_end(std::int64_t code) {
    return code < 0 ? "was killed by " + os::signal_description(static_cast<int>(-code))
                    : "exited with status " + std::to_string(code);
}

inline void Crew::start_maker() {
    const bool spawn = options_.start_method == StartMethod::spawn;
    if (options_.start_method == StartMethod::fork) {
        os::ChannelEnds channel = os::make_channel();
        const std::int64_t program = os::process_id();
        maker_ = os::fork_child([&] {
            channel.first.reset();
            plait::detail::wait_helper() = nullptr;
            return Maker{std::move(channel.second), options_.initializer, spawn, options_.name, program}.run();
        });
        control_ = std::move(channel.first);
        return;
    }
    Encoder payload;
    payload.write(spawn, this_process().papers.name, options_.name);
    std::vector<os::NativeHandle> handles;
    write_initializer(payload, handles, options_.initializer.get());
    os::SpawnOptions how;
    how.signal_mask = &signal_mask_;
    FreshChild fresh = start_fresh_child(child_main<&run_fresh_maker>, payload.bytes(), handles, how);
    maker_ = std::move(fresh.process);
    control_ = std::move(fresh.control);
}

inline void Crew::order(CrewMember& member) {
    CrewMember fresh;
    fresh.number = next_worker_++;
    fresh.deaths_at_start = member.deaths_at_start;
    fresh.memory = os::SharedMapping::create(sizeof(Slot));
    fresh.requests = RingWriter{fresh.slot().requests};
    fresh.replies = RingReader{fresh.slot().replies};
    fresh.slot().mark.begun.store(Mark::none, std::memory_order_relaxed);
    fresh.slot().listener.store(Slot::background, std::memory_order_relaxed);
    os::ChannelEnds channel = os::make_channel();
    const os::NativeHandle handles[] = {channel.second.get(), fresh.memory.handle().get(), bell_.writing_end().get()};
    send(Order{.kind = Order::Kind::make, .worker = fresh.number}, handles);
    fresh.memory.drop_handle();
    fresh.channel = std::move(channel.first);
    fresh.state = CrewMember::State::starting;
    member = std::move(fresh);
}

inline void Crew::take(const Report& report) {
    for (CrewMember& member : members_) {
        if (member.number != report.worker) continue;
        if (report.kind == Report::Kind::made) {
            member.pid = report.pid;
            backoff_ = std::chrono::milliseconds{10};
        } else if (report.kind == Report::Kind::failed) {
            member.state = CrewMember::State::absent;
            member.channel.reset();
            try_later(member);
        } else {
            member.death = report;
        }
    }
}

inline bool Crew::read_reports() {
    for (;;) {
        os::PollItem item{control_.get(), os::readable};
        if (!os::poll({&item, 1}, plait::detail::Deadline::at({}))) return true;
        Report report;
        if (os::receive_all(control_, writable_bytes_of(report))) {
            take(report);
            continue;
        }
        const plait::detail::Deadline soon{std::chrono::seconds{2}};
        for (CrewMember& member : members_) {
            if (member.state == CrewMember::State::absent || member.death) continue;
            // Those that its task started, and itself where it does not die with its parent.
            if (member.pid != 0) os::signal_process_group(member.pid, os::certain_end);
            // Its channel's end is its own: wait for it, so that what it still did is known.
            os::PollItem end{member.channel.get(), 0};
            static_cast<void>(os::poll({&end, 1}, soon));
            member.death = Report{.kind = Report::Kind::died, .pid = member.pid, .code = -os::certain_end};
            if (member.ending == CrewMember::Ending::no) member.ending = CrewMember::Ending::orphaned;
        }
        return false;
    }
}

inline void Crew::end() noexcept {
    // Not only closed: a copy of the program may hold it open.
    if (control_) os::end_channel(control_);
    control_.reset();
    try {
        // The maker ends its workers, which cannot take long: they are killed. It may be stopped itself.
        if (maker_.pid() == 0) return;
        if (!maker_.wait(plait::detail::Deadline{std::chrono::seconds{5}})) {
            maker_.send_signal(os::certain_end);
            maker_.wait(plait::detail::Deadline::never());
        }
        maker_ = os::Child{};
    } catch (...) {
        plait::detail::report_unraisable("the end of a pool's processes", std::current_exception());
    }
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing
