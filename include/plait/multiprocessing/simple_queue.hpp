// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/queue_items.hpp>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// A Queue without a bound, in its fewest words.
///
/// Python: multiprocessing.SimpleQueue.
///
///     SimpleQueue<std::string> words;
///     words.put("one");
///     words.get();
///
/// Everything is as in Queue.
template <class T>
class SimpleQueue final : private detail::QueueItems<T> {
    using Base = detail::QueueItems<T>;

public:
    SimpleQueue() : Base{0} {}

    using Base::close;
    using Base::empty;
    using Base::get;
    using Base::put;

    /// Whether they are the same queue.
    friend bool operator==(const SimpleQueue& a, const SimpleQueue& b) noexcept {
        return static_cast<const Base&>(a) == b;
    }

private:
    friend struct Codec<SimpleQueue>;
    explicit SimpleQueue(Decoder& in) : Base{in} {}
};

template <class T>
struct Codec<SimpleQueue<T>> {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const SimpleQueue<T>& queue) { queue.Base::encode(out); }
    static SimpleQueue<T> decode(Decoder& in) { return SimpleQueue<T>{in}; }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
