// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/detail/wait_point.hpp>

#include <atomic>
#include <cstdint>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Between words that different processes write. (Processors fetch lines of 64 bytes in pairs.)
struct Apart {
    char bytes[128]{};
};

/// One end of a row in shared memory: how many items have passed it, and the place of the next one.
///
/// Who passes an item holds the end's lock, and may be killed at any instruction. So it writes the next place where
/// nobody looks yet, and then the word that holds the count and says which place is in force: that one store is the
/// passage, whole or not at all.
template <class Place, class Environment = ProcessEnvironment>
class QueueEnd {
public:
    /// For the holder of the lock.
    [[nodiscard]] Place place() const {
        return places_[word_.load(std::memory_order_relaxed) % 2].get();  // none but the holder writes it
    }
    void pass(Place next, std::uint64_t items = 1) {
        const std::uint64_t word = (word_.load(std::memory_order_relaxed) + 2 * items) ^ 1;
        places_[word % 2].set(next);
        Environment::step();
        // seq_cst: before the look whether somebody sleeps, as WaitPoint says. Pairs with count, too: who reads the count
        // there finds the item, or its room, free to be used.
        word_.store(word);
        Environment::step();
    }
    /// Before the row is shared.
    void begin_at(Place first) { places_[0].set(first); }

    /// For anybody.
    [[nodiscard]] std::uint64_t count() const { return word_.load() / 2; }

private:
    template <class T>
    using Atomic = typename Environment::template Atomic<T>;
    template <class T>
    using Plain = typename Environment::template Plain<T>;

    // Apart: the other end looks at the word while this one writes a place.
    Plain<Place> places_[2];
    [[maybe_unused]] Apart apart_;
    Atomic<std::uint64_t> word_{0};  // twice the count, and which place is in force; written by the holder of the lock
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
