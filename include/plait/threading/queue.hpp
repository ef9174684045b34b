// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/basic_queue.hpp>
#include <plait/threading/detail/fifo_items.hpp>

namespace plait::inline PLAIT_ABI::threading {

/// A row of items that some threads put in at one end and others take out at the other, waiting where they must.
///
/// Python: queue.Queue. For the newest first use LifoQueue, for the least first PriorityQueue; SimpleQueue has fewer words.
///
///     Queue<int> jobs(10);
///     Thread worker([&] {
///         for (int job : jobs) {      // until the shutdown
///             work(job);
///             jobs.task_done();
///         }
///     });
///     worker.start();
///     for (int job = 0; job < 100; ++job) jobs.put(job);
///     jobs.join();
///     jobs.shutdown();
///
/// Words: put, put_nowait, get, get_nowait, begin, task_done, join, shutdown, is_shutdown, qsize, empty, full, maxsize,
/// waiting; each is documented in BasicQueue (detail/basic_queue.hpp), which all queues are made of. A `put` or `get` that
/// is given a timeout or a StopToken throws QueueFull or QueueEmpty when that ends it.
/// Order: what a thread did before `put` is visible to who gets the item.
/// Threads: every member from any thread; not from a signal handler. Items are made and moved while others that put, or
/// get, wait: an item's constructor may not use the queue which it goes into. Its destructor may put into it, if it is
/// unbounded, and ask `qsize`, while the queue lives; nothing else, for a `get` or `shutdown` there would wait for itself
/// (but everything where an immediate `shutdown` drops the item).
/// Lifetime: who got an item may destroy the queue at once, if no other thread uses it, while `put` is still returning; not
/// while `shutdown` is.
template <class T>
class Queue final : public detail::BasicQueue<T, detail::FifoItems<T>> {
public:
    using detail::BasicQueue<T, detail::FifoItems<T>>::BasicQueue;
};

}  // namespace plait::inline PLAIT_ABI::threading
