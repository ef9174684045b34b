// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/standard_atomics.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

using namespace plait::detail;

/// Room for any number of items in a row, in segments that go round between its two ends: one thread at a time puts at
/// the one, one thread at a time takes at the other, and neither waits for the other.
///
/// It counts nothing: its user tells the taking end how many items there are, by an atomic counter that the putting end
/// releases and the taking end acquires. By that everything here is ordered but `spare_`.
template <class T, class Environment = StandardAtomics>
class SegmentChain {
    struct Segment;
    union Slot {
        Slot() noexcept {}
        ~Slot() {}
        T item;
    };

public:
    /// Where the next item is to stand: only the putting thread reads or writes it.
    struct PutEnd {
        Slot* next = nullptr;
        Slot* end = nullptr;
        Segment* segment = nullptr;
    };
    /// Where the oldest item stands: only the taking thread reads or writes it.
    struct TakeEnd {
        Slot* next = nullptr;
        Slot* end = nullptr;
        Segment* segment = nullptr;
    };

    constexpr SegmentChain() noexcept = default;
    SegmentChain(const SegmentChain&) = delete;
    SegmentChain& operator=(const SegmentChain&) = delete;
    /// Every item must be gone, and `free` have been called.
    ~SegmentChain() { delete spare_.load(std::memory_order_acquire); }

    /// Constructs an item, which is not there before the user's counter says so. If it throws, nothing has changed.
    template <class... Args>
    void emplace(PutEnd& put, Args&&... args) {
        if (put.next == put.end) extend(put);
        std::construct_at(&put.next->item, std::forward<Args>(args)...);
        ++put.next;
    }
    /// The oldest item. There must be one.
    [[nodiscard]] T& front(TakeEnd& take) noexcept {
        if (take.next == take.end) proceed(take);
        return take.next->item;
    }
    /// Destroys it; `front` must have been called.
    void pop(TakeEnd& take) noexcept {
        std::destroy_at(&take.next->item);
        ++take.next;
    }

    /// Takes all `count` items off, for a thread that has both ends; `discard` destroys them, when it likes.
    [[nodiscard]] TakeEnd detach(PutEnd& put, TakeEnd& take) noexcept {
        if (take.segment == nullptr && first_ != nullptr) begin(take);
        first_ = nullptr;
        put = PutEnd{};
        return std::exchange(take, TakeEnd{});
    }
    /// Destroys the `count` items that were detached, and their segments.
    static void discard(TakeEnd detached, std::size_t count) noexcept {
        for (; count > 0; --count) {
            if (detached.next == detached.end) {
                Segment* const emptied = detached.segment;
                enter(detached, emptied->next);
                delete emptied;
            }
            std::destroy_at(&detached.next->item);
            ++detached.next;
        }
        // A segment may have been made for an item that then threw.
        while (detached.segment != nullptr) delete std::exchange(detached.segment, detached.segment->next);
    }

private:
    static constexpr std::size_t capacity =
        sizeof(T) < 256 ? (Environment::segment_bytes - 2 * sizeof(void*)) / sizeof(T) : 8;

    struct Segment {
        Segment* next = nullptr;
        Slot slots[capacity];
    };

    template <class End>
    static void enter(End& end, Segment* segment) noexcept {
        end.segment = segment;
        end.next = segment->slots;
        end.end = segment->slots + capacity;
    }
    void begin(TakeEnd& take) noexcept { enter(take, first_); }

    // A segment that stands there without an item harms nobody: the taking end enters it when an item is in it.
    void extend(PutEnd& put) {
        // Acquire here pairs with the release in `proceed`: the items that were in it are destroyed.
        Segment* segment = spare_.exchange(nullptr, std::memory_order_acquire);
        if (segment == nullptr) segment = new Segment;
        segment->next = nullptr;
        (put.segment != nullptr ? put.segment->next : first_) = segment;
        enter(put, segment);
    }
    void proceed(TakeEnd& take) noexcept {
        if (take.segment == nullptr) return begin(take);
        Segment* emptied = take.segment;
        enter(take, emptied->next);
        // Acquire pairs with its own release: another taking thread may have left the one that is deleted here.
        if constexpr (!address_sanitizer) emptied = spare_.exchange(emptied, std::memory_order_acq_rel);
        delete emptied;
    }

    Segment* first_ = nullptr;  // written before the first item is counted, read after that
    // An emptied segment on its way from the taking to the putting end.
    typename Environment::template Atomic<Segment*> spare_{nullptr};
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
