// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// The words of every queue, over `Items`, which says in which order items leave.
///
/// Nothing that waits is ever moved before its task's turn. A task that waits to get is promised an item, which stays in
/// the queue in its place; one that waits to put is promised room, and keeps its item. Each takes what it was promised
/// in its turn, or, where it finds itself cancelled or its frame is destroyed, lets the next one have it. What is promised
/// is not to be had by others; so who came first is first. An item whose move throws stays where it was.
template <class T, class Items>
class BasicQueue {
    class SideAwaiter;
    class PutAwaiter;
    class GetAwaiter;
    class JoinAwaiter;
    class Put;

public:
    /// With `maxsize` greater than zero, `put` waits while there are so many items; else there is always room.
    explicit BasicQueue(std::ptrdiff_t maxsize = 0) noexcept
        : maxsize_{maxsize}, limit_{maxsize > 0 ? static_cast<std::size_t>(maxsize) : SIZE_MAX} {}
    BasicQueue(const BasicQueue&) = delete;
    BasicQueue& operator=(const BasicQueue&) = delete;

    /// Awaited, puts an item, made of what is given, in the queue, waiting while it is full.
    ///
    /// Cancel: it is not in; what was moved goes with the await. Throws: QueueShutDown after `shutdown`; what the item's
    /// move throws.
    template <class U = T>
        requires std::is_convertible_v<U, T>
    [[nodiscard("it puts only when it is awaited")]] Put put(U&& item) {
        return Put{*this, std::forward<U>(item)};
    }
    /// Does not wait, and needs no loop. If it throws, the item is still the caller's.
    ///
    /// Throws: QueueFull where there is no room; else as `put`.
    template <class U = T>
        requires std::is_convertible_v<U, T>
    void put_nowait(U&& item);

    /// Awaited, takes the next item out, waiting while there is none.
    ///
    /// Cancel: takes none. Throws: QueueShutDown once the queue was shut down and has given its last item; what the item's
    /// move throws, and then it stays the next one.
    Wait<GetAwaiter, BasicQueue> get() noexcept { return Wait<GetAwaiter, BasicQueue>{*this}; }
    /// Does not wait, and needs no loop. Throws: QueueEmpty where there is no item; else as `get`.
    T get_nowait();

    /// Says that what was taken out by one `get` has been dealt with. Throws: UsageError where that was said of every item
    /// that was ever put.
    void task_done();
    /// Awaited, waits until `task_done` was called for every item that was ever put, and not dropped.
    Wait<JoinAwaiter, BasicQueue> join() noexcept { return Wait<JoinAwaiter, BasicQueue>{*this}; }

    /// From now on `put` throws, and so does `get` once the queue is empty: at once if `immediate`, which drops what is
    /// in it, as if `task_done` had been called for each. Who waits is woken.
    void shutdown(bool immediate = false);
    [[nodiscard]] bool is_shutdown() const noexcept { return shutdown_; }

    /// How many items are in it.
    [[nodiscard]] std::size_t qsize() const noexcept { return static_cast<std::size_t>(put_ - taken_); }
    /// Whether there is no item to be had, or no room: items, and room, that were promised to a task which has waited for
    /// them are not to be had.
    [[nodiscard]] bool empty() const noexcept { return qsize() <= getters_.promised; }
    [[nodiscard]] bool full() const noexcept { return limit_ - qsize() <= putters_.promised; }
    [[nodiscard]] std::ptrdiff_t maxsize() const noexcept { return maxsize_; }
    /// How many tasks wait in `put`, `get` or `join`; for tests and diagnosis.
    [[nodiscard]] std::size_t waiting() const noexcept {
        return putters_.tasks.waiting() + getters_.tasks.waiting() + joiners_.waiting();
    }

protected:
    ~BasicQueue() = default;

private:
    struct Side {
        WaitList tasks;
        std::size_t promised = 0;  // how many of them were promised an item, or room, and have not had their turn
    };

    /// Throws where the running task may not wait here.
    void check_loop() const {
        putters_.tasks.check_loop();
        getters_.tasks.check_loop();
        joiners_.check_loop();
    }
    [[noreturn]] static void throw_put_shut_down() {
        throw QueueShutDown("put into a queue that was shut down: put before shutdown(), or make another queue");
    }
    [[noreturn]] static void throw_get_shut_down() {
        throw QueueShutDown(
            "get from a queue that was shut down and has given its last item: end here, or make another queue");
    }
    template <class U>
    void insert(U&& item);
    T take();
    T take_item();
    /// Promises what is there to those who wait longest; wakes who waits for what will never come.
    void keep_promises() noexcept;
    static void wake_all(WaitList& list) noexcept {
        while (list.waiting() != 0) list.wake_first();
    }

    Items items_{};
    std::uint64_t put_ = 0;  // how many items there ever were; how many of them have gone; how many are dealt with
    std::uint64_t taken_ = 0;
    std::uint64_t done_ = 0;
    std::ptrdiff_t maxsize_;
    std::size_t limit_;
    bool shutdown_ = false;
    Side putters_;
    Side getters_;
    WaitList joiners_;
};

/// Waits on one side of the queue until it is promised what it came for.
template <class T, class Items>
class BasicQueue<T, Items>::SideAwaiter : public AwaiterBase {
public:
    SideAwaiter(const SideAwaiter&) = delete;
    SideAwaiter& operator=(const SideAwaiter&) = delete;

    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        place_.emplace().wait_in(side_.tasks, handle);
        queue_.keep_promises();
    }

protected:
    SideAwaiter(BasicQueue& queue, Side& side) noexcept : queue_{queue}, side_{side} {}
    ~SideAwaiter() {
        if (place_) decline();
    }

    [[nodiscard]] bool waited() const noexcept { return place_.has_value(); }
    /// In the task's turn: takes what it was promised. False where a shutdown ended the wait.
    [[nodiscard]] bool claim() {
        if (place_->given() && !place_->task().cancel_due()) {
            place_->leave();
            --side_.promised;
            return true;
        }
        decline();
        place_->check_let_go();
        return false;
    }

    BasicQueue& queue_;

private:
    void decline() noexcept {
        if (!place_->given()) return;
        place_->leave();
        --side_.promised;
        queue_.keep_promises();
    }

    Side& side_;
    std::optional<PlainPlace> place_;
};

template <class T, class Items>
class BasicQueue<T, Items>::PutAwaiter : public SideAwaiter {
public:
    PutAwaiter(BasicQueue& queue, T& item) noexcept : SideAwaiter{queue, queue.putters_}, item_{item} {}

    [[nodiscard]] bool await_ready() {
        BasicQueue& queue = this->queue_;
        if (queue.shutdown_) throw_put_shut_down();
        // Not before those who were promised room and have not had their turn, even where there is more.
        if (queue.putters_.promised != 0 || queue.full()) {
            queue.check_loop();
            return false;
        }
        queue.insert(std::move(item_));
        return true;
    }
    void await_resume() {
        if (!this->waited()) return;
        if (!this->claim() || this->queue_.shutdown_) throw_put_shut_down();
        try {
            this->queue_.insert(std::move(item_));
        } catch (...) {
            this->queue_.keep_promises();
            throw;
        }
    }

private:
    T& item_;
};

template <class T, class Items>
class BasicQueue<T, Items>::GetAwaiter : public SideAwaiter {
public:
    explicit GetAwaiter(BasicQueue& queue) noexcept : SideAwaiter{queue, queue.getters_} {}

    [[nodiscard]] bool await_ready() const {
        const BasicQueue& queue = this->queue_;
        if (queue.getters_.promised == 0) {
            if (queue.qsize() != 0) return true;
            if (queue.shutdown_) throw_get_shut_down();
        }
        queue.check_loop();
        return false;
    }
    T await_resume() {
        // What was promised may have been dropped since, by an immediate shutdown.
        if (this->waited() && (!this->claim() || this->queue_.qsize() == 0)) throw_get_shut_down();
        return this->queue_.take();
    }
};

template <class T, class Items>
class BasicQueue<T, Items>::JoinAwaiter : public AwaiterBase {
public:
    explicit JoinAwaiter(BasicQueue& queue) noexcept : queue_{queue} {}

    [[nodiscard]] bool await_ready() const {
        if (queue_.put_ == queue_.done_) return true;
        queue_.check_loop();
        return false;
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        place_.emplace().wait_in(queue_.joiners_, handle);
    }
    void await_resume() const {
        if (place_) place_->check_let_go();
    }

private:
    BasicQueue& queue_;
    std::optional<PlainPlace> place_;
};

/// What `put` gives: the item on its way. Awaited once.
template <class T, class Items>
class [[nodiscard("it puts only when it is awaited")]] BasicQueue<T, Items>::Put {
public:
    template <class U>
    Put(BasicQueue& queue, U&& item) : queue_{&queue}, item_(std::forward<U>(item)) {}

    PutAwaiter operator co_await() noexcept { return PutAwaiter{*queue_, item_}; }

private:
    BasicQueue* queue_;
    T item_;
};

template <class T, class Items>
template <class U>
    requires std::is_convertible_v<U, T>
void BasicQueue<T, Items>::put_nowait(U&& item) {
    if (shutdown_) throw_put_shut_down();
    if (full()) throw QueueFull("no room came free in the queue");
    insert(std::forward<U>(item));
}

template <class T, class Items>
T BasicQueue<T, Items>::get_nowait() {
    if (empty()) {
        if (shutdown_ && qsize() == 0) throw_get_shut_down();
        throw QueueEmpty("no item came into the queue");
    }
    return take();
}

template <class T, class Items>
template <class U>
void BasicQueue<T, Items>::insert(U&& item) {
    items_.put(std::forward<U>(item));
    ++put_;
    if (getters_.tasks.waiting() != 0) [[unlikely]]
        keep_promises();
}

template <class T, class Items>
T BasicQueue<T, Items>::take() {
    T item = take_item();
    ++taken_;
    if (putters_.tasks.waiting() != 0 || shutdown_) [[unlikely]]
        keep_promises();
    return item;
}

// Apart from take(): g++ 12 moves a variable out of a block with a try, and that move may throw when the item has left.
template <class T, class Items>
T BasicQueue<T, Items>::take_item() {
    try {
        return items_.take();
    } catch (...) {
        keep_promises();
        throw;
    }
}

template <class T, class Items>
void BasicQueue<T, Items>::keep_promises() noexcept {
    const auto promise = [](Side& side) {
        ++side.promised;
        side.tasks.give_first()->task().wake();
    };
    // Nobody is let in after the end; but who was promised an item that is left may yet leave it to another.
    if (shutdown_) wake_all(putters_.tasks);
    if (shutdown_ && qsize() == 0) wake_all(getters_.tasks);
    while (putters_.tasks.waiting() != 0 && !full()) promise(putters_);
    while (getters_.tasks.waiting() != 0 && !empty()) promise(getters_);
}

template <class T, class Items>
void BasicQueue<T, Items>::task_done() {
    if (done_ == put_)
        throw UsageError("task_done for more items than were put: call it once for each item that get gave");
    if (++done_ == put_) wake_all(joiners_);
}

template <class T, class Items>
void BasicQueue<T, Items>::shutdown(bool immediate) {
    Items dropped{};
    shutdown_ = true;
    if (immediate) {
        dropped = std::exchange(items_, Items{});
        done_ = (std::min)(put_, done_ + (put_ - taken_));
        taken_ = put_;
        if (done_ == put_) wake_all(joiners_);
    }
    keep_promises();
    // Last of all the items go, whose destructors may use the queue.
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
