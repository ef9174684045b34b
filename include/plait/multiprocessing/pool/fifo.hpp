// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// First in, first out, in one block of memory. Not std::deque: that one allocates also when it is empty, or moved.
template <class T>
class Fifo {
public:
    [[nodiscard]] bool empty() const noexcept { return head_ == items_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size() - head_; }
    [[nodiscard]] T& operator[](std::size_t index) noexcept { return items_[head_ + index]; }
    [[nodiscard]] T& front() noexcept { return items_[head_]; }
    [[nodiscard]] const T& front() const noexcept { return items_[head_]; }
    [[nodiscard]] T& back() noexcept { return items_.back(); }
    auto begin() noexcept { return items_.begin() + static_cast<std::ptrdiff_t>(head_); }
    auto begin() const noexcept { return items_.begin() + static_cast<std::ptrdiff_t>(head_); }
    auto end() noexcept { return items_.end(); }
    auto end() const noexcept { return items_.end(); }

    void push_back(T item) {
        // Those that are gone make room, as soon as they are the most.
        if (head_ > 16 && head_ > items_.size() / 2) {
            items_.erase(items_.begin(), begin());
            head_ = 0;
        }
        items_.push_back(std::move(item));
    }
    void pop_back() noexcept {
        items_.pop_back();
        if (empty()) clear();
    }
    /// The first; what is left of it in here is empty.
    T pop_front() noexcept {
        T item = std::exchange(items_[head_++], T{});
        if (empty()) clear();
        return item;
    }
    template <class Predicate>
    void erase_if(Predicate predicate) {
        std::size_t kept = head_;
        for (std::size_t i = head_; i < items_.size(); ++i)
            if (!predicate(items_[i])) {
                if (kept != i) items_[kept] = std::move(items_[i]);
                ++kept;
            }
        items_.resize(kept);
        if (empty()) clear();
    }
    void clear() noexcept {
        items_.clear();
        head_ = 0;
    }

private:
    std::vector<T> items_;
    std::size_t head_ = 0;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
