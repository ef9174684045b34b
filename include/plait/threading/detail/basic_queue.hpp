// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/detail/turnstile.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

/// The words of every queue, over `Items`, which says in which order items leave.
///
/// Two turnstiles count the items that were put and those that were taken: what lies between is in the queue. Who puts
/// holds the first one, who takes the second, and each reads the other's count only when what it knew of it is used up.
///
/// Why nothing is lost:
/// - an item: it is constructed, then counted, under the hold of the putting turnstile; a `shutdown` takes that hold to
///   close it. So the item was counted before the end, and is given out or dropped, or its `put` threw.
/// - a wakeup: a thread that takes sleeps under the putting turnstile, only if no item is there when it leaves its note
///   (turnstile.hpp); each item that comes wakes one such thread. One that was woken looks before it gives up, also
///   when its time is over; one that then fails to take, because a move threw, wakes another in its place.
/// - room: the same the other way round.
template <class T, class Items>
class BasicQueue {
public:
    /// With `maxsize` greater than zero, `put` waits while there are so many items; else there is always room.
    explicit constexpr BasicQueue(std::ptrdiff_t maxsize = 0) noexcept : maxsize_{maxsize} {}
    BasicQueue(const BasicQueue&) = delete;
    BasicQueue& operator=(const BasicQueue&) = delete;

    /// Puts an item, made of what is given, in the queue, waiting while it is full. If it throws, the queue is unchanged,
    /// and an item that was to be moved is still the caller's.
    ///
    /// Throws: QueueShutDown after `shutdown`; and what the item's constructor throws.
    template <class U = T>
        requires std::is_convertible_v<U, T>
    void put(U&& item) {
        put_within(std::forward<U>(item), Timeout::never(), nullptr);
    }
    /// Waits for `timeout` at most, or until a stop is requested. Throws also: QueueFull where there was no room.
    template <class U = T>
        requires std::is_convertible_v<U, T>
    void put(U&& item, Timeout timeout) {
        put_within(std::forward<U>(item), timeout, nullptr);
    }
    template <class U = T>
        requires std::is_convertible_v<U, T>
    void put(U&& item, const StopToken& stop) {
        put_within(std::forward<U>(item), Timeout::never(), &stop);
    }
    template <class U = T>
        requires std::is_convertible_v<U, T>
    void put(U&& item, Timeout timeout, const StopToken& stop) {
        put_within(std::forward<U>(item), timeout, &stop);
    }
    /// Does not wait. Throws also: QueueFull where there is no room.
    template <class U = T>
        requires std::is_convertible_v<U, T>
    void put_nowait(U&& item) {
        put_within(std::forward<U>(item), std::chrono::seconds{0}, nullptr);
    }

    /// Takes the next item out, waiting while there is none. If the item's move throws, it stays the next one.
    ///
    /// Throws: QueueShutDown once the queue was shut down and has given its last item.
    T get() { return get_within(Timeout::never(), nullptr); }
    /// Waits for `timeout` at most, or until a stop is requested. Throws also: QueueEmpty where no item came.
    T get(Timeout timeout) { return get_within(timeout, nullptr); }
    T get(const StopToken& stop) { return get_within(Timeout::never(), &stop); }
    T get(Timeout timeout, const StopToken& stop) { return get_within(timeout, &stop); }
    /// Does not wait. Throws also: QueueEmpty where there is no item.
    T get_nowait() { return get_within(std::chrono::seconds{0}, nullptr); }

    class Iterator;
    /// Items as they come, each taken out, until the queue is shut down and empty: `for (auto& item : queue)`.
    [[nodiscard]] Iterator begin() { return Iterator{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// Says that what was taken out by one `get` has been dealt with. Throws: UsageError where that was said of every item
    /// that was ever put.
    void task_done();
    /// Waits until `task_done` was called for every item that was ever put, and not dropped.
    void join() { static_cast<void>(join_within(Timeout::never(), nullptr)); }
    /// Waits for `timeout` at most, or until a stop is requested; returns whether everything was done.
    [[nodiscard]] bool join(Timeout timeout) { return join_within(timeout, nullptr); }
    [[nodiscard]] bool join(const StopToken& stop) { return join_within(Timeout::never(), &stop); }
    [[nodiscard]] bool join(Timeout timeout, const StopToken& stop) { return join_within(timeout, &stop); }

    /// From now on `put` throws, and so does `get` once the queue is empty: at once if `immediate`, which drops what is
    /// in it, as if `task_done` had been called for each. Who waits is woken.
    void shutdown(bool immediate = false);
    [[nodiscard]] bool is_shutdown() const noexcept { return putting_.turnstile.read().closed; }

    /// How many items are in it, whether there is none, and whether there is no room: where others put and take, that
    /// may have changed already.
    [[nodiscard]] std::size_t qsize() const noexcept {
        // In this order, so that the difference is never negative.
        const std::uint64_t taken = taking_.turnstile.read().count;
        return static_cast<std::size_t>(putting_.turnstile.read().count - taken);
    }
    [[nodiscard]] bool empty() const noexcept { return qsize() == 0; }
    [[nodiscard]] bool full() const noexcept { return is_bounded() && qsize() >= static_cast<std::size_t>(maxsize_); }
    [[nodiscard]] std::ptrdiff_t maxsize() const noexcept { return maxsize_; }
    /// How many threads sleep in `put`, `get` or `join`; for tests and diagnosis.
    [[nodiscard]] std::size_t waiting() const {
        return putting_.turnstile.waiting() + taking_.turnstile.waiting() + done_.waiting();
    }

protected:
    ~BasicQueue() { items_.discard(items_.detach(putting_.end, taking_.end), qsize()); }

private:
    struct Putting {
        Turnstile turnstile;           // counts what was put; who takes sleeps here
        std::uint64_t room_until = 0;  // the count at which the queue is full, by what the holder last read
        typename Items::PutEnd end;
    };
    struct Taking {
        Turnstile turnstile;      // counts what was taken; who puts sleeps here
        std::uint64_t known = 0;  // how many were put, by what the holder last read
        typename Items::TakeEnd end;
    };
    enum class Passage { open, blocked, shut };
    /// Holds a turnstile until its end; `pass` counts one on instead. Who leaves without passing lets another try, who
    /// may sleep at `others`.
    class Hold {
    public:
        Hold(Turnstile& turnstile, Turnstile& others) noexcept : turnstile_{&turnstile}, others_{others} {}
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        ~Hold() {
            if (turnstile_ == nullptr) return;
            turnstile_->release();
            others_.nudge(1);
        }
        void pass() noexcept { std::exchange(turnstile_, nullptr)->advance(); }

    private:
        Turnstile* turnstile_;
        Turnstile& others_;
    };

    template <class U>
    void put_within(U&& item, Timeout timeout, const StopToken* stop);
    T get_within(Timeout timeout, const StopToken* stop);
    bool join_within(Timeout timeout, const StopToken* stop);

    /// If they say `open`, this thread holds the turnstile, and may put or take one item.
    inline Passage try_to_enter_put() noexcept;
    inline Passage try_to_enter_get() noexcept;
    Passage wait_to_enter_put(Timeout timeout, const StopToken* stop);
    Passage wait_to_enter_get(Timeout timeout, const StopToken* stop);
    inline T take();

    [[nodiscard]] bool is_bounded() const noexcept { return maxsize_ > 0; }
    [[nodiscard]] std::uint64_t put_count() const noexcept { return putting_.turnstile.read().count; }

    // Padding rather than alignment, which a coroutine's frame does not give.
    const std::ptrdiff_t maxsize_;
    Turnstile done_;  // counts what was dealt with; who joins sleeps here
    Items items_;
    [[maybe_unused]] char apart_[64]{};
    Putting putting_;
    [[maybe_unused]] char further_apart_[64]{};
    Taking taking_;
};

/// Walks through the items of a queue, taking each out; an input iterator.
template <class T, class Items>
class BasicQueue<T, Items>::Iterator {
public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    explicit Iterator(BasicQueue& queue) : queue_{&queue} { ++*this; }

    T& operator*() const noexcept { return taken_->item; }
    Iterator& operator++() {
        taken_.reset();
        Passage passage = queue_->try_to_enter_get();
        if (passage == Passage::blocked) passage = queue_->wait_to_enter_get(Timeout::never(), nullptr);
        if (passage == Passage::open) taken_.emplace(*queue_);
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& self, std::default_sentinel_t) noexcept { return !self.taken_.has_value(); }

private:
    // Made in place by `take`: a move after that, if it threw, would lose the item.
    struct Taken {
        explicit Taken(BasicQueue& queue) : item(queue.take()) {}
        T item;
    };
    BasicQueue* queue_;
    mutable std::optional<Taken> taken_;
};

template <class T, class Items>
template <class U>
void BasicQueue<T, Items>::put_within(U&& item, Timeout timeout, const StopToken* stop) {
    Passage passage = try_to_enter_put();
    if (passage == Passage::blocked) passage = wait_to_enter_put(timeout, stop);
    switch (passage) {
        case Passage::shut:
            throw QueueShutDown("put into a queue that was shut down: put before shutdown(), or make another queue");
        case Passage::blocked:
            throw QueueFull("no room came free in the queue");
        case Passage::open:
            break;
    }
    Hold hold{putting_.turnstile, taking_.turnstile};
    items_.put(putting_.end, std::forward<U>(item));
    hold.pass();
}

template <class T, class Items>
T BasicQueue<T, Items>::get_within(Timeout timeout, const StopToken* stop) {
    Passage passage = try_to_enter_get();
    if (passage == Passage::blocked) passage = wait_to_enter_get(timeout, stop);
    switch (passage) {
        case Passage::shut:
            throw QueueShutDown(
                "get from a queue that was shut down and has given its last item: end here, or make another queue");
        case Passage::blocked:
            throw QueueEmpty("no item came into the queue");
        case Passage::open:
            break;
    }
    return take();
}

template <class T, class Items>
T BasicQueue<T, Items>::take() {
    Hold hold{taking_.turnstile, putting_.turnstile};
    T item = items_.take(putting_.turnstile, putting_.end, taking_.end);
    hold.pass();
    return item;
}

template <class T, class Items>
typename BasicQueue<T, Items>::Passage BasicQueue<T, Items>::try_to_enter_put() noexcept {
    const Turnstile::Reading put = putting_.turnstile.acquire();
    if (!put.closed) {
        if (!is_bounded() || put.count != putting_.room_until) return Passage::open;
        putting_.room_until = taking_.turnstile.read().count + static_cast<std::uint64_t>(maxsize_);
        if (put.count != putting_.room_until) return Passage::open;
    }
    putting_.turnstile.release();
    return put.closed ? Passage::shut : Passage::blocked;
}

template <class T, class Items>
typename BasicQueue<T, Items>::Passage BasicQueue<T, Items>::try_to_enter_get() noexcept {
    const Turnstile::Reading taken = taking_.turnstile.acquire();
    if (taken.count != taking_.known) return Passage::open;
    const Turnstile::Reading put = putting_.turnstile.read();
    taking_.known = put.count;
    if (taken.count != taking_.known) return Passage::open;
    taking_.turnstile.release();
    return put.closed ? Passage::shut : Passage::blocked;
}

template <class T, class Items>
typename BasicQueue<T, Items>::Passage BasicQueue<T, Items>::wait_to_enter_put(Timeout timeout, const StopToken* stop) {
    if (timeout.is_zero()) return Passage::blocked;
    const Deadline deadline{timeout};
    const auto full = [this](Turnstile::Reading taken) {
        const Turnstile::Reading put = putting_.turnstile.read();
        return !put.closed && put.count - taken.count >= static_cast<std::uint64_t>(maxsize_);
    };
    for (;;) {
        const bool go_on = spin_until([&] { return !full(taking_.turnstile.read()); }) ||
                           taking_.turnstile.sleep(deadline, stop, full);
        const Passage passage = try_to_enter_put();
        if (passage != Passage::blocked || !go_on) return passage;
    }
}

template <class T, class Items>
typename BasicQueue<T, Items>::Passage BasicQueue<T, Items>::wait_to_enter_get(Timeout timeout, const StopToken* stop) {
    if (timeout.is_zero()) return Passage::blocked;
    const Deadline deadline{timeout};
    const auto none = [this](Turnstile::Reading put) {
        return !put.closed && put.count == taking_.turnstile.read().count;
    };
    for (;;) {
        const bool go_on = spin_until([&] { return !none(putting_.turnstile.read()); }) ||
                           putting_.turnstile.sleep(deadline, stop, none);
        const Passage passage = try_to_enter_get();
        if (passage != Passage::blocked || !go_on) return passage;
    }
}

template <class T, class Items>
void BasicQueue<T, Items>::task_done() {
    const std::uint64_t done = done_.acquire().count;
    const std::uint64_t put = put_count();
    if (done == put) {
        done_.release();
        throw UsageError("task_done for more items than were put: call it once for each item that get gave");
    }
    done_.advance(1, done + 1 == put ? SIZE_MAX : 0);
}

template <class T, class Items>
bool BasicQueue<T, Items>::join_within(Timeout timeout, const StopToken* stop) {
    // In this order: nothing is done that was not put.
    const auto unfinished = [this](Turnstile::Reading done) { return done.count != put_count(); };
    if (!unfinished(done_.read())) return true;
    if (timeout.is_zero()) return false;
    const Deadline deadline{timeout};
    bool go_on = true;
    do {
        go_on = done_.sleep(deadline, stop, unfinished);
        if (!unfinished(done_.read())) return true;
    } while (go_on);
    return false;
}

template <class T, class Items>
void BasicQueue<T, Items>::shutdown(bool immediate) {
    typename Items::Detached dropped{};
    std::uint64_t count = 0;
    const std::uint64_t taken = immediate ? taking_.turnstile.acquire().count : 0;
    const std::uint64_t put = putting_.turnstile.acquire().count;
    if (immediate) {
        dropped = items_.detach(putting_.end, taking_.end);
        count = put - taken;
        taking_.known = put;
        taking_.turnstile.advance(count);
        const std::uint64_t done = done_.acquire().count;
        const std::uint64_t now_done = (std::min)(count, put - done);
        done_.advance(now_done, done + now_done == put ? SIZE_MAX : 0);
    }
    putting_.turnstile.close();
    taking_.turnstile.nudge(SIZE_MAX);
    items_.discard(std::move(dropped), static_cast<std::size_t>(count));
}

}  // namespace plait::inline PLAIT_ABI::threading::detail
