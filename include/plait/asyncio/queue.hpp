// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/basic_queue.hpp>
#include <plait/asyncio/detail/ring_items.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::QueueEmpty;
using plait::QueueFull;
using plait::QueueShutDown;

/// A row of items that some tasks put in at one end and others take out at the other, waiting where they must.
///
///     Queue<int> jobs(10);
///     auto worker = create_task([&jobs]() -> Coroutine<void> {
///         for (;;) {
///             const int job = co_await jobs.get();    // until the shutdown
///             co_await work(job);
///             jobs.task_done();
///         }
///     });
///     for (int job = 0; job < 100; ++job) co_await jobs.put(job);
///     co_await jobs.join();
///     jobs.shutdown();
///
/// Python: asyncio.Queue. For the newest first use LifoQueue, for the least first PriorityQueue; across threads
/// threading::Queue.
/// Words: put, put_nowait, get, get_nowait, task_done, join, shutdown, is_shutdown, qsize, empty, full, maxsize, waiting;
/// each is documented in BasicQueue (detail/basic_queue.hpp), which all queues are made of. For a timeout:
/// `wait_for(jobs.get(), 1s)`.
/// Wakes: first come, first served; one that is cancelled leaves its item, or its room, to the next.
/// Threads: from its loop's only. Throws: UsageError where tasks of another loop wait here. An item's move may not use the
/// queue, nor may its destructor, unless an immediate `shutdown` drops the item.
/// Lifetime: the queue outlives its waiters.
template <class T>
class Queue final : public detail::BasicQueue<T, detail::RingItems<T>> {
public:
    using detail::BasicQueue<T, detail::RingItems<T>>::BasicQueue;
};

}  // namespace plait::inline PLAIT_ABI::asyncio
