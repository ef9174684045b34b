// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/detail/lock_state.hpp>
#include <plait/multiprocessing/detail/shared_wait.hpp>
#include <plait/multiprocessing/rlock.hpp>
#include <plait/multiprocessing/shared_object.hpp>
#include <plait/os/mutex.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Where one waiter of a Condition sleeps.
///
/// Whoever has the place owns `alive` from before it begins to wait until after it has ceased: so that a notification is
/// not spent on a dead one, whose place is given to another.
struct WaitingPlace {
    // What word holds. The lock's owner takes a free place, which is `waiting` then, and tells one that waits. Who has the
    // place leaves it. It looks at the word for good when it has the lock again: so whether it was told in time is decided
    // under the lock.
    static constexpr std::uint32_t free = 0;
    static constexpr std::uint32_t waiting = 1;
    static constexpr std::uint32_t told = 2;

    os::Mutex alive;
    std::atomic<std::uint32_t> word{free};
    std::uint64_t turn = 0;  // the lower, the longer it waits
};

/// The waiters of a Condition in shared memory.
///
/// All but the sleep itself is done by the lock's owner. It may die at every step, and after `recover` another goes on:
/// what a place is follows from its `word` and `alive` alone, and what else changes, changes before them and does no harm.
class WaitingPlaces {
public:
    static constexpr std::size_t most = 1'000;

    WaitingPlaces() noexcept {}  // NOLINT(modernize-use-equals-default): leaves the room for places alone

    /// For the lock's owner: a place from which it waits. Throws: Error where there is none left.
    WaitingPlace& take();
    /// For who has it; with the lock, but where the lock's owner died.
    static void leave(WaitingPlace& place) noexcept {
        sync_point();
        place.word.store(WaitingPlace::free, std::memory_order_relaxed);
        sync_point();
        place.alive.unlock();
    }
    /// For the lock's owner: tells the `count` that wait longest.
    void notify(std::size_t count) noexcept;

    [[nodiscard]] std::size_t waiting() const noexcept {
        std::size_t count = 0;
        const std::size_t end = end_.load(std::memory_order_acquire);
        for (std::size_t i = 0; i < end; ++i)
            if (word_of(i) == WaitingPlace::waiting) ++count;
        return count;
    }

private:
    WaitingPlace& place(std::size_t i) noexcept { return reinterpret_cast<WaitingPlace*>(room_)[i]; }
    // Relaxed: those who change it have the lock, or are dead, or leave it free; a place is claimed by its mutex.
    [[nodiscard]] std::uint32_t word_of(std::size_t i) const noexcept {
        return reinterpret_cast<const WaitingPlace*>(room_)[i].word.load(std::memory_order_relaxed);
    }
    /// Makes the place the caller's, if nobody has it, or one who died there.
    static bool claim(WaitingPlace& place) noexcept {
        const os::MutexResult result = place.alive.try_lock();
        return result == os::MutexResult::acquired || result == os::MutexResult::owner_died;
    }

    // Written by the lock's owner.
    std::uint64_t next_turn_ = 0;
    std::size_t made_ = 0;             // the places before this have been made, each at its first need
    std::atomic<std::size_t> end_{0};  // behind the last place that is not free; others read it, too
    alignas(WaitingPlace) std::byte room_[most * sizeof(WaitingPlace)];
};

/// A Condition in shared memory, with a lock for one that is given none.
struct ConditionState {
    ConditionState() {}  // NOLINT(modernize-use-equals-default): see WaitingPlaces

    Kinded<RLockState> own_lock;
    WaitingPlaces places;
};

/// One wait, by the lock's owner, for no longer than it lasts.
class Waiter {
public:
    Waiter(ConditionState& condition, LockState& lock) : lock_{lock}, place_{condition.places.take()} {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { WaitingPlaces::leave(place_); }

    /// Gives up the lock, sleeps, and takes it again. Whether it was told by then. Throws: OwnerDiedError, without the
    /// lock, if its owner died meanwhile: then there may be nobody left to tell.
    bool sleep(Deadline deadline) {
        const std::uint32_t again = lock_.release_all();
        while (!is_told() && !deadline.has_passed()) {
            sync_point();
            os::futex_wait(place_.word, WaitingPlace::waiting, next_look(deadline));
            sync_point();
            if (!is_told() && lock_.is_lost()) break;
        }
        lock_.restore(again);
        return is_told();
    }

private:
    [[nodiscard]] bool is_told() const noexcept {
        return place_.word.load(std::memory_order_relaxed) == WaitingPlace::told;
    }

    LockState& lock_;
    WaitingPlace& place_;
};

inline WaitingPlace& WaitingPlaces::take() {
    std::size_t i = 0;
    for (; i < most; ++i) {
        if (i == made_) {
            ::new (static_cast<void*>(&place(i))) WaitingPlace;
            sync_point();
            ++made_;
        }
        // One that is free and cannot be claimed is just being left.
        if (word_of(i) == WaitingPlace::free && claim(place(i))) break;
    }
    if (i == most)
        for (i = 0; i < most && !claim(place(i));) ++i;
    if (i == most)
        throw Error("a Condition has room for " + std::to_string(most) +
                    " waiters, and all of it is taken: let them wait at several conditions");
    sync_point();
    place(i).turn = next_turn_++;
    // Release pairs with the acquire in `waiting`, which then finds the place made.
    end_.store((std::max)(end_.load(std::memory_order_relaxed), i + 1), std::memory_order_release);
    sync_point();
    place(i).word.store(WaitingPlace::waiting, std::memory_order_relaxed);
    sync_point();
    return place(i);
}

inline void WaitingPlaces::notify(std::size_t count) noexcept {
    std::array<std::uint16_t, most> waiters;
    std::size_t found = 0;
    std::size_t end = 0;
    for (std::size_t i = 0; i < end_.load(std::memory_order_relaxed); ++i) {
        const std::uint32_t word = word_of(i);
        if (word == WaitingPlace::waiting) waiters[found++] = static_cast<std::uint16_t>(i);
        if (word != WaitingPlace::free) end = i + 1;
    }
    sync_point();
    end_.store(end, std::memory_order_release);
    const auto last = waiters.begin() + static_cast<std::ptrdiff_t>(found);
    std::sort(waiters.begin(), last, [this](auto a, auto b) { return place(a).turn < place(b).turn; });
    for (auto next = waiters.begin(); next != last && count > 0; ++next) {
        WaitingPlace& each = place(*next);
        const os::MutexResult result = each.alive.try_lock();
        if (result == os::MutexResult::already_mine) continue;  // this thread's, which asks its predicate just now
        if (result != os::MutexResult::timed_out) {
            leave(each);  // a dead one's
            continue;
        }
        sync_point();
        std::uint32_t word = WaitingPlace::waiting;
        // It fails where the place is being left without the lock, whose last owner died.
        if (!each.word.compare_exchange_strong(word, WaitingPlace::told, std::memory_order_relaxed)) continue;
        wake(each.word, 1);
        --count;
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
