// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/detail/shared_fifo.hpp>
#include <plait/multiprocessing/detail/wait_point.hpp>
#include <plait/multiprocessing/shared_object.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/mutex.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What the processes share of a queue, beside its memory.
struct QueueState {
    enum Shut : std::uint32_t { open, draining, dropped };

    explicit QueueState(std::int64_t most) : maxsize{most} {}

    // What everybody reads, who puts, and who takes, each apart from the others.
    std::int64_t maxsize;                   // bounded if greater than zero; never changes
    std::atomic<std::uint32_t> shut{0};     // a Shut, only grows; written under put_lock, `dropped` under both
    std::atomic<std::uint32_t> wounded{0};  // 1 after a death under a lock, until memory was repaired
    std::atomic<std::uint64_t> done{0};     // for how many items task_done was called; at most as many as were put
    std::atomic<std::uint64_t> lost{0};     // how many were dropped; valid once shut says so, and never changes then
    WaitPoint<> end_of_work;                // who joins
    Apart apart;
    os::Mutex put_lock;
    std::uint64_t room_until = 0;  // the count at which the queue is full, by what the holder of put_lock last read
    WaitPoint<> items;             // who gets sleeps here
    Apart further_apart;
    FifoState fifo;    // ends with what belongs to the end for taking
    WaitPoint<> room;  // who puts
    os::Mutex get_lock;
};

/// How long somebody is willing to wait; the clock is read only where it comes to that.
class Patience {
public:
    explicit Patience(Timeout timeout) noexcept : timeout_{timeout} {}

    [[nodiscard]] bool is_none() const noexcept { return timeout_.is_zero(); }
    [[nodiscard]] Deadline deadline() {
        if (!std::exchange(has_begun_, true)) deadline_ = Deadline{timeout_};
        return deadline_;
    }
    /// For a lock that is held for the time of a copy: even who will not wait for an item waits so long for that.
    [[nodiscard]] Deadline deadline_for_lock() {
        return (std::max)(deadline(), Deadline{std::chrono::milliseconds{1}});
    }

private:
    Timeout timeout_;
    Deadline deadline_ = Deadline::never();
    bool has_begun_ = false;
};

/// A queue of blocks of bytes between processes, as one process sees it: the words of Queue without its items' type.
///
/// Two robust locks, one for putting and one for taking; under each one store that counts (shared_fifo.hpp). Who finds
/// that a lock's last holder died has nothing to mend but memory that was marked as used and is not, which can wait for
/// a moment when both locks are free.
///
/// Who finds no item, or no room, sleeps outside of the locks, until the other end's count changes (wait_point.hpp).
class SharedQueue {
public:
    static std::shared_ptr<SharedQueue> create(std::int64_t maxsize) {
        auto queue = std::make_shared<SharedQueue>(Shared<QueueState>::create(maxsize), os::make_anonymous_memory());
        queue->fifo_.begin();
        return queue;
    }
    SharedQueue(Shared<QueueState> state, os::Handle memory)
        : state_{std::move(state)}, fifo_{state_->fifo, std::move(memory)} {}

    void encode(Encoder& out) const {
        put_shared(out, state_);
        put_handle(out, fifo_.memory().get());
    }
    static std::shared_ptr<SharedQueue> decode(Decoder& in) {
        auto state = get_shared<QueueState>(in);
        return std::make_shared<SharedQueue>(std::move(state), get_handle(in));
    }

    void put(std::span<const std::byte> head, std::span<const std::byte> body, Timeout timeout);

    /// The next item, and the lock for taking, which it holds: `take` counts it and `let_go` the lock, else it stays.
    class Taking;

    void task_done();
    bool join(Timeout timeout);
    void shutdown(bool immediate);
    /// For this process's handle and its copies: who waits by them is woken, and they are of no more use.
    void close() noexcept {
        closed_.store(true);
        wake_everybody();
    }

    [[nodiscard]] bool is(const SharedQueue& other) const noexcept { return state_ == other.state_; }
    [[nodiscard]] bool is_shutdown() const noexcept { return state_->shut.load() != QueueState::open; }
    [[nodiscard]] std::size_t size() const noexcept {
        return was_dropped() ? 0 : static_cast<std::size_t>(fifo_.size());
    }
    [[nodiscard]] bool full() const noexcept {
        return is_bounded() && size() >= static_cast<std::uint64_t>(state_->maxsize);
    }
    [[nodiscard]] std::int64_t maxsize() const noexcept { return state_->maxsize; }
    [[nodiscard]] std::size_t waiting() const noexcept {
        return state_->items.waiting() + state_->room.waiting() + state_->end_of_work.waiting();
    }

private:
    /// Holds one of the locks, if it came by it.
    class Hold {
    public:
        Hold(SharedQueue& queue, os::Mutex& lock, os::MutexResult result) : queue_{queue}, lock_{lock} {
            if (result == os::MutexResult::already_mine)
                throw UsageError(
                    "a queue was used by what was being done to one of its items: let the item's types do "
                    "without the queue that it is in");
            held_ = result != os::MutexResult::timed_out;
            if (result == os::MutexResult::owner_died) queue_.state_->wounded.store(1, std::memory_order_relaxed);
        }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        ~Hold() { release(); }

        explicit operator bool() const noexcept { return held_; }
        void release() noexcept {
            if (std::exchange(held_, false)) lock_.unlock();
        }

    private:
        SharedQueue& queue_;
        os::Mutex& lock_;
        bool held_;
    };
    /// Also timed_out once the queue's Shut is `vain` or beyond. Throws: UsageError once it is closed. For the lock's
    /// holder may be stopped: who waits for it looks up a few times a second.
    os::MutexResult lock(os::Mutex& mutex, Patience& patience, std::uint32_t vain) const {
        os::MutexResult result = mutex.try_lock();
        if (result != os::MutexResult::timed_out) return result;
        const Deadline deadline = patience.deadline_for_lock();
        for (;;) {
            result = mutex.lock(next_look(deadline));
            if (result != os::MutexResult::timed_out || deadline.has_passed()) return result;
            check_open();
            if (state_->shut.load() >= vain) return result;
        }
    }

    /// From then on what lies in the row is nothing: nobody takes it, and it counts as done.
    [[nodiscard]] bool was_dropped() const noexcept { return state_->shut.load() == QueueState::dropped; }
    [[nodiscard]] std::uint64_t lost() const noexcept { return was_dropped() ? state_->lost.load() : 0; }
    [[nodiscard]] bool is_all_done() const noexcept {
        // These first: nothing is done or dropped that was not put.
        const std::uint64_t done = state_->done.load() + lost();
        return done >= fifo_.put_count();
    }
    [[nodiscard]] bool is_bounded() const noexcept { return state_->maxsize > 0; }
    void check_open() const {
        if (closed_.load())
            throw UsageError(
                "this handle of the queue was closed: use a copy made by another process, or no more of it");
    }
    /// Under the lock for putting. By what was last read there may be too little room, never too much.
    bool has_room() {
        if (!is_bounded()) return true;
        const std::uint64_t put = fifo_.put_count();
        if (put < state_->room_until) return true;
        state_->room_until = fifo_.taken_count() + static_cast<std::uint64_t>(state_->maxsize);
        return put < state_->room_until;
    }
    /// Waits until `ready()`, or somebody may have closed or shut the queue; false at the end of patience.
    template <class Ready>
    bool wait(WaitPoint<>& point, Patience& patience, Ready ready);
    /// Waits for a few more to come, as long as they do come: each look at another's count costs both as much as an item.
    void let_grow(std::uint64_t (SharedFifo::*count)() const noexcept) const noexcept {
        const std::uint64_t first = (fifo_.*count)();
        std::uint64_t before = first;
        for (int pauses = 4; pauses <= 64; pauses *= 2) {
            for (int i = 0; i < pauses; ++i) relax_processor();
            const std::uint64_t now = (fifo_.*count)();
            if (now == before || now - first > 64) return;
            before = now;
        }
    }
    void repair_if_wounded();
    void trim();
    void wake_everybody() noexcept {
        state_->items.wake_all();
        state_->room.wake_all();
        state_->end_of_work.wake_all();
    }

    Shared<QueueState> state_;
    SharedFifo fifo_;
    std::atomic<bool> closed_{false};
};

class SharedQueue::Taking {
public:
    /// Throws: QueueEmpty, QueueShutDown, UsageError, Error, std::system_error; then nothing has changed.
    Taking(SharedQueue& queue, Timeout timeout) : queue_{queue} {
        Patience patience{timeout};
        for (;;) {
            queue_.check_open();
            std::uint32_t shut = queue_.state_->shut.load();
            if (shut != QueueState::dropped) {
                os::Mutex& mutex = queue_.state_->get_lock;
                hold_.emplace(queue_, mutex, queue_.lock(mutex, patience, QueueState::dropped));
                // Under the lock: what was dropped may lie there still. Before the look: no item comes after that.
                shut = queue_.state_->shut.load();
                if (shut != QueueState::dropped) {
                    if (!*hold_) throw QueueEmpty("no item could be had in time: another process holds the queue");
                    if (queue_.fifo_.peek(item_)) return;
                }
                hold_.reset();
            }
            if (shut != QueueState::open)
                throw QueueShutDown(
                    "get from a queue that was shut down and has given its last item: end here, or make another queue");
            const auto ready = [&] { return queue_.fifo_.size() != 0; };
            if (!queue_.wait(queue_.state_->items, patience, ready)) throw QueueEmpty("no item came into the queue");
        }
    }
    Taking(const Taking&) = delete;
    Taking& operator=(const Taking&) = delete;
    ~Taking() {
        if (!*hold_) return;
        hold_->release();
        queue_.state_->items.wake_one();  // it stays: for another
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return item_.bytes; }
    void take() noexcept {
        queue_.fifo_.take(item_);
        hold_->release();
        if (queue_.is_bounded()) queue_.state_->room.wake_one();
    }

private:
    SharedQueue& queue_;
    std::optional<Hold> hold_;
    SharedFifo::Item item_;
};

inline void SharedQueue::put(std::span<const std::byte> head, std::span<const std::byte> body, Timeout timeout) {
    Patience patience{timeout};
    for (;;) {
        check_open();
        Hold hold{*this, state_->put_lock, lock(state_->put_lock, patience, QueueState::draining)};
        if (is_shutdown())
            throw QueueShutDown("put into a queue that was shut down: put before shutdown(), or make another queue");
        if (!hold) throw QueueFull("the item could not be put in time: another process holds the queue");
        if (has_room()) {
            if (state_->wounded.load(std::memory_order_relaxed) != 0) repair_if_wounded();
            fifo_.put(head, body);
            hold.release();
            state_->items.wake_one();
            return;
        }
        hold.release();
        const auto ready = [&] { return is_shutdown() || !full(); };
        if (!wait(state_->room, patience, ready)) throw QueueFull("no room came free in the queue");
    }
}

template <class Ready>
bool SharedQueue::wait(WaitPoint<>& point, Patience& patience, Ready ready) {
    if (patience.is_none()) return false;
    const auto must_look = [&] { return ready() || closed_.load() || is_shutdown(); };
    if (spin_until(must_look)) {
        let_grow(&point == &state_->items ? &SharedFifo::put_count : &SharedFifo::taken_count);
        return true;
    }
    switch (point.sleep(patience.deadline(), must_look)) {
        case WaitPoint<>::Result::timed_out:
            return false;
        case WaitPoint<>::Result::slice_over:
            if (&point == &state_->items) trim();  // nobody has put for a while
            return true;
        default:
            return true;
    }
}

/// Under the lock for putting: who dies there or at the other end leaves memory marked that nothing uses.
inline void SharedQueue::repair_if_wounded() {
    fifo_.forget_search();
    Hold other{*this, state_->get_lock, state_->get_lock.try_lock()};
    if (!other) return;  // another time
    try {
        fifo_.repair();
        state_->wounded.store(0, std::memory_order_relaxed);
    } catch (const std::exception&) {  // no memory for that: another time
    }
}

inline void SharedQueue::trim() {
    const Hold hold{*this, state_->put_lock, state_->put_lock.try_lock()};
    if (!hold) return;
    try {
        fifo_.trim();
    } catch (const std::exception&) {  // no memory for that: another time
    }
}

inline void SharedQueue::task_done() {
    std::uint64_t done = state_->done.load();
    do {
        const std::uint64_t dropped = lost();  // first, as in is_all_done
        if (done + dropped >= fifo_.put_count())
            throw UsageError("task_done for more items than were put: call it once for each item that get gave");
    } while (!state_->done.compare_exchange_weak(done, done + 1));
    sync_point();
    if (is_all_done()) state_->end_of_work.wake_all();
}

inline bool SharedQueue::join(Timeout timeout) {
    Patience patience{timeout};
    for (;;) {
        check_open();
        if (is_all_done()) return true;
        if (patience.is_none()) return false;
        const auto must_look = [&] { return is_all_done() || closed_.load(); };
        if (state_->end_of_work.sleep(patience.deadline(), must_look) == WaitPoint<>::Result::timed_out) return false;
    }
}

inline void SharedQueue::shutdown(bool immediate) {
    check_open();
    {
        // No patience of the caller's: the locks are held for the time of a copy, but for a holder that is stopped.
        Patience patience{Timeout::never()};
        constexpr std::uint32_t never_vain = QueueState::dropped + 1;
        const Hold putting{*this, state_->put_lock, lock(state_->put_lock, patience, never_vain)};
        if (state_->shut.load() == QueueState::open) state_->shut.store(QueueState::draining);
        if (immediate) {
            const Hold taking{*this, state_->get_lock, lock(state_->get_lock, patience, never_vain)};
            if (!was_dropped()) {
                state_->lost.store(fifo_.size());
                sync_point();
                // This one store drops them, all or none, wherever this process is killed. The rest is for their memory.
                state_->shut.store(QueueState::dropped);
                sync_point();
            }
            fifo_.clear();
            state_->wounded.store(1, std::memory_order_relaxed);
            try {
                fifo_.repair();
                state_->wounded.store(0, std::memory_order_relaxed);
            } catch (const std::exception&) {  // their memory stays taken until the queue goes
            }
        }
    }
    wake_everybody();
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
