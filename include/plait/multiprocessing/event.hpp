// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/shared_handle.hpp>
#include <plait/multiprocessing/detail/shared_wait.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

/// An Event in shared memory. Each step is one exchange of one word, so a process may die between any two of them.
class EventState {
public:
    void set() noexcept;
    void clear() noexcept {
        sync_point();
        word_.fetch_and(~set_bit, std::memory_order_relaxed);
        sync_point();
    }
    [[nodiscard]] bool is_set() const noexcept { return (word_.load(std::memory_order_acquire) & set_bit) != 0; }
    bool wait(Deadline deadline) noexcept;
    [[nodiscard]] std::size_t waiting() const noexcept { return sleepers_.count(); }

private:
    // What word_ holds: set_bit or sleepers_bit or neither, never both, for who sets the one has seen, or removes, the
    // other; and above them how often the event was set, by which a wait knows of a set that was cleared at once.
    static constexpr std::uint32_t set_bit = 1;
    static constexpr std::uint32_t sleepers_bit = 2;  // somebody may sleep; only `set` takes it away, and then wakes
    static constexpr std::uint32_t one_set = 4;

    std::atomic<std::uint32_t> word_{0};
    Sleepers sleepers_;
};

}  // namespace detail

/// A flag that threads of several processes wait for: `set` releases all who wait and lets later ones pass, until
/// `clear`.
///
/// Python: multiprocessing.Event. To hand over a value use a Queue or a Pipe; within one process, threading::Event.
///
///     void serve(mp::Event ready) { ready.wait(); … }
///
///     mp::Event ready;
///     mp::Process server(serve, ready);
///     server.start();
///     prepare();
///     ready.set();
///
/// A handle, as Lock is: copies name the same event, also in other processes.
/// Deaths: a waiter that dies is in nobody's way; who dies in `set` has set it or has not.
/// Throws: std::system_error from the constructor.
/// Order: what happened before `set` is visible after the `wait` that it released.
/// Threads: every member from any thread of any process. Not from a signal handler.
class Event {
public:
    Event() : state_{detail::Shared<State>::create()} {}
    // No moves: a handle always names an event.
    Event(const Event&) = default;
    Event& operator=(const Event&) = default;
    explicit operator bool() const = delete;  // `if (event)` would not say whether it means is_set() or wait()

    /// Releases all who wait, also those that a `clear` right after would otherwise catch again.
    void set() const noexcept { state_->set(); }
    void clear() const noexcept { state_->clear(); }
    bool is_set() const noexcept { return state_->is_set(); }

    void wait() const { static_cast<void>(state_->wait(detail::Deadline::never())); }
    /// Waits for `timeout` at most; zero or less only looks. Returns whether the event was set.
    [[nodiscard]] bool wait(Timeout timeout) const {
        return is_set() || (!timeout.is_zero() && state_->wait(detail::Deadline{timeout}));
    }

    /// How many wait until it is set: a hint, for those killed meanwhile stay counted.
    std::size_t waiting() const noexcept { return state_->waiting(); }
    /// Whether they are the same event.
    friend bool operator==(const Event& a, const Event& b) noexcept { return a.state_ == b.state_; }

private:
    friend struct detail::SharedHandleCodec<Event>;
    using State = detail::EventState;

    explicit Event(detail::Shared<State> state) noexcept : state_{std::move(state)} {}

    detail::Shared<State> state_;
};

template <>
struct Codec<Event> : detail::SharedHandleCodec<Event> {};

namespace detail {

inline void EventState::set() noexcept {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    std::uint32_t next = 0;
    do {
        next = (word & ~(set_bit | sleepers_bit)) + one_set + set_bit;
        sync_point();
        // Release pairs with the acquire of is_set and wait.
    } while (!word_.compare_exchange_weak(word, next, std::memory_order_release, std::memory_order_relaxed));
    if ((word & sleepers_bit) != 0) wake(word_);
}

inline bool EventState::wait(Deadline deadline) noexcept {
    std::uint32_t word = word_.load(std::memory_order_acquire);
    if ((word & set_bit) != 0) return true;
    const std::uint32_t sets_before = word / one_set;
    // A clear is a read-modify-write: it carries on the release of the set before it.
    const auto was_set = [&] { return (word = word_.load(std::memory_order_acquire)) / one_set != sets_before; };
    if (spin_until(was_set)) return true;
    while (!was_set()) {
        if (deadline.has_passed()) return false;
        sync_point();
        if ((word & sleepers_bit) == 0 &&
            !word_.compare_exchange_weak(word, word | sleepers_bit, std::memory_order_relaxed))
            continue;
        sync_point();
        sleepers_.sleep(word_, word | sleepers_bit, deadline);
    }
    return true;
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing
