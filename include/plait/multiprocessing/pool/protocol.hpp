// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/pool/ring.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

// What the three parties of a pool say to one another: the program, the maker of its workers, and the workers.
//
// Program and maker talk in `Order`s and `Report`s over one channel. Program and worker share a `Slot` of memory with two
// streams of bytes: `Request`s there, `Reply`s back. Each has its memory, which no other worker sees: one that dies, at any
// instruction, takes nothing of another's with it. A channel between the two carries single bytes that mean nothing but
// "look", for who sleeps; its end is each one's news of the other's.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Where a worker says what it has begun, and where the program forbids it to begin more; the program reads it also after
/// the worker's death.
struct alignas(64) Mark {
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "the mark is shared between processes");

    // Three fields. The number of the last task begun, plus one, or `none`: the worker moves it on. How often the
    // program has recalled what had not begun, modulo 2^15, and whether it has stopped the worker: the program sets them.
    // All by a compare and exchange or its like, so that the program's word falls between two tasks: one either began
    // before it, or never.
    std::atomic<std::uint64_t> begun;
    std::atomic<std::int64_t> begun_at;  // when, in nanoseconds of the steady clock, which all processes share

    static constexpr std::uint64_t stop_bit = std::uint64_t{1} << 63;
    static constexpr std::uint64_t one_recall = std::uint64_t{1} << 48;
    static constexpr std::uint64_t recalls = stop_bit - one_recall;
    static constexpr std::uint64_t number = one_recall - 1;
    static constexpr std::uint64_t none = number;  // that memory which was written over is unlikely to hold

    enum class Begin { begun, recalled, stopped };

    /// For the worker: begins a task. The first one of a lot does not begin while there was a recall that the worker has
    /// not come to: `seen` are those that it has. A lot that runs goes on. `timed` where the task's time is limited.
    [[nodiscard]] Begin begin(std::uint64_t task, bool first, std::uint64_t seen, bool timed) noexcept {
        if (timed)
            begun_at.store(std::chrono::steady_clock::now().time_since_epoch().count(), std::memory_order_relaxed);
        std::uint64_t before = begun.load(std::memory_order_relaxed);
        do {
            if ((before & stop_bit) != 0) return Begin::stopped;
            if (first && (before & recalls) != seen) return Begin::recalled;
            // Release pairs with the acquire in begun_of: who sees the mark sees a time that is no older.
        } while (!begun.compare_exchange_weak(before, ((task + 1) & number) | (before & recalls),
                                              std::memory_order_release, std::memory_order_relaxed));
        return Begin::begun;
    }
    /// What a worker has seen once it came to one more.
    [[nodiscard]] static constexpr std::uint64_t after(std::uint64_t seen) noexcept {
        return (seen + one_recall) & recalls;
    }

    /// How many of the tasks from `first` on, which were given out together, have begun: none where the last that began
    /// is of another lot.
    [[nodiscard]] std::uint64_t begun_of(std::uint64_t first, std::uint64_t count) const noexcept {
        return begun_of(begun.load(std::memory_order_acquire), first, count);
    }
    [[nodiscard]] static std::uint64_t begun_of(std::uint64_t mark, std::uint64_t first, std::uint64_t count) noexcept {
        const std::uint64_t next = mark & number;
        return next > first && next <= first + count ? next - first : 0;
    }
    /// From now on nothing new begins.
    void stop() noexcept { begun.fetch_or(stop_bit, std::memory_order_acq_rel); }
    /// The same, if `task` is the last that began: false where the worker is past it.
    [[nodiscard]] bool stop_at(std::uint64_t task) noexcept {
        std::uint64_t before = begun.load(std::memory_order_acquire);
        while ((before & number) == task + 1)
            if (begun.compare_exchange_weak(before, before | stop_bit, std::memory_order_acq_rel)) return true;
        return false;
    }
    /// No lot begins from now on until the worker comes to the end of what was recalled. Returns the mark, which says
    /// which lots had begun.
    [[nodiscard]] std::uint64_t recall() noexcept {
        std::uint64_t before = begun.load(std::memory_order_acquire);
        while (!begun.compare_exchange_weak(before, (before & ~recalls) | after(before & recalls),
                                            std::memory_order_acq_rel)) {
        }
        return before;
    }
};

/// What the program and one worker share. Memory of zeros is a fresh one, but for `mark.begun`, which is `none`.
///
/// Why nobody sleeps beside work: who goes to sleep says so in a word of this (`worker_waits`, `listener`, `output_waits`),
/// and looks at the ring once more; who moves a ring on looks at that word after it. All four by seq_cst, so that one of
/// the two sees the other; and who is seen asleep finds a byte in its channel whenever it comes to read it.
struct Slot {
    enum Waits : std::uint32_t { for_nothing, for_requests, for_room };
    enum Listener : std::uint32_t { nobody, attendant, background };

    Mark mark;
    std::atomic<std::uint64_t> reading;  // the first task, plus one, of the lot that the worker read last, whole or not
    // What the worker sleeps for. The worker sets it, and whoever wakes it takes it back.
    alignas(64) std::atomic<std::uint32_t> worker_waits;
    std::atomic<std::uint32_t>
        may_spin;  // whether a processor is left for a worker that looks out for its next request
    // Who of the program sleeps until there are replies: the program sets it, the worker that wakes it takes it back.
    alignas(64) std::atomic<std::uint32_t> listener;
    std::atomic<std::uint32_t>
        output_waits;  // whether the program has requests that found no room; it sets both values
    Ring<128 * 1024> requests;
    Ring<128 * 1024> replies;
};

/// How long program and worker look out for each other, where a processor is free, before they sleep: about as long as it
/// takes to wake one.
inline constexpr std::chrono::microseconds spin_time{50};

/// From the program to a worker; `size` bytes follow.
struct Request {
    enum class Kind : std::uint32_t {
        callable = 0x706C6101,  ///< what the tasks from here on call: its CallableName
        tasks,                  ///< `count` tasks from number `task` on; each one's arguments behind their size
        resume,                 ///< the end of what was recalled
        leave,                  ///< end yourself
    };
    enum Flags : std::uint32_t {
        timed = 1,        ///< each task has a time limit
        told_singly = 2,  ///< the program is told of each result, not of all together
        told_later = 4,   ///< it need not be told yet: others are close behind
    };

    Kind kind = Kind::tasks;
    std::uint32_t flags = 0;
    std::uint64_t task = 0;
    std::uint64_t count = 0;
    std::uint64_t size = 0;
};

/// From a worker to the program, in one word; its bytes follow.
struct Reply {
    enum class Kind : std::uint8_t { ready = 0xA1, initializer_failed, value, exception };

    static constexpr unsigned size_bits = 40;
    static constexpr std::uint64_t largest = (std::uint64_t{1} << size_bits) - 1;

    Kind kind = Kind::ready;
    std::uint16_t task = 0;  ///< the end of its number: replies come in order
    std::uint64_t size = 0;

    [[nodiscard]] std::uint64_t packed() const noexcept {
        return size | std::uint64_t{task} << size_bits | static_cast<std::uint64_t>(kind) << 56;
    }
    static Reply unpack(std::uint64_t word) noexcept {
        return {static_cast<Kind>(word >> 56), static_cast<std::uint16_t>(word >> size_bits), word & largest};
    }
};

/// From the program to the maker.
struct Order {
    enum class Kind : std::uint32_t {
        make,  ///< a worker; its end of its channel, its memory and the bell come along
        kill,  ///< send `signal` to the worker and its process group, if it still is
    };
    Kind kind = Kind::make;
    std::int32_t signal = 0;
    std::uint64_t worker = 0;  ///< the worker's number in its pool: no two ever share one
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
