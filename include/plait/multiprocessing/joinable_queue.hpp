// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/queue_items.hpp>

#include <cstddef>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// A Queue that knows how many of its items have been dealt with, so that one can wait for all.
///
/// Python: multiprocessing.JoinableQueue. Where the work gives results, a Pool says more: also who died of what.
///
///     void work(JoinableQueue<int> jobs) {
///         for (;;) {
///             do_it(jobs.get());
///             jobs.task_done();
///         }
///     }
///     for (int job = 0; job < 100; ++job) jobs.put(job);
///     jobs.join();
///
/// Everything else is as in Queue. What dies with a process that had taken it is never done: give `join` a timeout where
/// that can happen. An item that could not be decoded counts as taken.
template <class T>
class JoinableQueue final : private detail::QueueItems<T> {
    using Base = detail::QueueItems<T>;

public:
    explicit JoinableQueue(std::ptrdiff_t most = 0) : Base{most} {}

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

    /// Says that what was taken out by one `get` has been dealt with. Throws: UsageError where that was said of every item
    /// that was ever put.
    void task_done() const { Base::task_done(); }
    /// Waits until `task_done` was called for every item that was ever put, and not dropped.
    void join() const { static_cast<void>(Base::join(Timeout::never())); }
    /// Waits for `timeout` at most; returns whether everything was done.
    [[nodiscard]] bool join(Timeout timeout) const { return Base::join(timeout); }

    /// Whether they are the same queue.
    friend bool operator==(const JoinableQueue& a, const JoinableQueue& b) noexcept {
        return static_cast<const Base&>(a) == b;
    }

private:
    friend struct Codec<JoinableQueue>;
    explicit JoinableQueue(Decoder& in) : Base{in} {}
};

template <class T>
struct Codec<JoinableQueue<T>> {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const JoinableQueue<T>& queue) { queue.Base::encode(out); }
    static JoinableQueue<T> decode(Decoder& in) { return JoinableQueue<T>{in}; }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
