// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <atomic>
#include <cstddef>

namespace plait::inline PLAIT_ABI::threading::detail {

/// The atomics of a lock-free part, a parameter so that a model checker can put its own in their place.
struct StandardAtomics {
    template <class T>
    using Atomic = std::atomic<T>;

    /// Of a SegmentChain. Two kibibytes: making and freeing one is nothing beside the items, and an idle queue holds
    /// little.
    static constexpr std::size_t segment_bytes = 2048;
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
