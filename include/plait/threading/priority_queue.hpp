// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/queue_items.hpp>
#include <plait/threading/detail/basic_queue.hpp>
#include <plait/threading/detail/vector_items.hpp>

#include <type_traits>

namespace plait::inline PLAIT_ABI::threading {

/// A queue that gives its least item first, by `Compare`; of equal ones, that which came first.
///
/// Python: queue.PriorityQueue, which promises nothing of equal ones. Words, threads, lifetime: as of LifoQueue. An item's
/// move and move assignment must not throw. A comparison that throws changes nothing; it may not use the queue.
///
///     PriorityQueue<std::pair<int, std::string>> jobs;
///     jobs.put({2, "sweep"});
///     jobs.put({1, "cook"});
///     jobs.get().second;  // "cook"
template <class T, class Compare = plait::detail::Less>
class PriorityQueue final : public detail::BasicQueue<T, detail::VectorItems<plait::detail::StableHeap<T, Compare>>> {
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                  "a PriorityQueue moves its items about: where a move may throw, hold it in a std::unique_ptr");
    static_assert(!std::is_pointer_v<Compare>,
                  "give a function object's type, such as std::greater<>: a pointer would be null");

public:
    using detail::BasicQueue<T, detail::VectorItems<plait::detail::StableHeap<T, Compare>>>::BasicQueue;
};

}  // namespace plait::inline PLAIT_ABI::threading
