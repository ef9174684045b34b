// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/segment_chain.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

/// An unbounded row of items, first in, first out, for one thread at a time that puts and one at a time that takes; who
/// lets several do either has them take turns under a lock.
///
/// Neither waits for the other, and they share no cache line but that of the putting thread's counter, which the taking
/// one reads when it has taken all that it knew of.
template <class T, class Environment = StandardAtomics>
class SegmentedFifo {
public:
    constexpr SegmentedFifo() noexcept = default;
    SegmentedFifo(const SegmentedFifo&) = delete;
    SegmentedFifo& operator=(const SegmentedFifo&) = delete;
    /// Destroys what is left.
    ~SegmentedFifo() {
        const std::uint64_t left = put_count() - taken_count();
        Chain::discard(chain_.detach(putting_.end, taking_.end), static_cast<std::size_t>(left));
    }

    /// For the putting thread. If it throws, nothing has changed.
    template <class... Args>
    void emplace(Args&&... args) {
        chain_.emplace(putting_.end, std::forward<Args>(args)...);
        // Release pairs with the acquire in put_count: who sees the count finds the item.
        putting_.count.store(putting_.count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    /// For the taking thread: the oldest item, or null.
    [[nodiscard]] T* front() noexcept {
        if (taking_.count.load(std::memory_order_relaxed) == taking_.known) {
            taking_.known = put_count();
            if (taking_.count.load(std::memory_order_relaxed) == taking_.known) return nullptr;
        }
        return &chain_.front(taking_.end);
    }
    /// For the taking thread: destroys what `front` gave.
    void pop() noexcept {
        chain_.pop(taking_.end);
        // Release pairs with the acquire in taken_count: who sees the count sees that the item is gone.
        taking_.count.store(taking_.count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    /// How many items were ever put, and ever taken; for any thread.
    [[nodiscard]] std::uint64_t put_count() const noexcept { return putting_.count.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t taken_count() const noexcept { return taking_.count.load(std::memory_order_acquire); }

private:
    using Chain = SegmentChain<T, Environment>;
    using Counter = typename Environment::template Atomic<std::uint64_t>;

    struct Putting {
        Counter count{0};
        typename Chain::PutEnd end;
    };
    struct Taking {
        Counter count{0};
        std::uint64_t known = 0;  // what `put_count` was when this end looked last
        typename Chain::TakeEnd end;
    };

    // Padding rather than alignment, which a coroutine's frame does not give.
    Chain chain_;
    [[maybe_unused]] char apart_[64]{};
    Putting putting_;
    [[maybe_unused]] char further_apart_[64]{};
    Taking taking_;
};

}  // namespace plait::inline PLAIT_ABI::threading::detail
