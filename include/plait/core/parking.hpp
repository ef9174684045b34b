// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>

namespace plait::inline PLAIT_ABI::detail {

/// Where the threads of this program sleep, first come, first served, each under the address that it waits for.
///
/// A primitive keeps its state in an atomic word and comes here only to sleep or to wake. It needs no mutex or condition
/// of its own, so it is constant-initialised, one word large, and may be destroyed as soon as its last waiter is let go:
/// `wake` never looks at it.
///
/// Source: the idea is WebKit's parking lot (Pizlo, "Locking in WebKit", 2016).
namespace parking {

enum class Result {
    unwanted,     ///< `may_sleep` said no
    woken,        ///< `wake` picked this thread
    handed_over,  ///< `wake_one` picked it, and gave it what it waited for
    interrupted,  ///< `interrupt` picked it
    timed_out,
};

/// Where among those who sleep under one address: who slept before and got nothing may go first.
enum class Place { last, first };

/// Who sleeps under an address, told to those who wake.
enum class Sleepers { none, one, several };

/// Sleeps under `address` until somebody picks this thread or `deadline` passes, if `may_sleep()` still says so once no
/// `wake` of this address can come between the question and the sleep. `may_sleep` must not park, wake or throw, nor
/// lock what is held while waking. `self` names the sleep for `interrupt`.
template <class Predicate>
Result sleep(const void* address, Deadline deadline, Predicate may_sleep, Place place = Place::last,
             const void* self = nullptr);

/// As the first `sleep`, but this thread is among the sleepers before `once_listed()` is called: whoever that lets go on
/// can wake it already. `once_listed` may lock and wake, not throw.
template <class Function>
Result sleep_after(const void* address, Deadline deadline, Function once_listed, const void* self = nullptr);

/// Wakes the `limit` threads that have slept longest under `address`; returns how many there were to wake.
std::size_t wake(const void* address, std::size_t limit);
std::size_t wake_all(const void* address);
/// The same, and calls `before_wake()` first, while no thread can begin or end a sleep there: the place to write a word
/// whose new value lets others destroy the primitive, and make another one at its address.
template <class Function>
std::size_t wake_all(const void* address, Function before_wake);

/// Wakes the `limit` threads that have slept longest under `address`, and asks `before_wake(sleepers)` first, while no
/// thread can begin or end a sleep there: with how many sleep, counted to `limit` + 1. What it returns is what they are
/// told; for `unwanted` they sleep on.
template <class Function>
void wake(const void* address, std::size_t limit, Function before_wake);

/// Wakes the thread that has slept longest under `address`, and asks `before_wake(Sleepers)` first, while no thread can
/// begin or end a sleep there: the place to write the primitive's word. It is asked also when nobody sleeps. What it
/// returns, `woken` or `handed_over`, is what the sleeper is told.
template <class Function>
void wake_one(const void* address, Function before_wake);

/// Wakes the thread that sleeps under `address` as `self`, if there is one.
void interrupt(const void* address, const void* self);

/// How many threads sleep under `address` now.
[[nodiscard]] std::size_t waiting(const void* address);

/// For the child of a fork, before anything else: the sleepers were threads of the parent, and a lock of the table may
/// have been held by one of them.
///
/// The registry of plait's threads has it called. In the child of a program that never used one, the table keeps the
/// parent's sleepers, and wakes them in vain: such a child uses no primitive in which another thread of the parent slept.
void reset_after_fork() noexcept;

/// What a thread sleeps on. It is used again and again, and never destroyed but where memory was short: who picks it
/// wakes it when the bucket's mutex is free, so that it does not run into that, and may come late, when the thread
/// sleeps elsewhere or the sleeper is another's. That one wakes in vain, and sleeps on.
struct Sleeper {
    std::condition_variable awake;
    const bool lasts;  // else it goes with the sleep, and is woken under the mutex

    explicit Sleeper(bool lasts_) : lasts{lasts_} {}

    // The rest is guarded by the mutex of its address's bucket.
    const void* address = nullptr;
    const void* self = nullptr;
    bool picked = false;
    Result result = Result::timed_out;
    Sleeper* next = nullptr;
    Sleeper* previous = nullptr;
};

/// Whom to wake once the mutex is free: to be constructed before it is locked.
class Awakenings {
public:
    Awakenings() = default;
    Awakenings(const Awakenings&) = delete;
    Awakenings& operator=(const Awakenings&) = delete;
    ~Awakenings() {
        for (std::size_t i = 0; i < count_; ++i) sleepers_[i]->awake.notify_one();
    }
    void add(Sleeper& sleeper) noexcept {
        if (sleeper.lasts && count_ < most)
            sleepers_[count_++] = &sleeper;
        else
            sleeper.awake.notify_one();
    }

private:
    static constexpr std::size_t most = 16;
    Sleeper* sleepers_[most];
    std::size_t count_ = 0;
};

/// The sleepers of all addresses that share a hash, oldest first; everything in it is guarded by `mutex`.
struct alignas(64) Bucket {
    std::mutex mutex;
    Sleeper* oldest = nullptr;
    Sleeper* newest = nullptr;

    void add(Sleeper& sleeper, Place place) noexcept;
    void remove(Sleeper& sleeper) noexcept;
    /// The oldest sleeper under `address` from `from` on, or null.
    static Sleeper* find(Sleeper* from, const void* address) noexcept;
    /// How many sleep under `address`, counted no further than to `enough`.
    [[nodiscard]] std::size_t count(const void* address, std::size_t enough) const noexcept;
    /// Picks the `limit` oldest under `address`; returns how many there were.
    std::size_t pick_oldest(const void* address, std::size_t limit, Awakenings& awakenings,
                            Result result = Result::woken) noexcept;
    /// Takes `sleeper` off the list, to be woken.
    void pick(Sleeper& sleeper, Result result, Awakenings& awakenings) noexcept;
};

inline constexpr std::size_t bucket_count = 256;

struct Table {
    Bucket buckets[bucket_count];
    std::mutex idle_mutex;
    Sleeper* idle = nullptr;  // sleepers that no thread has, guarded by idle_mutex
};

PLAIT_VISIBLE inline Table& table() {
    // Never destroyed: a thread may still sleep or wake while static objects are being destroyed.
    static Table* const all = new Table;
    return *all;
}

inline Bucket& bucket_of(const void* address) {
    constexpr std::uint64_t golden_ratio = 0x9E3779B97F4A7C15;
    return table().buckets[(reinterpret_cast<std::uintptr_t>(address) * golden_ratio >> 32) % bucket_count];
}

/// The calling thread's sleeper while it does not sleep, or null.
PLAIT_VISIBLE inline Sleeper*& own_sleeper() noexcept {
    static constinit thread_local Sleeper* sleeper = nullptr;
    return sleeper;
}

/// A sleeper for one sleep of this thread.
class SleeperUse {
public:
    SleeperUse(const void* address, const void* self) : sleeper_{take()} {
        sleeper_->address = address;
        sleeper_->self = self;
        sleeper_->picked = false;
        sleeper_->result = Result::timed_out;
        sleeper_->next = sleeper_->previous = nullptr;
    }
    SleeperUse(const SleeperUse&) = delete;
    SleeperUse& operator=(const SleeperUse&) = delete;
    ~SleeperUse() {
        if (sleeper_ == &spare_)
            spare_.~Sleeper();
        else
            give_back(sleeper_);
    }
    Sleeper& operator*() const noexcept { return *sleeper_; }

private:
    /// Gives the thread's own back at its end. A thread-local that is destroyed later may still sleep.
    struct EndOfThread {
        ~EndOfThread() {
            ended() = true;
            if (Sleeper* const sleeper = std::exchange(own_sleeper(), nullptr)) give_back(sleeper);
        }
        static bool& ended() noexcept {
            static constinit thread_local bool has_ended = false;
            return has_ended;
        }
    };

    Sleeper* take() {
        if (Sleeper* const own = std::exchange(own_sleeper(), nullptr)) return own;
        {
            Table& all = table();
            const std::scoped_lock lock{all.idle_mutex};
            if (all.idle != nullptr) return std::exchange(all.idle, all.idle->next);
        }
        // Without memory one that goes with this sleep has to do.
        Sleeper* const made = new (std::nothrow) Sleeper{true};
        return made != nullptr ? made : ::new (static_cast<void*>(&spare_)) Sleeper{false};
    }
    static void give_back(Sleeper* sleeper) noexcept {
        if (!EndOfThread::ended() && own_sleeper() == nullptr) {
            static thread_local EndOfThread end;
            static_cast<void>(&end);
            own_sleeper() = sleeper;
            return;
        }
        Table& all = table();
        const std::scoped_lock lock{all.idle_mutex};
        sleeper->next = std::exchange(all.idle, sleeper);
    }

    union {
        Sleeper spare_;
    };
    Sleeper* const sleeper_;
};

/// Waits for `picked`; returns whether it came before `deadline`.
inline bool wait_picked(Sleeper& self, std::unique_lock<std::mutex>& lock, Deadline deadline) {
    if (deadline.is_never()) {
        while (!self.picked) self.awake.wait(lock);
        return true;
    }
    while (!self.picked) {
        auto until = deadline.time_point();
        if constexpr (!waits_follow_steady_clock) {
            // This wait follows the wall clock, which may be set back meanwhile: look again at least every second.
            until = (std::min)(until, Deadline::Clock::now() + std::chrono::seconds{1});
        }
        self.awake.wait_until(lock, until);
        if (!self.picked && deadline.has_passed()) return false;
    }
    return true;
}

template <class Predicate>
Result sleep(const void* address, Deadline deadline, Predicate may_sleep, Place place, const void* self) {
    Bucket& bucket = bucket_of(address);
    const SleeperUse use{address, self};
    Sleeper& sleeper = *use;
    sync_point();
    std::unique_lock lock{bucket.mutex};
    if (!may_sleep()) return Result::unwanted;
    bucket.add(sleeper, place);
    if (!wait_picked(sleeper, lock, deadline)) bucket.remove(sleeper);
    return sleeper.result;
}

template <class Function>
Result sleep_after(const void* address, Deadline deadline, Function once_listed, const void* self) {
    Bucket& bucket = bucket_of(address);
    const SleeperUse use{address, self};
    Sleeper& sleeper = *use;
    {
        const std::scoped_lock lock{bucket.mutex};
        bucket.add(sleeper, Place::last);
    }
    sync_point();
    once_listed();
    sync_point();
    std::unique_lock lock{bucket.mutex};
    if (!wait_picked(sleeper, lock, deadline)) bucket.remove(sleeper);
    return sleeper.result;
}

inline std::size_t wake(const void* address, std::size_t limit) {
    Bucket& bucket = bucket_of(address);
    sync_point();
    Awakenings awakenings;
    const std::scoped_lock lock{bucket.mutex};
    return bucket.pick_oldest(address, limit, awakenings);
}

inline std::size_t wake_all(const void* address) { return wake(address, SIZE_MAX); }

template <class Function>
std::size_t wake_all(const void* address, Function before_wake) {
    Bucket& bucket = bucket_of(address);
    sync_point();
    Awakenings awakenings;
    const std::scoped_lock lock{bucket.mutex};
    before_wake();
    sync_point();
    return bucket.pick_oldest(address, SIZE_MAX, awakenings);
}

template <class Function>
void wake(const void* address, std::size_t limit, Function before_wake) {
    Bucket& bucket = bucket_of(address);
    sync_point();
    Awakenings awakenings;
    const std::scoped_lock lock{bucket.mutex};
    const Result result = before_wake(bucket.count(address, limit == SIZE_MAX ? limit : limit + 1));
    if (result != Result::unwanted) bucket.pick_oldest(address, limit, awakenings, result);
}

template <class Function>
void wake_one(const void* address, Function before_wake) {
    Bucket& bucket = bucket_of(address);
    sync_point();
    Awakenings awakenings;
    const std::scoped_lock lock{bucket.mutex};
    Sleeper* const sleeper = Bucket::find(bucket.oldest, address);
    Sleepers sleepers = Sleepers::none;
    if (sleeper != nullptr)
        sleepers = Bucket::find(sleeper->next, address) != nullptr ? Sleepers::several : Sleepers::one;
    const Result result = before_wake(sleepers);
    if (sleeper != nullptr) bucket.pick(*sleeper, result, awakenings);
}

inline void interrupt(const void* address, const void* self) {
    Bucket& bucket = bucket_of(address);
    sync_point();
    Awakenings awakenings;
    const std::scoped_lock lock{bucket.mutex};
    Sleeper* sleeper = Bucket::find(bucket.oldest, address);
    while (sleeper != nullptr && sleeper->self != self) sleeper = Bucket::find(sleeper->next, address);
    if (sleeper != nullptr) bucket.pick(*sleeper, Result::interrupted, awakenings);
}

inline std::size_t waiting(const void* address) {
    Bucket& bucket = bucket_of(address);
    const std::scoped_lock lock{bucket.mutex};
    return bucket.count(address, SIZE_MAX);
}

inline void reset_after_fork() noexcept {
    // The old contents are dropped, not destroyed: a mutex that a thread of the parent holds may not be destroyed here,
    // and a thread of the parent may have been in the midst of waking this one's sleeper.
    ::new (static_cast<void*>(&table())) Table;
    own_sleeper() = nullptr;
}

inline void Bucket::add(Sleeper& sleeper, Place place) noexcept {
    if (place == Place::last) {
        sleeper.previous = newest;
        (newest != nullptr ? newest->next : oldest) = &sleeper;
        newest = &sleeper;
    } else {
        sleeper.next = oldest;
        (oldest != nullptr ? oldest->previous : newest) = &sleeper;
        oldest = &sleeper;
    }
}

inline void Bucket::remove(Sleeper& sleeper) noexcept {
    (sleeper.previous != nullptr ? sleeper.previous->next : oldest) = sleeper.next;
    (sleeper.next != nullptr ? sleeper.next->previous : newest) = sleeper.previous;
}

inline Sleeper* Bucket::find(Sleeper* from, const void* address) noexcept {
    while (from != nullptr && from->address != address) from = from->next;
    return from;
}

inline std::size_t Bucket::count(const void* address, std::size_t enough) const noexcept {
    std::size_t count = 0;
    Sleeper* sleeper = find(oldest, address);
    while (sleeper != nullptr && count < enough) {
        ++count;
        sleeper = find(sleeper->next, address);
    }
    return count;
}

inline std::size_t Bucket::pick_oldest(const void* address, std::size_t limit, Awakenings& awakenings,
                                       Result result) noexcept {
    std::size_t picked = 0;
    Sleeper* sleeper = find(oldest, address);
    while (sleeper != nullptr && picked < limit) {
        Sleeper* const next = find(sleeper->next, address);
        pick(*sleeper, result, awakenings);
        sleeper = next;
        ++picked;
    }
    return picked;
}

inline void Bucket::pick(Sleeper& sleeper, Result result, Awakenings& awakenings) noexcept {
    remove(sleeper);
    sleeper.result = result;
    sleeper.picked = true;
    awakenings.add(sleeper);
}

}  // namespace parking
}  // namespace plait::inline PLAIT_ABI::detail
