// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/multiprocessing/detail/queue_end.hpp>
#include <plait/multiprocessing/detail/shared_arena.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/memory.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Where the next item begins: in a granule, at an offset.
struct FifoPlace {
    std::uint32_t granule = 0;
    std::uint32_t offset = 0;
};

/// What the processes share of a SharedFifo, beside its memory. The two ends stand apart, as two processes use them.
struct FifoState {
    ArenaState arena;
    Apart apart;
    QueueEnd<FifoPlace> putting;
    Apart further_apart;
    QueueEnd<FifoPlace> taking;
    std::uint64_t known_put = 0;  // how many were put, when who takes last looked
};

/// A row of items, each a block of bytes, in shared memory: put in order at one end, taken at the other.
///
/// A lock of the queue's guards each end: one process puts and one takes at the same time. Items stand in segments of a
/// granule, behind one another, each behind a frame of eight bytes:
///     inline   the bytes follow
///     extent   there follow size and granules: a large item has granules of its own
///     jump     the row goes on in another granule; for it there is always room
/// All of it is written before the item is counted (queue_end.hpp), so that a death leaves it whole or out. What memory a
/// death leaves marked as used is found by a walk from end to end: `repair`.
///
/// Everything that is read from the shared memory is checked: whatever is written there, no read or write of ours goes
/// beyond it.
class SharedFifo {
public:
    SharedFifo(FifoState& state, os::Handle memory) noexcept : state_{state}, arena_{state.arena, std::move(memory)} {}

    /// Of who makes the row, once.
    void begin() { state_.putting.begin_at(begin_taking({arena_.allocate(1), 0})); }

    [[nodiscard]] const os::Handle& memory() const noexcept { return arena_.handle(); }
    [[nodiscard]] std::uint64_t put_count() const noexcept { return state_.putting.count(); }
    [[nodiscard]] std::uint64_t taken_count() const noexcept { return state_.taking.count(); }
    /// Until the next change; never too few of those put by who asks, never more than there were.
    [[nodiscard]] std::uint64_t size() const noexcept {
        const std::uint64_t taken = taken_count();  // first, so that the difference is never negative
        return put_count() - taken;
    }

    // --- Under the lock for putting ---

    /// Puts an item of two parts. If it throws, nothing has changed: std::system_error where there is no memory.
    void put(std::span<const std::byte> head, std::span<const std::byte> body);
    void forget_search() noexcept { arena_.forget_search(); }
    void trim() { arena_.trim(); }

    // --- Under the lock for taking ---

    /// The next item; valid until it is taken.
    struct Item {
        std::span<const std::byte> bytes;
        FifoPlace next;
        std::uint32_t left_segment = 0;  // a granule that the row leaves with it
        std::uint32_t first = 0;         // of its own granules
        std::uint32_t granules = 0;
        os::MemoryView view;
    };
    /// False where there is none.
    bool peek(Item& item);
    void take(Item& item) noexcept;

    // --- Under both ---

    /// Takes all items out, unseen; `repair` frees what they lay in.
    void clear();
    /// After a death: frees what it left marked.
    void repair();

private:
    enum Kind : std::uint32_t { inline_item = 0x746d6931, extent_item = 0x746d6932, jump = 0x746d6933 };
    struct Frame {
        std::uint32_t kind;
        std::uint32_t size;  // of an inline item; of a jump the granule
    };
    struct Extent {
        std::uint64_t size;
        std::uint32_t first;
        std::uint32_t granules;
    };
    /// Granules that go back if they are not kept.
    struct Claim {
        ~Claim() {
            if (count != 0) arena.free(first, count);
        }
        Arena& arena;
        std::uint32_t first = 0;
        std::uint32_t count = 0;
    };
    static constexpr std::uint32_t granule_size = Arena::granule_size;
    static constexpr std::uint32_t largest_inline = granule_size / 2 - 2 * sizeof(Frame);
    static constexpr std::uint32_t last_offset = granule_size - sizeof(Frame);

    static std::uint64_t granules_for(std::uint64_t size) noexcept {
        return size / granule_size + (size % granule_size != 0);
    }
    static std::uint32_t padded(std::uint32_t size) noexcept { return (size + 7) / 8 * 8; }

    FifoPlace begin_taking(FifoPlace first) {
        state_.taking.begin_at(first);
        return first;
    }
    /// A place that was read, if it is one.
    FifoPlace checked(FifoPlace place) const {
        if (!arena_.holds(place.granule, 1) || place.offset > last_offset || place.offset % 8 != 0) throw_damaged();
        return place;
    }
    template <class T>
    static T read(const std::byte* from) noexcept {
        T value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }
    template <class T>
    static void write(std::byte* to, const T& value) noexcept {
        std::memcpy(to, &value, sizeof value);
    }
    static void write(std::byte* to, std::span<const std::byte> head, std::span<const std::byte> body) noexcept {
        if (!head.empty()) std::memcpy(to, head.data(), head.size());
        if (!body.empty()) std::memcpy(to + head.size(), body.data(), body.size());
    }
    /// The item at `place`, without its memory's view.
    Item item_at(FifoPlace place);

    FifoState& state_;
    Arena arena_;
};

inline void SharedFifo::put(std::span<const std::byte> head, std::span<const std::byte> body) {
    const FifoPlace end = checked(state_.putting.place());
    const std::uint64_t size = head.size() + body.size();
    const bool is_large = size > largest_inline;
    const auto framed = static_cast<std::uint32_t>(
        sizeof(Frame) + (is_large ? sizeof(Extent) : padded(static_cast<std::uint32_t>(size))));
    FifoPlace place = end;
    Claim segment{arena_};
    if (place.offset + framed > last_offset) {
        segment.first = arena_.allocate(1);
        segment.count = 1;
        place = {segment.first, 0};
    }
    std::byte* const at = arena_.at(place.granule) + place.offset;
    std::byte* const end_at = arena_.at(end.granule) + end.offset;
    Claim extent{arena_};
    if (is_large) {
        // One too many is refused as well as more.
        const auto granules =
            static_cast<std::uint32_t>((std::min)(granules_for(size), std::uint64_t{Arena::most_granules} + 1));
        extent.first = arena_.allocate(granules);
        extent.count = granules;
        os::MemoryView view;
        write(arena_.at(extent.first, extent.count, view), head, body);
        sync_point();
        write(at, Frame{extent_item, 0});
        write(at + sizeof(Frame), Extent{size, extent.first, extent.count});
    } else {
        write(at, Frame{inline_item, static_cast<std::uint32_t>(size)});
        write(at + sizeof(Frame), head, body);
    }
    sync_point();
    if (segment.count != 0) write(end_at, Frame{jump, segment.first});
    segment.count = extent.count = 0;
    state_.putting.pass({place.granule, place.offset + framed});
    // Who takes has these lines from the last time round: by the item after the next they are here.
    prefetch_for_write(at + 4 * std::size_t{framed});
    prefetch_for_write(at + 4 * std::size_t{framed} + 64);
}

inline SharedFifo::Item SharedFifo::item_at(FifoPlace place) {
    Item item;
    const std::byte* at = arena_.at(place.granule) + place.offset;
    auto frame = read<Frame>(at);
    if (frame.kind == jump) {
        item.left_segment = place.granule;
        place = checked({frame.size, 0});
        at = arena_.at(place.granule);
        frame = read<Frame>(at);
    }
    at += sizeof(Frame);
    const std::uint32_t room = last_offset - place.offset;
    std::uint32_t length = sizeof(Extent);
    if (frame.kind == inline_item) {
        if (frame.size > largest_inline) throw_damaged();
        length = padded(frame.size);
        item.bytes = {at, frame.size};
    } else if (frame.kind != extent_item) {
        throw_damaged();
    }
    if (sizeof(Frame) + length > room) throw_damaged();
    if (frame.kind == extent_item) {
        const auto extent = read<Extent>(at);
        if (extent.granules == 0 || extent.granules != granules_for(extent.size) ||
            !arena_.holds(extent.first, extent.granules) || extent.size > (std::numeric_limits<std::size_t>::max)())
            throw_damaged();
        item.first = extent.first;
        item.granules = extent.granules;
        item.bytes = {static_cast<const std::byte*>(nullptr), static_cast<std::size_t>(extent.size)};
    }
    item.next = {place.granule, static_cast<std::uint32_t>(place.offset + sizeof(Frame) + length)};
    return item;
}

inline bool SharedFifo::peek(Item& item) {
    const std::uint64_t taken = taken_count();
    if (taken == state_.known_put) {
        state_.known_put = put_count();
        if (taken == state_.known_put) return false;
    }
    item = item_at(checked(state_.taking.place()));
    if (item.granules != 0) item.bytes = {arena_.at(item.first, item.granules, item.view), item.bytes.size()};
    if (item.left_segment != 0 || item.granules != 0) arena_.map_table();  // for take, which cannot throw
    return true;
}

inline void SharedFifo::take(Item& item) noexcept {
    state_.taking.pass(item.next);
    // Afterwards: before, who puts could write over an item that still counts.
    if (item.left_segment != 0) arena_.free(item.left_segment, 1);
    if (item.granules != 0) arena_.free(item.first, item.granules);
}

inline void SharedFifo::clear() {
    const std::uint64_t put = put_count();
    const std::uint64_t taken = taken_count();
    if (put == taken) return;
    const FifoPlace end = checked(state_.putting.place());
    state_.known_put = put;  // first: it is never less than what was taken, wherever a death comes
    state_.taking.pass(end, put - taken);
}

inline void SharedFifo::repair() {
    std::vector<bool> is_used(arena_.granules());
    FifoPlace place = checked(state_.taking.place());
    is_used[place.granule] = true;
    for (std::uint64_t left = put_count() - taken_count(); left != 0; --left) {
        const Item item = item_at(place);
        place = checked(item.next);
        is_used[place.granule] = true;
        for (std::uint32_t i = 0; i < item.granules; ++i) is_used[item.first + i] = true;
    }
    arena_.free_all_but([&](std::uint32_t granule) { return is_used[granule]; });
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
