// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/queue_items.hpp>
#include <plait/threading/detail/basic_queue.hpp>
#include <plait/threading/detail/vector_items.hpp>

#include <type_traits>

namespace plait::inline PLAIT_ABI::threading {

/// A queue that gives its newest item first.
///
/// Python: queue.LifoQueue. Words, threads, lifetime: as of Queue; but an item's destructor may not use the queue either,
/// unless a `shutdown` drops the item. An item's move must not throw, or it must have a copy constructor.
///
///     LifoQueue<int> pile;
///     pile.put(1);
///     pile.put(2);
///     pile.get();  // 2
template <class T>
class LifoQueue final : public detail::BasicQueue<T, detail::VectorItems<plait::detail::Pile<T>>> {
    static_assert(std::is_nothrow_move_constructible_v<T> || std::is_copy_constructible_v<T>,
                  "a LifoQueue that grows moves its items: where a move may throw, hold it in a std::unique_ptr");

public:
    using detail::BasicQueue<T, detail::VectorItems<plait::detail::Pile<T>>>::BasicQueue;
};

}  // namespace plait::inline PLAIT_ABI::threading
