// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>

#include <atomic>
#include <cstddef>
#include <memory>

namespace plait::inline PLAIT_ABI::detail {

/// In which order an imap gives its results: that of the items, or that in which they come.
enum class Order { of_items, of_completion };

/// Which result of an imap is to be read next, and the sleep until it is there.
///
/// A result is announced at its item's place, or at the next free one. The reader waits for the place that it is at. It
/// says so in `awaited_` and looks at the place again, while who announces a result looks at `awaited_` after that; both
/// by seq_cst, so that one of them sees the other.
///
/// Threads: `announce` from any; the rest is the reader's.
class ImapTurns {
public:
    ImapTurns(Order order, std::size_t size) : order_{order}, places_{new Place[size]{}} {}

    /// The result of `item` is there: once for each. Returns whether the reader has announced itself for it.
    bool announce(std::size_t item) noexcept {
        const std::size_t turn = order_ == Order::of_items ? item : announced_.fetch_add(1, std::memory_order_relaxed);
        Place& place = places_[turn];
        sync_point();
        // As a release it pairs with the reader's acquire: who sees the announcement sees the result.
        static_cast<void>(place.exchange(item + 1, std::memory_order_seq_cst));
        sync_point();
        if (awaited_.load(std::memory_order_seq_cst) != &place) return false;
        parking::wake_all(&place);
        return true;
    }

    /// Whether the next result is there.
    [[nodiscard]] bool has_come() const noexcept {
        // Acquire pairs with the exchange in announce.
        return places_[next_].load(std::memory_order_acquire) != 0;
    }
    /// The reader announces that it will sleep for the next result; false where that has come.
    bool announce_reader() noexcept {
        const Place& place = places_[next_];
        static_cast<void>(awaited_.exchange(&place, std::memory_order_seq_cst));
        sync_point();
        return place.load(std::memory_order_seq_cst) == 0;
    }
    /// Waits for the next result; returns whether it is there.
    [[nodiscard]] bool wait(Deadline deadline);
    /// Goes on to the next; returns the item of the one that has come.
    std::size_t take() noexcept { return places_[next_++].load(std::memory_order_acquire) - 1; }

private:
    using Place = std::atomic<std::size_t>;  // an item's number and one, written once; 0 while it has not come

    const Order order_;
    const std::unique_ptr<Place[]> places_;
    std::atomic<std::size_t> announced_{0};  // how many results have come, for Order::of_completion
    std::atomic<const Place*> awaited_{
        nullptr};           // the place that the reader sleeps for, or did last; the reader writes it
    std::size_t next_ = 0;  // the reader's
};

inline bool ImapTurns::wait(Deadline deadline) {
    if (spin_until([this] { return has_come(); })) return true;
    const Place& place = places_[next_];
    WaitHelper* const helper = wait_helper();
    if (helper != nullptr) helper->sleep_begins();
    if (announce_reader()) {
        const auto not_yet = [&] { return place.load(std::memory_order_seq_cst) == 0; };
        while (not_yet() && parking::sleep(&place, deadline, not_yet) != parking::Result::timed_out) {
        }
    }
    if (helper != nullptr) helper->sleep_ends();
    return has_come();
}

}  // namespace plait::inline PLAIT_ABI::detail
