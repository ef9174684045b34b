// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Items, first in, first out, in a ring that grows.
///
/// No item is ever moved to make room: a ring that is full is followed by one twice as large, goes on giving what it
/// holds, and is freed when it is empty. So once the queue is as long as it gets, nothing is allocated any more.
template <class T>
class RingItems {
public:
    RingItems() noexcept = default;
    RingItems(RingItems&& other) noexcept
        : first_{std::exchange(other.first_, nullptr)}, last_{std::exchange(other.last_, nullptr)} {}
    RingItems& operator=(RingItems other) noexcept {
        std::swap(first_, other.first_);
        std::swap(last_, other.last_);
        return *this;
    }
    ~RingItems() {
        while (first_ != nullptr) drop_first();
    }

    /// If it throws, nothing is in.
    template <class U>
    void put(U&& item) {
        if (last_ == nullptr || last_->full()) [[unlikely]]
            grow();
        ::new (static_cast<void*>(last_->slot(last_->end))) T(std::forward<U>(item));
        ++last_->end;
    }
    /// There must be one. If it throws, the item is still the first.
    T take() {
        T item(std::move(*first_->slot(first_->begin)));
        first_->pop();
        if (first_->next != nullptr && first_->empty()) [[unlikely]]
            drop_first();
        return item;
    }

private:
    struct Ring {
        explicit Ring(std::size_t size) : mask{size - 1}, slots{std::allocator<T>{}.allocate(size)} {}
        Ring(const Ring&) = delete;
        Ring& operator=(const Ring&) = delete;
        ~Ring() {
            while (!empty()) pop();
            std::allocator<T>{}.deallocate(slots, mask + 1);
        }

        [[nodiscard]] bool empty() const noexcept { return begin == end; }
        [[nodiscard]] bool full() const noexcept { return end - begin > mask; }
        T* slot(std::size_t number) noexcept { return slots + (number & mask); }
        void pop() noexcept {
            slot(begin)->~T();
            ++begin;
        }

        std::size_t begin = 0;  // how many were taken, and put: so neither waits for the other's last write
        std::size_t end = 0;
        std::size_t mask;  // the size, a power of two, less one
        T* slots;
        Ring* next = nullptr;
    };

    void grow() {
        Ring* const grown = new Ring{last_ == nullptr ? 16 : 2 * (last_->mask + 1)};
        (last_ == nullptr ? first_ : last_->next) = grown;
        last_ = grown;
    }
    void drop_first() noexcept {
        const std::unique_ptr<Ring> gone{std::exchange(first_, first_->next)};
        if (first_ == nullptr) last_ = nullptr;
    }

    Ring* first_ = nullptr;  // where items are taken
    Ring* last_ = nullptr;   // where they are put: the first, or the last that follows it
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
