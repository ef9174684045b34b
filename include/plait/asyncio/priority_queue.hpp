// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/basic_queue.hpp>
#include <plait/core/config.hpp>
#include <plait/core/queue_items.hpp>

#include <type_traits>

namespace plait::inline PLAIT_ABI::asyncio {

/// A queue that gives its least item first, by `Compare`; of equal ones, that which came first.
///
///     PriorityQueue<std::pair<int, std::string>> jobs;
///     co_await jobs.put({2, "sweep"});
///     co_await jobs.put({1, "cook"});
///     auto first = co_await jobs.get();   // {1, "cook"}
///
/// Python: asyncio.PriorityQueue, which promises nothing of equal ones. Words, threads, lifetime: as of Queue. An item's
/// move and move assignment must not throw. A comparison that throws changes nothing; it may not use the queue.
template <class T, class Compare = plait::detail::Less>
class PriorityQueue final : public detail::BasicQueue<T, plait::detail::StableHeap<T, Compare>> {
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                  "a PriorityQueue moves its items about: where a move may throw, hold it in a std::unique_ptr");
    static_assert(!std::is_pointer_v<Compare>,
                  "give a function object's type, such as std::greater<>: a pointer would be null");

public:
    using detail::BasicQueue<T, plait::detail::StableHeap<T, Compare>>::BasicQueue;
};

}  // namespace plait::inline PLAIT_ABI::asyncio
