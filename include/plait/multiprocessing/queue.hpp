// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/queue_items.hpp>

#include <cstddef>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// A row of items that some processes put in at one end and others take out at the other, waiting where they must.
///
/// Python: multiprocessing.Queue. To wait until all items are dealt with use JoinableQueue; SimpleQueue has fewer words;
/// between two processes alone a Pipe will do, and within one process threading::Queue is ten times as fast.
///
///     void square(Queue<int> numbers, Queue<int> squares) {
///         for (;;) {
///             const int number = numbers.get();
///             squares.put(number * number);
///         }
///     }
///     Queue<int> numbers, squares;
///     Process worker(ProcessOptions{.daemon = true}, square, numbers, squares);
///
/// A handle: its copies, in this process and in those that were given one, name the same queue. Nothing of it has a
/// name that others could open, and its memory goes with its last handle. With a `maxsize` greater than zero `put` waits
/// while there are so many items; else there is always room, as long as there is memory, up to 64 GiB.
///
/// Words: put, put_nowait, get, get_nowait, qsize, empty, full, maxsize, waiting, close, shutdown, is_shutdown; each is
/// documented in QueueItems (detail/queue_items.hpp).
/// Items: whatever the codec takes, of any size; but no locks, queues, connections.
/// Order: the items of one process come in the order in which it put them.
/// Death: a process that is killed, at any instruction, blocks nobody. What it was putting is there whole or not at all;
/// what it had taken dies with it.
/// A process that is stopped inside of a call holds others up until it goes on, but for their timeouts.
/// Memory: of a queue that was used, 16 MiB stay for its next items while it is busy, and 1 MiB once somebody has waited
/// in vain for a tenth of a second. (By POSIX alone, as much as it once needed.)
/// Threads: every member from any thread; the destructor when the others are done.
template <class T>
class Queue final : private detail::QueueItems<T> {
    using Base = detail::QueueItems<T>;

public:
    /// Throws: std::system_error where there is no memory, or no descriptor.
    explicit Queue(std::ptrdiff_t most = 0) : Base{most} {}

    using Base::close;
    using Base::empty;
    using Base::full;
    using Base::get;
    using Base::get_nowait;
    using Base::is_shutdown;
    using Base::maxsize;
    using Base::put;
    using Base::put_nowait;
    using Base::qsize;
    using Base::shutdown;
    using Base::waiting;

    /// Whether they are the same queue.
    friend bool operator==(const Queue& a, const Queue& b) noexcept { return static_cast<const Base&>(a) == b; }

private:
    friend struct Codec<Queue>;
    explicit Queue(Decoder& in) : Base{in} {}
};

template <class T>
struct Codec<Queue<T>> {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const Queue<T>& queue) { queue.Base::encode(out); }
    static Queue<T> decode(Decoder& in) { return Queue<T>{in}; }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
