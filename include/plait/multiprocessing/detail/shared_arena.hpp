// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/memory.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

using namespace plait::detail;

[[noreturn]] inline void throw_damaged() {
    throw Error("the queue's shared memory is damaged: something other than the queue has written there");
}

/// What the processes share of an Arena, beside its memory. Zeroed memory is the state of an empty one.
struct ArenaState {
    /// How many granules there are, free ones among them; only grows. Written by who allocates.
    std::atomic<std::uint32_t> granules{0};
    /// The lowest that was freed since who allocates last looked, plus one; 0 for none.
    std::atomic<std::uint32_t> lowest_freed{0};
    /// All below are in use. Of who allocates.
    std::uint32_t search_from = 0;
};

/// Memory that several processes share, and that grows: granules of 64 KiB, in runs.
///
/// One process at a time may allocate, and one at a time may free, which may be another one; each pair is kept apart by a
/// lock of the queue's. A table in the memory itself has a byte for each granule. Who dies between marking a run and
/// using it, or between using it and freeing it, leaves it marked: `free_all_but` finds such runs, by what is really used.
///
/// A process sees the memory through windows, mapped when it first looks there: neither is address space set aside for
/// what may never come, nor does an address ever change. A run larger than a window is mapped for its use only.
///
/// The first window's granules keep their pages when they are freed, so that a queue that is busy takes no page faults;
/// `trim` gives these back. All others are given back when they are freed.
class Arena {
public:
    static constexpr std::uint32_t granule_size = 64 * 1024;
    static constexpr std::uint32_t window_granules = 256;
    static constexpr std::uint32_t window_size = granule_size * window_granules;
    // 64 GiB at most, where there are so many addresses; a window's row in the table is one granule in 256.
    static constexpr std::uint32_t most_windows = sizeof(void*) == 8 ? 4096 : 64;
    static constexpr std::uint32_t most_granules = most_windows * window_granules;
    /// The table comes before it.
    static constexpr std::uint32_t first_granule = most_granules / granule_size + (most_granules % granule_size != 0);

    Arena(ArenaState& state, os::Handle handle) noexcept : state_{state}, handle_{std::move(handle)} {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena();

    [[nodiscard]] const os::Handle& handle() const noexcept { return handle_; }

    /// Takes `count` neighbours; their content is anything. Throws, having changed nothing: std::system_error where there
    /// is no memory.
    std::uint32_t allocate(std::uint32_t count);
    /// Has the table here. Throws: std::system_error; Error.
    void map_table() {
        if (known_window(0) == nullptr) map_window(0);
    }
    /// Gives them back. Before that, of this process: `map_table`, or `allocate`.
    void free(std::uint32_t first, std::uint32_t count) noexcept;
    /// After a death, of who may allocate and free: all that `is_used` does not know is free.
    template <class IsUsed>
    void free_all_but(IsUsed is_used);
    /// Of who may allocate: gives back the pages of free granules but the lowest few. Throws as `map_table`.
    void trim();
    /// Of who may allocate: after the death of another who did.
    void forget_search() noexcept { state_.search_from = first_granule; }

    /// Whether these are granules, by the word of memory that others write too.
    [[nodiscard]] bool holds(std::uint32_t first, std::uint32_t count) const noexcept {
        return first >= first_granule && first < granules() && count <= granules() - first;
    }
    [[nodiscard]] std::uint32_t granules() const noexcept {
        // Pairs with the release in grow_to.
        return (std::min)(state_.granules.load(std::memory_order_acquire), most_granules);
    }
    /// Where a granule that it holds lies here. Throws: std::system_error; Error.
    std::byte* at(std::uint32_t granule) {
        std::byte* const window = known_window(granule / window_granules);
        return (window != nullptr ? window : map_window(granule / window_granules)) +
               std::size_t{granule % window_granules} * granule_size;
    }
    /// Where a run lies here; `view` keeps it mapped if it is larger than a window.
    std::byte* at(std::uint32_t first, std::uint32_t count, os::MemoryView& view) {
        if (count <= window_granules) {
            if (first / window_granules != (first + count - 1) / window_granules) throw_damaged();
            return at(first);
        }
        if (os::memory_size(handle_) < (std::uint64_t{first} + count) * granule_size) throw_damaged();
        view = os::MemoryView{handle_, std::uint64_t{first} * granule_size, std::size_t{count} * granule_size};
        return view.data();
    }

private:
    // What the table says of a granule. Who allocates turns free into used, bare into warm never and warm into bare;
    // who frees turns used into free.
    enum : std::uint8_t {
        bare = 0,  // free, and its pages are not there
        warm = 1,  // free
        used = 2,
    };
    static constexpr std::uint32_t kept_when_idle = 16;
    static constexpr std::uint32_t block_windows = 64;
    using Block = std::array<std::atomic<std::byte*>, block_windows>;

    /// Of the table, which is mapped.
    std::atomic<std::uint8_t>& entry(std::uint32_t granule) noexcept {
        return *reinterpret_cast<std::atomic<std::uint8_t>*>(known_window(0) + granule);
    }

    [[nodiscard]] std::byte* known_window(std::uint32_t window) const noexcept {
        // Pairs with the release in map_window: the blocks are this process's.
        const Block* const block = blocks_[window / block_windows].load(std::memory_order_acquire);
        return block == nullptr ? nullptr : (*block)[window % block_windows].load(std::memory_order_acquire);
    }
    std::byte* map_window(std::uint32_t window);
    std::uint32_t find(std::uint32_t count, std::uint32_t granules);
    void grow_to(std::uint32_t granules);

    ArenaState& state_;
    os::Handle handle_;
    // By compare-exchange, not under a mutex: a fork would copy one that another thread holds.
    std::array<std::atomic<Block*>, most_windows / block_windows> blocks_{};
};

inline Arena::~Arena() {
    for (std::atomic<Block*>& each : blocks_) {
        const std::unique_ptr<Block> block{each.load(std::memory_order_relaxed)};
        if (block == nullptr) continue;
        for (std::atomic<std::byte*>& window : *block)
            static_cast<void>(os::MemoryView::adopt(window.load(std::memory_order_relaxed), window_size));
    }
}

inline std::byte* Arena::map_window(std::uint32_t window) {
    std::atomic<Block*>& place = blocks_[window / block_windows];
    Block* block = place.load(std::memory_order_acquire);
    if (block == nullptr) {
        auto fresh = std::make_unique<Block>();
        // Release: the block's zeros; acquire: those of who was quicker.
        if (place.compare_exchange_strong(block, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire))
            block = fresh.release();
    }
    // Only where the memory reaches already: what a mapping shows of what grows there later is not said.
    if (os::memory_size(handle_) < (std::uint64_t{window} + 1) * window_size) throw_damaged();
    os::MemoryView view{handle_, std::uint64_t{window} * window_size, window_size};
    std::byte* mapped = nullptr;
    if ((*block)[window % block_windows].compare_exchange_strong(mapped, view.data(), std::memory_order_acq_rel,
                                                                 std::memory_order_acquire))
        mapped = view.release();
    return mapped;
}

inline void Arena::grow_to(std::uint32_t granules) {
    const std::uint32_t windows = (granules + window_granules - 1) / window_granules;
    os::set_memory_size(handle_, std::uint64_t{windows} * window_size);
    os::allocate_memory(handle_, 0, std::uint64_t{windows} * window_granules);  // the table's part
    // Pairs with the acquire in granules(): who reads of a granule finds the memory so large.
    state_.granules.store(windows * window_granules, std::memory_order_release);
}

/// The first run of `count` that is free: it may end beyond `granules`. Small ones lie in one window.
inline std::uint32_t Arena::find(std::uint32_t count, std::uint32_t granules) {
    const std::uint32_t freed = state_.lowest_freed.exchange(0, std::memory_order_relaxed);
    std::uint32_t from = (std::max)(state_.search_from, first_granule);
    if (freed != 0) from = (std::min)(from, (std::max)(freed - 1, first_granule));
    const auto is_used = [&](std::uint32_t granule) {
        // Pairs with the release in free: who freed it has read it to its end.
        return entry(granule).load(std::memory_order_acquire) == used;
    };
    while (from < granules && is_used(from)) ++from;
    state_.search_from = from;
    for (std::uint32_t first = from;; ++first) {
        while (first < granules && is_used(first)) ++first;
        if (count <= window_granules && first / window_granules != (first + count - 1) / window_granules)
            first = (first / window_granules + 1) * window_granules;
        if (first >= most_granules || count > most_granules - first)
            throw std::system_error(ENOMEM, std::generic_category(), "no room for the item in the queue's 64 GiB");
        const std::uint32_t end = (std::min)(first + count, granules);
        std::uint32_t next = first;
        while (next < end && !is_used(next)) ++next;
        if (next >= end) return first;
        first = next;
    }
}

inline std::uint32_t Arena::allocate(std::uint32_t count) {
    if (granules() == 0) grow_to(window_granules);
    map_table();
    const std::uint32_t first = find(count, granules());
    if (first + count > granules()) grow_to(first + count);
    bool is_warm = true;
    for (std::uint32_t i = first; i < first + count; ++i)
        is_warm = is_warm && entry(i).load(std::memory_order_relaxed) == warm;
    // A full memory is an error here, and not a SIGBUS when the item is written.
    if (!is_warm)
        os::allocate_memory(handle_, std::uint64_t{first} * granule_size, std::uint64_t{count} * granule_size);
    sync_point();
    // Relaxed, here as above: who frees touches none that it was not given, by the queue's counts.
    for (std::uint32_t i = first; i < first + count; ++i) entry(i).store(used, std::memory_order_relaxed);
    if (state_.search_from == first) state_.search_from = first + count;
    sync_point();
    return first;
}

inline void Arena::free(std::uint32_t first, std::uint32_t count) noexcept {
    const bool stays = first + count <= window_granules;
    // Before it is free: it may be taken at once.
    if (!stays) os::release_memory(handle_, std::uint64_t{first} * granule_size, std::uint64_t{count} * granule_size);
    for (std::uint32_t i = first; i < first + count; ++i) {
        sync_point();
        entry(i).store(stays ? warm : bare, std::memory_order_release);  // pairs with the acquire in find
    }
    std::uint32_t lowest = state_.lowest_freed.load(std::memory_order_relaxed);
    while ((lowest == 0 || lowest > first + 1) &&
           !state_.lowest_freed.compare_exchange_weak(lowest, first + 1, std::memory_order_relaxed)) {
    }
}

template <class IsUsed>
void Arena::free_all_but(IsUsed is_used) {
    map_table();
    for (std::uint32_t i = first_granule; i < granules(); ++i)
        if (entry(i).load(std::memory_order_acquire) == used && !is_used(i)) free(i, 1);
    forget_search();
}

inline void Arena::trim() {
    map_table();
    const std::uint32_t end = (std::min)(granules(), window_granules);
    for (std::uint32_t i = first_granule + kept_when_idle; i < end; ++i) {
        if (entry(i).load(std::memory_order_acquire) != warm) continue;
        entry(i).store(bare, std::memory_order_relaxed);
        sync_point();
        // After that: who dies in between leaves pages that are taken for none, not the other way round.
        os::release_memory(handle_, std::uint64_t{i} * granule_size, granule_size);
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
