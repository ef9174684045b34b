// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

// In which order the items of queues leave, for the queues of several wings; no thread is thought of here.
namespace plait::inline PLAIT_ABI::detail {

/// What a LifoQueue holds: the newest item last.
template <class T>
class Pile {
public:
    template <class U>
    void put(U&& item) {
        items_.emplace_back(std::forward<U>(item));
    }
    T take() {
        T item(std::move(items_.back()));
        items_.pop_back();
        return item;
    }

private:
    std::vector<T> items_;
};

/// What a PriorityQueue holds: a heap, no item before its parent, each with its number of arrival.
///
/// What may throw comes first, comparisons above all: until it is known where everything goes, nothing is moved.
template <class T, class Compare>
class StableHeap {
public:
    template <class U>
    void put(U&& item) {
        entries_.emplace_back(arrivals_, std::forward<U>(item));
        std::size_t place = entries_.size() - 1;
        try {
            while (place > 0 && before(entries_.back(), entries_[parent(place)])) place = parent(place);
        } catch (...) {
            // It was moved in, and is still who put it's.
            if constexpr (std::is_same_v<U, T>) item = std::move(entries_.back().item);
            entries_.pop_back();
            throw;
        }
        ++arrivals_;
        Entry entry(std::move(entries_.back()));
        for (std::size_t hole = entries_.size() - 1; hole != place; hole = parent(hole))
            entries_[hole] = std::move(entries_[parent(hole)]);
        entries_[place] = std::move(entry);
    }
    T take() {
        const std::size_t place = place_of_last();
        T item(std::move(entries_.front().item));
        move_up_to(place);
        if (entries_.size() > 1) entries_[place] = std::move(entries_.back());
        entries_.pop_back();
        return item;
    }

private:
    struct Entry {
        template <class U>
        Entry(std::uint64_t arrived, U&& from) : arrival{arrived}, item(std::forward<U>(from)) {}
        std::uint64_t arrival;
        T item;
    };

    static constexpr std::size_t parent(std::size_t place) noexcept { return (place - 1) / 2; }
    bool before(const Entry& a, const Entry& b) const {
        if (compare_(a.item, b.item)) return true;
        return a.arrival < b.arrival && !compare_(b.item, a.item);
    }
    /// Where the last entry goes once the first has gone: down, while a child is before it.
    [[nodiscard]] std::size_t place_of_last() const {
        const std::size_t last = entries_.size() - 1;
        std::size_t place = 0;
        for (std::size_t child = 1; child < last; child = 2 * place + 1) {
            if (child + 1 < last && before(entries_[child + 1], entries_[child])) ++child;
            if (!before(entries_[child], entries_[last])) break;
            place = child;
        }
        return place;
    }
    /// Moves the entries between the first and `place` up by one, so that `place` is free.
    void move_up_to(std::size_t place) {
        if (place == 0) return;
        move_up_to(parent(place));
        entries_[parent(place)] = std::move(entries_[place]);
    }

    std::vector<Entry> entries_;
    std::uint64_t arrivals_ = 0;
    [[no_unique_address]] Compare compare_{};
};

/// std::less<>, without the header that has it.
struct Less {
    template <class A, class B>
    constexpr bool operator()(const A& a, const B& b) const {
        return a < b;
    }
};

}  // namespace plait::inline PLAIT_ABI::detail
