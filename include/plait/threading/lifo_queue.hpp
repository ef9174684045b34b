// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/basic_queue.hpp>
#include <plait/threading/detail/vector_items.hpp>

#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

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

}  // namespace detail

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
class LifoQueue final : public detail::BasicQueue<T, detail::VectorItems<detail::Pile<T>>> {
    static_assert(std::is_nothrow_move_constructible_v<T> || std::is_copy_constructible_v<T>,
                  "a LifoQueue that grows moves its items: where a move may throw, hold it in a std::unique_ptr");

public:
    using detail::BasicQueue<T, detail::VectorItems<detail::Pile<T>>>::BasicQueue;
};

}  // namespace plait::inline PLAIT_ABI::threading
