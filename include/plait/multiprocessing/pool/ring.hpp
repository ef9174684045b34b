// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// A stream of bytes from one process to another, in memory that both see: one writes, one reads.
///
/// Both count bytes from the beginning of the stream, in numbers that never go back. Either number is one word, moved on
/// after the bytes were copied: whoever is killed at whatever instruction, what stands up to `written` is whole. The two
/// keep their own numbers in memory of their own, and take the other's for what it is: one that a task may have written
/// over.
template <std::size_t size>
struct Ring {
    static_assert((size & (size - 1)) == 0, "a power of two: places go round by a mask");
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "the numbers are shared between processes");

    static constexpr std::size_t capacity = size;

    alignas(64) std::atomic<std::uint64_t> written;  // how many bytes there have been; moved on by the writer alone
    alignas(64) std::atomic<std::uint64_t> read;     // how many of them were taken; moved on by the reader alone
    alignas(64) std::byte bytes[size];
};

/// The writing end. Memory of zeros is an empty ring.
template <class Ring>
class RingWriter {
public:
    RingWriter() noexcept = default;
    explicit RingWriter(Ring& ring) noexcept : ring_{&ring} {}

    /// How many bytes it takes now.
    [[nodiscard]] std::size_t room() noexcept {
        // Acquire pairs with the reader's store: its copy was made before these bytes are written over.
        const std::uint64_t used = written_ - ring_->read.load(std::memory_order_seq_cst);
        return used <= Ring::capacity ? Ring::capacity - static_cast<std::size_t>(used) : 0;
    }
    /// Whether it takes so many. Asks the other process only where it has to.
    [[nodiscard]] bool takes(std::size_t count) noexcept {
        if (count <= room_) return true;
        room_ = room();
        return count <= room_;
    }
    /// Copies bytes for which there is room; nobody sees them before they are published.
    void put(std::span<const std::byte> bytes) noexcept {
        if (bytes.empty()) return;
        const std::size_t at = static_cast<std::size_t>(written_) & (Ring::capacity - 1);
        const std::size_t before_end = (std::min)(bytes.size(), Ring::capacity - at);
        std::memcpy(ring_->bytes + at, bytes.data(), before_end);
        if (before_end < bytes.size()) std::memcpy(ring_->bytes, bytes.data() + before_end, bytes.size() - before_end);
        written_ += bytes.size();
        room_ -= (std::min)(room_, bytes.size());
    }
    /// Release pairs with the acquire in `available`: who sees the number sees the bytes.
    void publish() noexcept { ring_->written.store(written_, std::memory_order_release); }
    /// The same before the writer asks whether the reader sleeps, see Slot.
    void publish_and_look() noexcept { ring_->written.store(written_, std::memory_order_seq_cst); }

private:
    Ring* ring_ = nullptr;
    std::uint64_t written_ = 0;
    std::size_t room_ = 0;  // at least
};

/// The reading end.
template <class Ring>
class RingReader {
public:
    RingReader() noexcept = default;
    explicit RingReader(Ring& ring) noexcept : ring_{&ring} {}

    /// How many bytes can be taken; of a number that somebody wrote over it is more than the capacity.
    [[nodiscard]] std::uint64_t available() const noexcept {
        return ring_->written.load(std::memory_order_seq_cst) - read_;
    }
    /// How far it has come.
    [[nodiscard]] std::uint64_t taken() const noexcept { return read_; }
    /// Takes bytes that are available.
    void take(std::span<std::byte> out) noexcept {
        if (out.empty()) return;
        const std::size_t at = static_cast<std::size_t>(read_) & (Ring::capacity - 1);
        const std::size_t before_end = (std::min)(out.size(), Ring::capacity - at);
        std::memcpy(out.data(), ring_->bytes + at, before_end);
        if (before_end < out.size()) std::memcpy(out.data() + before_end, ring_->bytes, out.size() - before_end);
        read_ += out.size();
    }
    /// Gives what was taken back to the writer; seq_cst, for the reader then asks whether the writer waits for room.
    void free() noexcept { ring_->read.store(read_, std::memory_order_seq_cst); }

private:
    Ring* ring_ = nullptr;
    std::uint64_t read_ = 0;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
