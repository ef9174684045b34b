// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Bytes that are put in at the end and taken out at the front. Holds no memory while it is empty.
class ByteBuffer {
public:
    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size() - begin_; }
    [[nodiscard]] std::string_view view() const noexcept { return std::string_view{bytes_}.substr(begin_); }

    void append(std::string_view bytes) {
        // What was taken goes once it is half of it: so each byte is moved once on the average, however many there are.
        if (begin_ >= size()) {
            bytes_.erase(0, begin_);
            begin_ = 0;
        }
        bytes_.append(bytes);
    }
    void drop(std::size_t count) noexcept {
        begin_ += count;
        if (begin_ == bytes_.size()) clear();
    }
    void clear() noexcept {
        std::string{}.swap(bytes_);
        begin_ = 0;
    }
    /// The first `most`, or as many as there are.
    [[nodiscard]] std::string take(std::size_t most) {
        std::string taken;
        if (most >= size() && begin_ == 0) {
            taken.swap(bytes_);
        } else {
            taken = view().substr(0, most);
            drop(taken.size());
        }
        return taken;
    }
    std::size_t take_into(char* place, std::size_t most) noexcept {
        const std::size_t count = (std::min)(most, size());
        view().copy(place, count);
        drop(count);
        return count;
    }

private:
    std::string bytes_;
    std::size_t begin_ = 0;  // of what is left; less than its size, or 0
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
