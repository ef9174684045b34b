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
    std::atomic<std::uint32_t> shut{0};     // a Shut, only grows; written under put_lock
    std::atomic<std::uint32_t> wounded{0};  // 1 after a death under a lock, until memory was repaired
    std::atomic<std::uint64_t> done{0};     // for how many items task_done was called; at most as many as were put
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
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(fifo_.size()); }
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
    static os::MutexResult lock(os::Mutex& mutex, Patience& patience) {
        const os::MutexResult result = mutex.try_lock();
        return result == os::MutexResult::timed_out ? mutex.lock(patience.deadline_for_lock()) : result;
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
            const std::uint32_t shut = queue_.state_->shut.load();  // before the look: no item comes after that
            if (shut != QueueState::dropped) {
                hold_.emplace(queue_, queue_.state_->get_lock, lock(queue_.state_->get_lock, patience));
                if (!*hold_) throw QueueEmpty("no item could be had in time: another process holds the queue");
                if (queue_.fifo_.peek(item_)) return;
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
        Hold hold{*this, state_->put_lock, lock(state_->put_lock, patience)};
        if (!hold) throw QueueFull("the item could not be put in time: another process holds the queue");
        if (is_shutdown())
            throw QueueShutDown("put into a queue that was shut down: put before shutdown(), or make another queue");
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
    if (hold) fifo_.trim();
}

inline void SharedQueue::task_done() {
    std::uint64_t done = state_->done.load();
    std::uint64_t put = 0;
    do {
        put = fifo_.put_count();
        if (done >= put)
            throw UsageError("task_done for more items than were put: call it once for each item that get gave");
    } while (!state_->done.compare_exchange_weak(done, done + 1));
    sync_point();
    if (done + 1 == put) state_->end_of_work.wake_all();
}

inline bool SharedQueue::join(Timeout timeout) {
    Patience patience{timeout};
    const auto ready = [&] {
        const std::uint64_t done = state_->done.load();  // first: nothing is done that was not put
        return done >= fifo_.put_count();
    };
    for (;;) {
        check_open();
        if (ready()) return true;
        if (patience.is_none()) return false;
        const auto must_look = [&] { return ready() || closed_.load(); };
        if (state_->end_of_work.sleep(patience.deadline(), must_look) == WaitPoint<>::Result::timed_out) return false;
    }
}

inline void SharedQueue::shutdown(bool immediate) {
    check_open();
    {
        // No patience of the caller's: the locks are held for the time of a copy, but for a holder that is stopped.
        const Hold putting{*this, state_->put_lock, state_->put_lock.lock(Deadline::never())};
        if (state_->shut.load() == QueueState::open) state_->shut.store(QueueState::draining);
        if (immediate) {
            const Hold taking{*this, state_->get_lock, state_->get_lock.lock(Deadline::never())};
            state_->shut.store(QueueState::dropped);
            sync_point();
            const std::uint64_t put = fifo_.put_count();
            std::uint64_t done = state_->done.load();
            const std::uint64_t items = fifo_.size();
            fifo_.clear();
            while (!state_->done.compare_exchange_weak(done, (std::min)(done + items, put))) {
            }
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
