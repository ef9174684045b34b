// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::detail {

/// Nanoseconds on the clock of whoever owns the timers.
using Nanoseconds = std::int64_t;

/// Something that happens at a time; linked into a TimerWheel while it is pending.
class TimerNode {
public:
    TimerNode(const TimerNode&) = delete;
    TimerNode& operator=(const TimerNode&) = delete;

    /// Its time has come, and it is no longer linked. May add and remove timers.
    virtual void on_time() noexcept = 0;
    /// Whoever owns the timers goes.
    virtual void on_drop() noexcept {}

    [[nodiscard]] bool is_timed() const noexcept { return place_ != nowhere; }
    [[nodiscard]] Nanoseconds deadline() const noexcept { return deadline_; }

protected:
    TimerNode() = default;
    ~TimerNode() = default;  // whoever destroys a linked one has removed it first

private:
    friend class TimerWheel;
    static constexpr std::uint16_t nowhere = 0xFFFF;

    Nanoseconds deadline_ = 0;
    TimerNode* next_ = nullptr;
    TimerNode* previous_ = nullptr;
    std::uint16_t place_ = nowhere;  // the list that it is in
};

/// The pending timers of a loop or a thread: earliest first, equal ones as they were added.
///
/// Adding and removing cost a few nanoseconds however many there are, and a removed one leaves nothing behind. Far
/// timers lie in slots, 64 to a level, whose width grows by 64 from level to level. As time comes nearest, a slot is dealt
/// out to the levels below it; the narrowest slots, some millisecond wide, are sorted into `near_` when time enters them.
///
/// Source: Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987.
class TimerWheel {
public:
    static constexpr Nanoseconds never = INT64_MAX;

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    /// No timer is due before it; it may be early where the first timer was removed.
    [[nodiscard]] Nanoseconds next_deadline() const noexcept { return next_; }

    void add(TimerNode& node, Nanoseconds deadline) noexcept {
        node.deadline_ = deadline;
        next_ = (std::min)(next_, deadline);
        ++count_;
        place(node);
    }
    void remove(TimerNode& node) noexcept {
        unlink(node);
        if (--count_ == 0) next_ = never;
    }
    /// Calls `on_time` of all that are due at `now`.
    void expire(Nanoseconds now) noexcept;
    /// Calls `on_drop` of all, which may not add others.
    void clear() noexcept;

private:
    struct List {
        TimerNode* first = nullptr;
        TimerNode* last = nullptr;
    };
    static constexpr int tick_bits = 20;  // a tick is 1.05 ms
    static constexpr int level_bits = 6;
    static constexpr std::size_t slots = std::size_t{1} << level_bits;
    static constexpr std::size_t levels = 8;  // 48 bits of ticks: all of 63 bits of nanoseconds
    static constexpr std::uint16_t near_place = levels * slots;
    static constexpr std::uint16_t late_place = near_place + 1;

    static std::uint64_t tick_of(Nanoseconds time) noexcept {
        return static_cast<std::uint64_t>((std::max)(time, Nanoseconds{0})) >> tick_bits;
    }

    void place(TimerNode& node) noexcept;
    void link(TimerNode& node, std::uint16_t place) noexcept;
    void unlink(TimerNode& node) noexcept;
    /// The lowest level that has a timer, `levels` where none has. All of its timers come before those above it.
    [[nodiscard]] std::size_t lowest_level() const noexcept;
    [[nodiscard]] std::size_t first_slot(std::size_t level) const noexcept;
    [[nodiscard]] std::uint64_t first_tick(std::size_t level, std::size_t slot) const noexcept;
    /// Deals out the slots that time has entered.
    bool advance(std::uint64_t tick) noexcept;
    /// Brings the late ones to their places in `near_`.
    void settle() noexcept;
    [[nodiscard]] Nanoseconds find_next() noexcept;

    static TimerNode* merge(TimerNode* earlier, TimerNode* later) noexcept;
    static TimerNode* sort(TimerNode* first) noexcept;
    void adopt_sorted(TimerNode* first) noexcept;

    // The wheel, then near_ (sorted; up to `reached_`), then late_: one that would not have been the last of near_, and
    // all that came after it, in the order in which they came.
    List lists_[levels * slots + 2];
    std::uint64_t occupied_[levels] = {};  // a bit a slot
    std::uint64_t reached_ = 0;            // the tick up to which slots have been dealt out
    std::size_t count_ = 0;
    Nanoseconds next_ = never;
};

inline void TimerWheel::place(TimerNode& node) noexcept {
    const std::uint64_t tick = tick_of(node.deadline_);
    if (tick > reached_) {
        const auto level = static_cast<std::size_t>(63 - std::countl_zero(tick ^ reached_)) / level_bits;
        const std::size_t slot = (tick >> (level * level_bits)) % slots;
        occupied_[level] |= std::uint64_t{1} << slot;
        return link(node, static_cast<std::uint16_t>(level * slots + slot));
    }
    // Behind a late one it is late too: that may have the same deadline, and then goes first.
    const TimerNode* const last = lists_[near_place].last;
    const bool is_next = lists_[late_place].first == nullptr && (last == nullptr || last->deadline_ <= node.deadline_);
    link(node, is_next ? near_place : late_place);
}

inline void TimerWheel::link(TimerNode& node, std::uint16_t place) noexcept {
    List& list = lists_[place];
    node.place_ = place;
    node.next_ = nullptr;
    node.previous_ = list.last;
    (list.last != nullptr ? list.last->next_ : list.first) = &node;
    list.last = &node;
}

inline void TimerWheel::unlink(TimerNode& node) noexcept {
    List& list = lists_[node.place_];
    (node.previous_ != nullptr ? node.previous_->next_ : list.first) = node.next_;
    (node.next_ != nullptr ? node.next_->previous_ : list.last) = node.previous_;
    if (list.first == nullptr && node.place_ < near_place)
        occupied_[node.place_ / slots] &= ~(std::uint64_t{1} << (node.place_ % slots));
    node.place_ = TimerNode::nowhere;
}

inline std::size_t TimerWheel::lowest_level() const noexcept {
    std::size_t level = 0;
    while (level < levels && occupied_[level] == 0) ++level;
    return level;
}

inline std::size_t TimerWheel::first_slot(std::size_t level) const noexcept {
    // No slot behind the present one can be occupied: ticks that differ from reached_ in a higher digit lie higher up.
    return static_cast<std::size_t>(std::countr_zero(occupied_[level]));
}

inline std::uint64_t TimerWheel::first_tick(std::size_t level, std::size_t slot) const noexcept {
    const std::size_t shift = level * level_bits;
    const std::uint64_t above = reached_ >> (shift + level_bits) << (shift + level_bits);
    return above | std::uint64_t{slot} << shift;
}

inline bool TimerWheel::advance(std::uint64_t tick) noexcept {
    for (;;) {
        const std::size_t level = lowest_level();
        if (level == levels) break;
        const std::size_t slot = first_slot(level);
        const std::uint64_t begin = first_tick(level, slot);
        if (begin > tick) break;
        reached_ = begin;
        List& list = lists_[level * slots + slot];
        TimerNode* node = list.first;
        list = List{};
        occupied_[level] &= ~(std::uint64_t{1} << slot);
        if (level == 0) {
            adopt_sorted(sort(node));
            return true;
        }
        while (node != nullptr) {
            TimerNode* const next = node->next_;
            place(*node);
            node = next;
        }
    }
    reached_ = (std::max)(reached_, tick);
    return false;
}

inline void TimerWheel::settle() noexcept {
    TimerNode* const late = lists_[late_place].first;
    if (late == nullptr) return;
    TimerNode* const nearest = lists_[near_place].first;
    lists_[near_place] = lists_[late_place] = List{};
    // Where deadlines are equal the one in near_ was added first: since the first late one came, none was added there.
    adopt_sorted(merge(nearest, sort(late)));
}

inline void TimerWheel::expire(Nanoseconds now) noexcept {
    if (now < next_) return;
    // A slot at a time, while what it holds is in the cache; and no more at once than a loop may be held up for.
    const std::uint64_t tick = tick_of(now);
    int left = 1024;
    for (bool more = true; more;) {
        more = left > 0 && advance(tick);
        settle();
        List& nearest = lists_[near_place];
        while (nearest.first != nullptr && nearest.first->deadline_ <= now) {
            TimerNode& node = *nearest.first;
            unlink(node);
            --count_;
            --left;
            node.on_time();
        }
    }
    next_ = find_next();
}

inline Nanoseconds TimerWheel::find_next() noexcept {
    settle();
    if (const TimerNode* const first = lists_[near_place].first) return first->deadline_;
    const std::size_t level = lowest_level();
    if (level == levels) return never;
    const std::size_t slot = first_slot(level);
    // Exact for a slot of few. One of many is looked at again when time enters it, for the price of a wake-up.
    Nanoseconds earliest = never;
    int looks = 64;
    for (const TimerNode* node = lists_[level * slots + slot].first; node != nullptr; node = node->next_) {
        if (--looks < 0) return static_cast<Nanoseconds>(first_tick(level, slot) << tick_bits);
        earliest = (std::min)(earliest, node->deadline_);
    }
    return earliest;
}

inline void TimerWheel::clear() noexcept {
    for (List& list : lists_)
        while (list.first != nullptr) {
            TimerNode& node = *list.first;
            remove(node);
            node.on_drop();
        }
}

inline TimerNode* TimerWheel::merge(TimerNode* earlier, TimerNode* later) noexcept {
    TimerNode* first = nullptr;
    TimerNode** end = &first;
    while (earlier != nullptr && later != nullptr) {
        TimerNode*& smaller = later->deadline_ < earlier->deadline_ ? later : earlier;
        *end = smaller;
        end = &smaller->next_;
        smaller = smaller->next_;
    }
    *end = earlier != nullptr ? earlier : later;
    return first;
}

inline TimerNode* TimerWheel::sort(TimerNode* first) noexcept {
    // A stable merge sort, bottom up: runs[i] holds 2^i nodes, all added before those of runs[i - 1].
    TimerNode* runs[8 * sizeof(std::size_t)] = {};
    std::size_t used = 0;
    while (first != nullptr) {
        TimerNode* run = first;
        first = first->next_;
        run->next_ = nullptr;
        std::size_t i = 0;
        for (; i < used && runs[i] != nullptr; ++i) {
            run = merge(runs[i], run);
            runs[i] = nullptr;
        }
        runs[i] = run;
        used = (std::max)(used, i + 1);
    }
    TimerNode* sorted = nullptr;
    for (std::size_t i = 0; i < used; ++i)
        if (runs[i] != nullptr) sorted = sorted != nullptr ? merge(runs[i], sorted) : runs[i];
    return sorted;
}

inline void TimerWheel::adopt_sorted(TimerNode* first) noexcept {
    while (first != nullptr) {
        TimerNode* const next = first->next_;
        link(*first, near_place);
        first = next;
    }
}

}  // namespace plait::inline PLAIT_ABI::detail
