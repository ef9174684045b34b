// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace model {

// The memory that a model runs on: C++20's, told by what each thread has seen.
//
// Each location keeps all its writes, in the order in which they were made. A load may read any of them but those that
// its thread knows to be overwritten; a release passes on what the writer knows with the value, an acquire takes it over.
// A read-modify-write reads the newest write, and passes on what came with it (the release sequence); a plain store
// does not, also by the same thread (C++20, before it was otherwise). A compare-exchange that fails is a load of any
// value but the expected one.
//
// The order S of all seq_cst operations is not that of their making: C++20 asks of it only that it goes with the
// coherence of each location (what reads or writes an older value comes first) and with what "strongly happens before".
// So the edges that it must go with are kept as a graph, and a load may not read what would close a circle in it; by a
// write no circle is closed.
//
// What it leaves out, so that a program that passes may still fail elsewhere:
// - A load never reads what is written later (load buffering): an acquire that only keeps a later write from being seen
//   by an earlier load of another thread is not missed here.
// - Writes of one location stand in the order of their making. Nothing is lost where one thread stores to a location, or
//   where all its writes are read-modify-writes; with blind stores by several threads some outcomes are missing (2+2W).
// - Compare-exchanges do not fail spuriously. There are no fences.
// It has nothing that C++20 forbids.

inline constexpr std::size_t max_threads = 5;  // with the one that sets up and looks at the end, number 0
inline constexpr std::size_t max_locations = 40;

/// How often each thread has acted.
using Clock = std::array<std::uint16_t, max_threads>;

/// A set of seq_cst operations, by their numbers.
using Sequentials = std::uint64_t;
inline constexpr std::size_t max_sequentials = 128;

/// What a thread knows: for each location the oldest write that it may still read, and what happened before.
struct View {
    std::array<std::uint8_t, max_locations> oldest{};
    Clock clock{};
    Sequentials before = 0;  // which strongly happened before what this thread does next

    void join(const View& other) noexcept {
        for (std::size_t i = 0; i < max_locations; ++i)
            if (oldest[i] < other.oldest[i]) oldest[i] = other.oldest[i];
        for (std::size_t i = 0; i < max_threads; ++i)
            if (clock[i] < other.clock[i]) clock[i] = other.clock[i];
        before |= other.before;
    }
};

/// One moment in a thread's life, and whether it happened before what a view knows.
struct Moment {
    std::uint8_t thread = 0;
    std::uint16_t time = 0;

    [[nodiscard]] bool before(const View& view) const noexcept { return view.clock[thread] >= time; }
    [[nodiscard]] bool before_or_own(const View& view, const Moment& now) const noexcept {
        return thread == now.thread || before(view);
    }
};

struct Write {
    std::uint64_t value = 0;
    bool releases = false;
    View released;          // where it releases
    Sequentials heads = 0;  // the seq_cst ones among the writes whose release sequences it stands in
};

struct Location {
    std::vector<Write> writes;
    Moment born;

    [[nodiscard]] std::size_t newest() const noexcept { return writes.size() - 1; }
};

/// The edges that the order S of the seq_cst operations has to go with.
class SequentialOrder {
public:
    void clear() noexcept { count_ = 0; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }

    /// Where an operation stands among those of its location: a write before who reads it, both before the next write.
    static constexpr std::size_t place_of_write(std::size_t which) noexcept { return which * 2; }
    static constexpr std::size_t place_of_read(std::size_t which) noexcept { return which * 2 + 1; }

    /// Whether an operation with these edges would close a circle.
    [[nodiscard]] bool fits(std::size_t location, std::size_t place, Sequentials before) const noexcept {
        Sequentials reached = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            if (locations_[i] != location) continue;
            if (places_[i] < place) before |= one(i);
            if (places_[i] > place) reached |= one(i) | reached_[i];
        }
        return (reached & before) == 0;
    }
    /// Returns its number.
    std::size_t add(std::size_t location, std::size_t place, Sequentials before) noexcept {
        const std::size_t number = count_++;
        locations_[number] = location;
        places_[number] = place;
        Sequentials reached = 0;
        for (std::size_t i = 0; i < number; ++i) {
            if (locations_[i] != location) continue;
            if (places_[i] < place) before |= one(i);
            if (places_[i] > place) reached |= one(i) | reached_[i];
        }
        reached_[number] = reached;
        for (std::size_t i = 0; i < number; ++i)
            if (((one(i) | reached_[i]) & before) != 0) reached_[i] |= one(number) | reached;
        return number;
    }
    static constexpr Sequentials one(std::size_t number) noexcept { return Sequentials{1} << number; }

private:
    std::size_t count_ = 0;
    std::array<std::size_t, max_sequentials> locations_{};
    std::array<std::size_t, max_sequentials> places_{};
    std::array<Sequentials, max_sequentials> reached_{};  // what must come after it
};

constexpr bool acquires(std::memory_order order) noexcept {
    return order == std::memory_order_acquire || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
}
constexpr bool releases(std::memory_order order) noexcept {
    return order == std::memory_order_release || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
}
constexpr const char* name_of(std::memory_order order) noexcept {
    switch (order) {
        case std::memory_order_relaxed:
            return "relaxed";
        case std::memory_order_acquire:
            return "acquire";
        case std::memory_order_release:
            return "release";
        case std::memory_order_acq_rel:
            return "acq_rel";
        case std::memory_order_seq_cst:
            return "seq_cst";
        default:
            return "consume";
    }
}

}  // namespace model
