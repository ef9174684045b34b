// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/pool/outbox.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

// What the three parties of a pool say to one another: the program, the maker of its workers, and the workers.
//
// Program and maker talk in `Order`s and `Report`s over one channel. Program and worker have a channel of their own, with
// a `Frame` before each message, and a `Slot` of memory that both see. Nothing is shared between workers: one that dies,
// at any instruction, takes nothing of another's with it.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Where a worker says what it has begun, and where the program forbids it to begin more; the program reads it also after
/// the worker's death.
struct alignas(64) Mark {
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "the mark is shared between processes");

    // The number of the last task begun, plus one; 0 before the first. The worker moves it on, and only by a compare and
    // exchange, so that the program's stop_bit ends the counting for good: a task either began before it, or never.
    std::atomic<std::uint64_t> begun;
    std::atomic<std::int64_t> begun_at;  // when, in nanoseconds of the steady clock, which all processes share

    static constexpr std::uint64_t stop_bit = std::uint64_t{1} << 63;

    void reset() noexcept {
        begun.store(0, std::memory_order_relaxed);
        begun_at.store(0, std::memory_order_relaxed);
    }

    /// For the worker. False where the program has stopped it.
    [[nodiscard]] bool begin(std::uint64_t task) noexcept {
        begun_at.store(std::chrono::steady_clock::now().time_since_epoch().count(), std::memory_order_relaxed);
        std::uint64_t before = begun.load(std::memory_order_relaxed);
        // Release pairs with the acquire in begun_of: who sees the mark sees a time that is no older.
        return (before & stop_bit) == 0 &&
               begun.compare_exchange_strong(before, task + 1, std::memory_order_release, std::memory_order_relaxed);
    }

    /// How many of the tasks from `first` on, which were given out together, have begun: none where the last that began
    /// is of another lot.
    [[nodiscard]] std::uint64_t begun_of(std::uint64_t first, std::uint64_t count) const noexcept {
        const std::uint64_t next = begun.load(std::memory_order_acquire) & ~stop_bit;
        return next > first && next <= first + count ? next - first : 0;
    }
    /// From now on nothing new begins.
    void stop() noexcept { begun.fetch_or(stop_bit, std::memory_order_acq_rel); }
    /// The same, if `task` is the last that began: false where the worker is past it.
    [[nodiscard]] bool stop_at(std::uint64_t task) noexcept {
        std::uint64_t expected = task + 1;
        return begun.compare_exchange_strong(expected, expected | stop_bit, std::memory_order_acq_rel);
    }
};

/// What the program and one worker share.
struct Slot {
    Mark mark;
    Outbox outbox;

    void reset() noexcept {
        mark.reset();
        outbox.reset();
    }
};

/// From the program to the maker.
struct Order {
    enum class Kind : std::uint32_t {
        make,  ///< a worker for `slot`; its end of its channel comes along
        kill,  ///< send `signal` to the worker and its process group, if it still is
    };
    Kind kind = Kind::make;
    std::uint32_t slot = 0;
    std::uint64_t worker = 0;  ///< the worker's number in its pool: no two ever share one
    std::int32_t signal = 0;
    std::uint32_t padding = 0;
};

/// From the maker to the program.
struct Report {
    enum class Kind : std::uint32_t {
        made,    ///< with its pid
        failed,  ///< no process could be had: `code` is the error number
        died,    ///< and was reaped: `code` as Python's exit code, `memory` the most bytes it ever had
    };
    Kind kind = Kind::made;
    std::uint32_t padding = 0;
    std::uint64_t worker = 0;
    std::int64_t pid = 0;
    std::int64_t code = 0;
    std::uint64_t memory = 0;
};

/// Before each message between the program and a worker; `size` bytes follow.
struct Frame {
    enum class Kind : std::uint32_t {
        // To a worker: `count` tasks from number `task` on; a callable's name, then each one's size and arguments.
        tasks = 0x706C6101,
        // From a worker: it is there; its initializer threw; a task's value; a task's exception.
        ready,
        initializer_failed,
        value,
        exception,
    };
    Kind kind = Kind::ready;
    std::uint32_t count = 0;
    std::uint64_t task = 0;
    std::uint64_t size = 0;
};

template <class Message>
std::span<const std::byte> bytes_of(const Message& message) {
    static_assert(std::is_trivially_copyable_v<Message>);
    return std::as_bytes(std::span{&message, 1});
}
template <class Message>
std::span<std::byte> writable_bytes_of(Message& message) {
    static_assert(std::is_trivially_copyable_v<Message>);
    return std::as_writable_bytes(std::span{&message, 1});
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
