// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {
using namespace plait::detail;
}

/// A flag that threads wait for: `set` releases all who wait and lets later ones pass, until `clear`.
///
/// Python: threading.Event. To hand over a value use a Future; to let one thread at a time pass, a Lock.
///
///     Event ready;
///     Thread server([&] { ready.wait(); serve(configuration); });
///     server.start();
///     configuration = load();
///     ready.set();
///
/// Order: what happened before `set` is visible after the `wait` that it released.
/// Threads: every member from any thread at any time. Not from a signal handler.
/// Lifetime: a thread that `wait` released may destroy the event at once, while `set` is still returning.
class Event {
public:
    constexpr Event() noexcept = default;
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    explicit operator bool() const = delete;  // `if (event)` would not say whether it means is_set() or wait()

    /// Releases every waiting thread, also those that a `clear` right after would otherwise catch again.
    void set();
    void clear() noexcept {
        detail::sync_point();
        word_.fetch_and(~set_bit, std::memory_order_relaxed);
    }
    bool is_set() const noexcept { return (word_.load(std::memory_order_acquire) & set_bit) != 0; }

    void wait() {
        if (!is_set()) static_cast<void>(wait_until(detail::Deadline::never(), nullptr));
    }
    /// Waits for `timeout` at most; zero or less only looks. Returns whether the event was set.
    [[nodiscard]] bool wait(Timeout timeout) {
        // Looking costs one load: no clock is read when the event is set, or when only a look was asked for.
        return is_set() || (!timeout.is_zero() && wait_until(detail::Deadline{timeout}, nullptr));
    }
    /// Waits until the event is set or a stop requested. Returns whether the event was set.
    [[nodiscard]] bool wait(const StopToken& stop) { return wait(Timeout::never(), stop); }
    [[nodiscard]] bool wait(Timeout timeout, const StopToken& stop) {
        return is_set() || (!timeout.is_zero() && wait_until(detail::Deadline{timeout}, &stop));
    }

    /// How many threads sleep until it is set; for tests and diagnosis.
    std::size_t waiting() const { return detail::parking::waiting(this); }

private:
    bool wait_until(detail::Deadline deadline, const StopToken* stop);

    // What word_ holds: set_bit or sleepers_bit or neither, never both, for who sets the one has seen, or removes, the
    // other; and above them how often the event was set, by which a wait knows of a set that was cleared at once.
    static constexpr std::uint32_t set_bit = 1;
    static constexpr std::uint32_t sleepers_bit = 2;  // somebody may sleep under this; only `set` takes it away
    static constexpr std::uint32_t one_set = 4;
    static constexpr std::uint32_t sets(std::uint32_t word) noexcept { return word / one_set; }

    std::atomic<std::uint32_t> word_{0};
};

inline void Event::set() {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    const auto try_to_set = [&] {
        detail::sync_point();
        // Release pairs with the acquire of is_set and wait_until.
        return word_.compare_exchange_weak(word, (word & ~(set_bit | sleepers_bit)) + one_set + set_bit,
                                           std::memory_order_release, std::memory_order_relaxed);
    };
    while ((word & sleepers_bit) == 0)
        if (try_to_set()) return;
    // Once the word says that it is set this object may be gone, and another event stand in its place: so it says that
    // only while nobody can begin to sleep there, who would be woken by this set.
    detail::parking::wake_all(this, [&] {
        while (!try_to_set()) {
        }
    });
}

inline bool Event::wait_until(detail::Deadline deadline, const StopToken* stop) {
    std::uint32_t word = word_.load(std::memory_order_acquire);
    if ((word & set_bit) != 0) return true;
    const std::uint32_t sets_before = sets(word);
    // A clear is a read-modify-write: it carries on the release of the set before it.
    const auto was_set = [&] { return sets(word_.load(std::memory_order_acquire)) != sets_before; };
    if (detail::spin_until(was_set)) return true;

    word = word_.load(std::memory_order_acquire);
    while ((word & sleepers_bit) == 0) {
        if (sets(word) != sets_before) return true;
        detail::sync_point();
        if (word_.compare_exchange_weak(word, word | sleepers_bit, std::memory_order_acquire)) break;
    }
    // From here to the next set sleepers_bit stays, and the set changes the count.
    const auto not_yet = [&] { return !was_set(); };
    const auto result = stop != nullptr ? detail::parking::sleep(this, deadline, *stop, not_yet)
                                        : detail::parking::sleep(this, deadline, not_yet);
    // Who was woken does not look at the event again: it may have been destroyed by another that was.
    return result == detail::parking::Result::woken || was_set();
}

}  // namespace plait::inline PLAIT_ABI::threading
