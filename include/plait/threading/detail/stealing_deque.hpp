// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/standard_atomics.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace plait::inline PLAIT_ABI::threading::detail {

using namespace plait::detail;

/// Pointers in the order in which one thread, the owner, puts them: it takes the newest, any other thread the oldest.
///
/// Places are counted: the first pointer ever put stands at 0, the next one to be put will stand at `end()`. No lock; the
/// owner's `put` and `take` do not wait for anybody, and of several thieves one gets on.
///
/// Source: Chase and Lev, "Dynamic circular work-stealing deque" (SPAA 2005), with the memory orders of Lê, Pop, Cohen
/// and Zappa Nardelli, "Correct and efficient work-stealing for weak memory models" (PPoPP 2013), but for its fences: in
/// their place the owner's announcement that it takes, and the reads that must not come before it, are seq_cst.
///
/// Why each pointer is taken once: `begin_` only grows, and whoever takes the pointer at its place moves it on by a
/// compare-exchange, of which one succeeds. The owner leaves that out where more than one pointer is left after it has
/// taken `end_` back: a thief that did not see the taking back read `end_` before it in the one order of all seq_cst
/// operations, so it had read `begin_` before, too, and the owner, who reads `begin_` after it, sees what that thief's
/// like had moved it to; a thief behind the last but one pointer cannot reach the last without seeing it gone.
///
/// Every order of small programs has been tried, and what each memory order is needed for: by the tests' model checker.
template <class T, class Environment = StandardAtomics>
class StealingDeque {
    template <class U>
    using Atomic = typename Environment::template Atomic<U>;

public:
    explicit StealingDeque(std::size_t capacity = 256) { ring_.store(add_ring(capacity), std::memory_order_relaxed); }
    StealingDeque(const StealingDeque&) = delete;
    StealingDeque& operator=(const StealingDeque&) = delete;

    /// The owner's. Throws: std::bad_alloc, and nothing was put.
    void put(T* item) {
        const std::int64_t end = end_.load(std::memory_order_relaxed);
        // Acquire pairs with the thieves' exchange: a slot that is written again has been read.
        const std::int64_t begin = begin_.load(std::memory_order_acquire);
        Ring* ring = ring_.load(std::memory_order_relaxed);
        if (end - begin >= ring->size()) ring = grow(begin, end);
        ring->at(end).store(item, std::memory_order_relaxed);
        // seq_cst: the owner asks after it who sleeps. As a release it pairs with the thieves' read.
        sync_point();
        static_cast<void>(end_.exchange(end + 1, std::memory_order_seq_cst));
        sync_point();
    }

    /// The owner's: sees to it that the next `count` calls of `put` need no memory; false where there is none.
    [[nodiscard]] bool make_room(std::size_t count) noexcept {
        const std::int64_t end = end_.load(std::memory_order_relaxed);
        const std::int64_t begin = begin_.load(std::memory_order_acquire);  // as in put
        try {
            while (ring_.load(std::memory_order_relaxed)->size() - (end - begin) < static_cast<std::int64_t>(count))
                grow(begin, end);
        } catch (const std::bad_alloc&) {
            return false;
        }
        return true;
    }

    /// The owner's: the newest, if it stands at `floor` or later; null if not.
    T* take(std::int64_t floor) noexcept {
        const std::int64_t last = end_.load(std::memory_order_relaxed) - 1;
        if (last < floor || last < begin_.load(std::memory_order_relaxed)) return nullptr;
        Ring* const ring = ring_.load(std::memory_order_relaxed);
        // Both seq_cst: the announcement before the question.
        static_cast<void>(end_.exchange(last, std::memory_order_seq_cst));
        sync_point();
        std::int64_t begin = begin_.load(std::memory_order_seq_cst);
        if (begin > last) {
            end_.store(last + 1, std::memory_order_relaxed);
            return nullptr;
        }
        T* item = ring->at(last).load(std::memory_order_relaxed);
        if (begin == last) {
            // The last one: a thief may be at it.
            sync_point();
            if (!begin_.compare_exchange_strong(begin, begin + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
                item = nullptr;
            end_.store(last + 1, std::memory_order_relaxed);
        }
        return item;
    }

    /// Any thread's: the oldest, if it stands at `floor` or later; null if not, or if another was quicker.
    T* steal(std::int64_t floor = 0) noexcept {
        // Both seq_cst, in this order: see above. An acquire of `begin_` would order it with what the other thief did, not
        // with the owner's question, which is in the order of seq_cst operations alone.
        std::int64_t begin = begin_.load(std::memory_order_seq_cst);
        sync_point();
        const std::int64_t end = end_.load(std::memory_order_seq_cst);
        if (begin < floor || begin >= end) return nullptr;
        // Acquire pairs with the release in grow. The pointer may be one that was put later in the same slot, if another
        // took ours meanwhile; then the exchange fails.
        Ring* const ring = ring_.load(std::memory_order_acquire);
        T* const item = ring->at(begin).load(std::memory_order_relaxed);
        sync_point();
        if (!begin_.compare_exchange_strong(begin, begin + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
            return nullptr;
        return item;
    }

    /// Whether `steal(floor)` may find something.
    [[nodiscard]] bool seems_to_have(std::int64_t floor) const noexcept {
        const std::int64_t begin = begin_.load(std::memory_order_acquire);
        return begin >= floor && begin < end_.load(std::memory_order_acquire);
    }
    /// For the owner: where the next pointer will stand.
    [[nodiscard]] std::int64_t end() const noexcept { return end_.load(std::memory_order_relaxed); }
    /// Whether there is nothing to take: what was put before is seen, in the one order of all seq_cst operations.
    [[nodiscard]] bool empty() const noexcept {
        const std::int64_t begin = begin_.load(std::memory_order_seq_cst);
        return end_.load(std::memory_order_seq_cst) <= begin;
    }

private:
    class Ring {
    public:
        explicit Ring(std::size_t size) : slots_{new Atomic<T*>[size]}, mask_{static_cast<std::int64_t>(size) - 1} {}
        [[nodiscard]] std::int64_t size() const noexcept { return mask_ + 1; }
        Atomic<T*>& at(std::int64_t place) const noexcept { return slots_[static_cast<std::size_t>(place & mask_)]; }

    private:
        std::unique_ptr<Atomic<T*>[]> slots_;
        std::int64_t mask_;
    };

    Ring* add_ring(std::size_t size) {
        rings_.push_back(std::make_unique<Ring>(size));
        return rings_.back().get();
    }
    Ring* grow(std::int64_t begin, std::int64_t end) {
        const Ring& old = *ring_.load(std::memory_order_relaxed);
        Ring* const ring = add_ring(static_cast<std::size_t>(old.size()) * 2);
        for (std::int64_t place = begin; place < end; ++place)
            ring->at(place).store(old.at(place).load(std::memory_order_relaxed), std::memory_order_relaxed);
        // Release pairs with the acquire in steal: who sees the ring sees its slots.
        ring_.store(ring, std::memory_order_release);
        return ring;
    }

    // Apart, for the owner writes one and the thieves the other.
    alignas(64) Atomic<std::int64_t> begin_{0};  // the oldest one's place; moved on by whoever takes it
    alignas(64) Atomic<std::int64_t> end_{0};    // where the next will stand; the owner's, taken back before it takes
    Atomic<Ring*> ring_{nullptr};                // the owner's
    std::vector<std::unique_ptr<Ring>> rings_;   // the owner's; old ones stay, for a thief may still look
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
