// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Where a worker collects what it will write to its channel, in memory that the program sees too: many small results
/// are one system call, and a result that is whole here is not lost with its worker.
///
/// The worker's messages are one stream of bytes, each with its place in it. The program reads the stream from the
/// channel; what a dead or a slow worker has not written yet it takes from here, by its place, and passes over it when
/// the channel brings it after all.
///
/// Written by the worker alone. `state_` is one word, so that at any instruction at which the worker may be killed it
/// tells of whole messages only: a message is copied first and counted after.
class Outbox {
public:
    static constexpr std::size_t capacity = 32 * 1024;

    /// For the program, before a worker is made for it.
    void reset() noexcept { state_.store(0, std::memory_order_relaxed); }

    /// For the worker: puts a message behind the others, if it has room for it.
    bool add(std::span<const std::byte> head, std::span<const std::byte> body) noexcept {
        const State now = load();
        if (head.size() + body.size() > capacity - now.filled) return false;
        std::memcpy(bytes_ + now.filled, head.data(), head.size());
        if (!body.empty()) std::memcpy(bytes_ + now.filled + head.size(), body.data(), body.size());
        store({now.base, now.filled + static_cast<std::uint32_t>(head.size() + body.size())});
        return true;
    }
    /// For the worker: what is to be written to the channel.
    [[nodiscard]] std::span<const std::byte> content() const noexcept { return {bytes_, load().filled}; }
    /// For the worker: all of that was written, and `more` bytes besides.
    void written(std::size_t more) noexcept {
        const State now = load();
        store({now.base + now.filled + static_cast<std::uint32_t>(more), 0});
    }

    /// For the program: appends to `stream` what stands here from the place `position` of the stream on; returns how
    /// many bytes that is: none where the channel has them, or will bring them.
    std::size_t read_from(std::uint32_t position, std::vector<std::byte>& stream) noexcept(false) {
        const State before = load();
        const std::uint32_t offset = position - before.base;  // places are counted modulo 2^32
        if (before.filled > capacity || offset >= before.filled) return 0;
        const std::size_t count = before.filled - offset;
        stream.insert(stream.end(), bytes_ + offset, bytes_ + before.filled);
        // If the worker has written it out meanwhile, the copy may be of what it put there next. A read-modify-write,
        // for its release half keeps the copy before it.
        if (unpack(state_.fetch_or(0, std::memory_order_acq_rel)).base == before.base) return count;
        stream.erase(stream.end() - static_cast<std::ptrdiff_t>(count), stream.end());
        return 0;
    }

private:
    struct State {
        std::uint32_t base;    // the place in the stream of the first byte here
        std::uint32_t filled;  // how many bytes of whole messages are here
    };
    static State unpack(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)};
    }
    // Release pairs with acquire: who sees the count sees the bytes.
    [[nodiscard]] State load() const noexcept { return unpack(state_.load(std::memory_order_acquire)); }
    void store(State state) noexcept {
        state_.store(std::uint64_t{state.base} << 32 | state.filled, std::memory_order_release);
    }

    std::atomic<std::uint64_t> state_;
    std::byte bytes_[capacity];
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
