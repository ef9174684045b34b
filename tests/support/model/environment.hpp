// SPDX-License-Identifier: MIT
#pragma once

#include "support/model/execution.hpp"

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

namespace model {

/// Fails the execution, unless `condition`.
inline void expect(bool condition, const char* text) {
    if (!condition) Execution::current()->fail(text);
}

/// In place of std::atomic.
template <class T>
class Atomic {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));
    using Where = std::source_location;
    using Order = std::memory_order;

public:
    constexpr Atomic() : Atomic{T{}} {}
    constexpr Atomic(T value)
        : location_{Execution::current()->add_location(bits(value))} {}  // as std::atomic: not explicit
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    T load(Order order = Order::seq_cst, Where where = Where::current()) const {
        return value(execution().load(operation(Operation::load, order), {where, "load"}));
    }
    void store(T desired, Order order = Order::seq_cst, Where where = Where::current()) {
        execution().store(operation(Operation::store, order), bits(desired), {where, "store"});
    }
    T exchange(T desired, Order order = Order::seq_cst, Where where = Where::current()) {
        const auto change = [&](std::uint64_t) { return bits(desired); };
        return value(execution().exchange(operation(Operation::exchange, order), change, {where, "exchange"}));
    }
    T fetch_add(T by, Order order = Order::seq_cst, Where where = Where::current()) {
        const auto change = [&](std::uint64_t old) { return bits(static_cast<T>(value(old) + by)); };
        return value(execution().exchange(operation(Operation::exchange, order), change, {where, "fetch_add"}));
    }
    T fetch_sub(T by, Order order = Order::seq_cst, Where where = Where::current()) {
        const auto change = [&](std::uint64_t old) { return bits(static_cast<T>(value(old) - by)); };
        return value(execution().exchange(operation(Operation::exchange, order), change, {where, "fetch_sub"}));
    }
    bool compare_exchange_strong(T& expected, T desired, Order success, Order failure, Where where = Where::current()) {
        Operation what = operation(Operation::compare_exchange, success);
        what.failure = failure;
        std::uint64_t old = bits(expected);
        const bool done = execution().compare_exchange(what, old, bits(desired), {where, "compare_exchange"});
        if (!done) expected = value(old);
        return done;
    }
    bool compare_exchange_weak(T& expected, T desired, Order success, Order failure, Where where = Where::current()) {
        return compare_exchange_strong(expected, desired, success, failure, where);
    }
    /// Until it is not 0; takes that away.
    void wait_and_clear(Where where = Where::current()) {
        execution().wait(operation(Operation::wait, Order::acquire), {where, "wait"});
    }

private:
    static Execution& execution() noexcept { return *Execution::current(); }
    [[nodiscard]] Operation operation(Operation::Kind kind, Order order) const noexcept {
        Operation what;
        what.kind = kind;
        what.location = location_;
        what.order = order;
        return what;
    }
    static std::uint64_t bits(T value) noexcept {
        std::uint64_t result = 0;
        std::memcpy(&result, &value, sizeof(T));
        return result;
    }
    static T value(std::uint64_t bits) noexcept {
        T result;
        std::memcpy(&result, &bits, sizeof(T));
        return result;
    }

    std::uint8_t location_;
};

/// Data that is no atomic: who touches it must know of the last write, who writes it of all reads too.
template <class T>
class Plain {
public:
    Plain() = default;
    explicit Plain(T value) : value_{value} { written_ = Execution::current()->now(); }

    T get() const {
        Execution& execution = *Execution::current();
        const Moment now = execution.now();
        expect(written_.before_or_own(execution.view(), now), "a race: a read beside a write");
        reads_[now.thread] = now.time;
        return value_;
    }
    void set(T value) {
        Execution& execution = *Execution::current();
        const Moment now = execution.now();
        expect(written_.before_or_own(execution.view(), now), "a race: two writes");
        for (std::size_t i = 0; i < max_threads; ++i) {
            const Moment read{static_cast<std::uint8_t>(i), reads_[i]};
            expect(read.before_or_own(execution.view(), now), "a race: a write beside a read");
        }
        written_ = now;
        value_ = value;
    }

private:
    T value_{};
    Moment written_;
    mutable Clock reads_{};
};

/// A mutex: one word, taken in turns.
class Mutex {
public:
    void lock() { free_.wait_and_clear(); }
    void unlock() { free_.store(1, std::memory_order_release); }

private:
    Atomic<int> free_{1};
};

/// For what is templated over its atomics.
struct Environment {
    template <class T>
    using Atomic = model::Atomic<T>;

    /// Of a SegmentChain: so that two items of four bytes fill a segment.
    static constexpr std::size_t segment_bytes = 2 * sizeof(void*) + 2 * sizeof(int);
};

}  // namespace model
