// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/segment_chain.hpp>
#include <plait/threading/detail/turnstile.hpp>

#include <cstddef>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

/// The items of a queue, first in, first out: who puts and who takes do not touch the same.
template <class T>
class FifoItems {
public:
    using PutEnd = typename SegmentChain<T>::PutEnd;
    using TakeEnd = typename SegmentChain<T>::TakeEnd;
    using Detached = TakeEnd;

    template <class U>
    void put(PutEnd& put, U&& item) {
        chain_.emplace(put, std::forward<U>(item));
    }
    T take(Turnstile&, PutEnd&, TakeEnd& take) {
        T item(std::move(chain_.front(take)));
        chain_.pop(take);
        return item;
    }
    Detached detach(PutEnd& put, TakeEnd& take) noexcept { return chain_.detach(put, take); }
    void discard(Detached detached, std::size_t count) noexcept { SegmentChain<T>::discard(detached, count); }

private:
    SegmentChain<T> chain_;
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
