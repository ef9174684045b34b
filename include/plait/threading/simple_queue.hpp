// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/basic_queue.hpp>
#include <plait/threading/detail/fifo_items.hpp>

namespace plait::inline PLAIT_ABI::threading {

/// A Queue without bound and without `task_done`: `put` never waits for room.
///
/// Python: queue.SimpleQueue, with `shutdown` besides. Where items may come faster than they are dealt with, a Queue with
/// a `maxsize` holds the others back.
///
///     SimpleQueue<std::string> lines;
///     Thread printer([&] {
///         for (auto& line : lines) std::cout << line << '\n';
///     });
///     printer.start();
///     lines.put("hello");
///     lines.shutdown();
///
/// Words, order, threads, lifetime: as of an unbounded Queue, so an item's destructor may put another one into the queue
/// that it was in, and ask `qsize`, while the queue lives; nothing else.
template <class T>
class SimpleQueue final : private detail::BasicQueue<T, detail::FifoItems<T>> {
    using Base = detail::BasicQueue<T, detail::FifoItems<T>>;

public:
    constexpr SimpleQueue() noexcept = default;

    using Base::begin;
    using Base::empty;
    using Base::end;
    using Base::get;
    using Base::get_nowait;
    using Base::is_shutdown;
    using Base::put;
    using Base::put_nowait;
    using Base::qsize;
    using Base::shutdown;
    using Base::waiting;
};

}  // namespace plait::inline PLAIT_ABI::threading
