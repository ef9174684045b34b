// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/basic_queue.hpp>
#include <plait/core/config.hpp>
#include <plait/core/queue_items.hpp>

#include <type_traits>

namespace plait::inline PLAIT_ABI::asyncio {

/// A queue that gives its newest item first.
///
///     LifoQueue<int> pile;
///     co_await pile.put(1);
///     co_await pile.put(2);
///     int two = co_await pile.get();
///
/// Python: asyncio.LifoQueue. Words, threads, lifetime: as of Queue. An item's move must not throw, or it must have a copy
/// constructor.
template <class T>
class LifoQueue final : public detail::BasicQueue<T, plait::detail::Pile<T>> {
    static_assert(std::is_nothrow_move_constructible_v<T> || std::is_copy_constructible_v<T>,
                  "a LifoQueue that grows moves its items: where a move may throw, hold it in a std::unique_ptr");

public:
    using detail::BasicQueue<T, plait::detail::Pile<T>>::BasicQueue;
};

}  // namespace plait::inline PLAIT_ABI::asyncio
