// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/lock.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::threading {

/// Where a number of threads wait for each other: the last to arrive lets all of them go, and the next round begins.
///
/// Python: threading.Barrier. To wait for something that happens once use Event.
///
///     Barrier step(3, [&] { swap(now, next); });
///     void work(Part part) {
///         for (int i = 0; i < steps; ++i) {
///             compute(part);
///             step.wait();
///         }
///     }
///
/// A round either passes or breaks, for all who wait in it: by a time that is over, a requested stop, an action that
/// throws, `abort` or `reset`. A broken barrier lets nobody wait until `reset`.
/// Order: what each thread did before `wait` is visible to the action, and that to all of them after `wait`.
/// Threads: every member from any thread. Who comes while a round is full, or still being broken, waits for the next.
/// Lifetime: it may be destroyed when every `wait` has returned.
class Barrier {
public:
    /// The most parties that there can be.
    static constexpr std::ptrdiff_t max_parties = (std::ptrdiff_t{1} << 24) - 1;

    /// For `parties` threads; `timeout` is for every `wait` that is given none. Throws: std::invalid_argument for fewer
    /// than one thread or more than `max_parties`.
    constexpr explicit Barrier(std::ptrdiff_t parties, Timeout timeout = Timeout::never())
        : parties_{checked(parties)}, timeout_{timeout} {}
    /// Calls `action()` in each round, in the thread that arrives last, before any is let go. It must not wait here.
    template <class Action>
        requires std::is_invocable_r_v<void, std::decay_t<Action>&>
    Barrier(std::ptrdiff_t parties, Action&& action, Timeout timeout = Timeout::never())
        : parties_{checked(parties)}, timeout_{timeout}, action_{new Call{std::forward<Action>(action)}} {}
    Barrier(const Barrier&) = delete;
    Barrier& operator=(const Barrier&) = delete;

    /// Waits until all have arrived. Returns how many arrived before this thread: each of them a number of its own.
    ///
    /// Throws: BrokenBarrierError where the round breaks, is broken already, or breaks because the time is over; what
    /// the action threw, in the thread that called it; UsageError in the action. A timeout counts from the arrival in a
    /// round; while the action runs it is too late for it, and for a stop.
    std::size_t wait() { return wait_for(timeout_, nullptr); }
    std::size_t wait(Timeout timeout) { return wait_for(timeout, nullptr); }
    /// A requested stop breaks the round too.
    std::size_t wait(const StopToken& stop) { return wait_for(timeout_, &stop); }
    std::size_t wait(Timeout timeout, const StopToken& stop) { return wait_for(timeout, &stop); }

    /// Breaks the barrier, until `reset`: who waits and who comes gets BrokenBarrierError.
    void abort();
    /// Makes it whole again; who waits gets BrokenBarrierError. Does not wait for them, nor for a running action.
    void reset();

    std::size_t parties() const noexcept { return parties_; }
    /// How many threads wait in this round; none while it is broken.
    std::size_t n_waiting() const noexcept {
        const std::uint64_t word = word_.load(std::memory_order_relaxed);
        return is_whole(word) ? arrived(word) : 0;
    }
    /// Whether it lets nobody wait.
    bool broken() const noexcept { return (word_.load(std::memory_order_acquire) & broken_bit) != 0; }
    /// How many threads sleep here, in this round or until the next; for tests and diagnosis.
    std::size_t waiting() const { return detail::parking::waiting(this); }

private:
    using Call = detail::MoveOnlyFunction<void()>;

    // What word_ holds, from below: how many threads have arrived and not left (`parties_` while the action runs; in a
    // round that broke, those who have yet to see that); sleepers_bit: somebody may sleep under this; broken_bit, or
    // resetting_bit: the round broke, and once the last has left it a whole one begins; and the number of the round. A
    // thread that arrived in a round passes it when the number changes: a broken round keeps it until all have left.
    static constexpr std::uint64_t sleepers_bit = std::uint64_t{1} << 24;
    static constexpr std::uint64_t broken_bit = sleepers_bit << 1;
    static constexpr std::uint64_t resetting_bit = sleepers_bit << 2;
    static constexpr std::uint64_t one_round = sleepers_bit << 3;

    static constexpr std::size_t arrived(std::uint64_t word) noexcept {
        return static_cast<std::size_t>(word & (sleepers_bit - 1));
    }
    static constexpr std::uint64_t round(std::uint64_t word) noexcept { return word / one_round; }
    static constexpr std::uint64_t next_round(std::uint64_t word) noexcept { return (round(word) + 1) * one_round; }
    static constexpr bool is_whole(std::uint64_t word) noexcept { return (word & (broken_bit | resetting_bit)) == 0; }
    static constexpr std::size_t checked(std::ptrdiff_t parties) {
        if (parties < 1 || parties > max_parties)
            throw std::invalid_argument("plait::threading::Barrier: the number of parties is 1 to max_parties");
        return static_cast<std::size_t>(parties);
    }

    /// Whether nobody can arrive now: the action runs, or threads have yet to leave a round that was reset.
    [[nodiscard]] bool is_closed(std::uint64_t word) const noexcept {
        return (word & resetting_bit) != 0 || (is_whole(word) && arrived(word) == parties_);
    }
    [[nodiscard]] static bool is_undecided(std::uint64_t word, std::uint64_t in_round) noexcept {
        return round(word) == in_round && is_whole(word);
    }

    bool exchange(std::uint64_t& from, std::uint64_t to) noexcept;
    bool exchange_and_wake(std::uint64_t& from, std::uint64_t to, detail::parking::Result told);
    template <class Condition>
    detail::parking::Result sleep_while(Condition condition, detail::Deadline deadline, const StopToken* stop);

    std::size_t wait_for(Timeout timeout, const StopToken* stop);
    void wait_until_open(std::uint64_t word);
    void wait_for_others(std::uint64_t in_round, Timeout timeout, const StopToken* stop);
    void pass_with_action(std::uint64_t word);
    bool break_round(std::uint64_t in_round);
    void leave_broken_round();

    [[noreturn]] static void throw_broken() {
        throw BrokenBarrierError(
            "the barrier is broken: a wait took too long or was stopped, the action threw, or "
            "somebody called abort or reset");
    }

    std::atomic<std::uint64_t> word_{0};
    const std::size_t parties_;
    const Timeout timeout_;
    const std::unique_ptr<Call> action_;
    std::atomic<std::uintptr_t> acting_{0};  // the key of the thread that runs the action; written by it alone
};

/// Writes `to` where the word is `from`; else gives false, and the word in `from`.
inline bool Barrier::exchange(std::uint64_t& from, std::uint64_t to) noexcept {
    detail::sync_point();
    // Acquire and release pair with themselves, and with the loads in wait_for_others: who arrives last sees what all
    // the others did, and they see what it did.
    return word_.compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_acquire);
}

/// The same for what somebody may sleep until; `told` is what sleepers are told. When that lets go who waits, this object
/// may be gone: nothing here touches it after that.
inline bool Barrier::exchange_and_wake(std::uint64_t& from, std::uint64_t to, detail::parking::Result told) {
    if ((from & sleepers_bit) == 0) return exchange(from, to);
    bool exchanged = false;
    detail::parking::wake(this, SIZE_MAX, [&](std::size_t) {
        exchanged = exchange(from, to & ~sleepers_bit);
        return exchanged ? told : detail::parking::Result::unwanted;
    });
    return exchanged;
}

/// Sleeps once, while `condition(word)`; the result is `unwanted` where that did not hold any more.
template <class Condition>
detail::parking::Result Barrier::sleep_while(Condition condition, detail::Deadline deadline, const StopToken* stop) {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    while ((word & sleepers_bit) == 0) {
        if (!condition(word)) return detail::parking::Result::unwanted;
        if (exchange(word, word | sleepers_bit)) break;
    }
    const auto still = [&] {
        const std::uint64_t now = word_.load(std::memory_order_acquire);
        return condition(now) && (now & sleepers_bit) != 0;
    };
    detail::sync_point();
    return stop != nullptr ? detail::parking::sleep(this, deadline, *stop, still)
                           : detail::parking::sleep(this, deadline, still);
}

inline std::size_t Barrier::wait_for(Timeout timeout, const StopToken* stop) {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    for (;;) {
        if ((word & broken_bit) != 0) throw_broken();
        const std::size_t index = arrived(word);
        if (is_closed(word)) {
            wait_until_open(word);
            word = word_.load(std::memory_order_acquire);
        } else if (index + 1 < parties_) {
            if (!exchange(word, word + 1)) continue;
            wait_for_others(round(word), timeout, stop);
            return index;
        } else if (action_ != nullptr) {
            if (!exchange(word, word + 1)) continue;
            pass_with_action(word + 1);
            return index;
        } else if (exchange_and_wake(word, next_round(word), detail::parking::Result::handed_over)) {
            return index;
        }
    }
}

inline void Barrier::wait_until_open(std::uint64_t word) {
    if (acting_.load(std::memory_order_relaxed) == detail::thread_key())
        throw UsageError("a wait in the barrier's own action would wait for itself: wait after it");
    const std::uint64_t closed_round = round(word);
    const auto is_still_closed = [&](std::uint64_t now) { return round(now) == closed_round && is_closed(now); };
    static_cast<void>(sleep_while(is_still_closed, detail::Deadline::never(), nullptr));
}

inline void Barrier::wait_for_others(std::uint64_t in_round, Timeout timeout, const StopToken* stop) {
    using detail::parking::Result;
    const auto is_waiting = [=](std::uint64_t word) { return is_undecided(word, in_round); };
    detail::Deadline deadline = detail::Deadline::never();
    if (!timeout.is_never()) deadline = detail::Deadline{timeout};

    // First by looking: those who are missing are about to come, or ready to run in this thread's place.
    const auto is_decided = [&] { return !is_waiting(word_.load(std::memory_order_acquire)); };
    if (!detail::spin_until<32>(is_decided) && !detail::yield_until(is_decided))
        for (;;) {
            const Result result = sleep_while(is_waiting, deadline, stop);
            if (result == Result::handed_over) return;  // the barrier may be gone by now
            if (!is_waiting(word_.load(std::memory_order_acquire))) break;
            const bool stopped = stop != nullptr && stop->stop_requested();
            if (result != Result::timed_out && !stopped) continue;
            if (break_round(in_round)) throw_broken();
            // It passes or breaks now without this thread: the action decides.
            deadline = detail::Deadline::never();
            stop = nullptr;
        }

    if (round(word_.load(std::memory_order_acquire)) != in_round) return;
    leave_broken_round();
    throw_broken();
}

inline void Barrier::pass_with_action(std::uint64_t word) {
    acting_.store(detail::thread_key(), std::memory_order_relaxed);
    try {
        (*action_)();
    } catch (...) {
        acting_.store(0, std::memory_order_relaxed);
        word = word_.load(std::memory_order_acquire);
        while (is_whole(word))
            if (exchange_and_wake(word, (word - 1) | broken_bit, detail::parking::Result::woken)) throw;
        leave_broken_round();
        throw;
    }
    acting_.store(0, std::memory_order_relaxed);
    // Others may have set a bit, or put an end to the round, meanwhile.
    while (is_whole(word))
        if (exchange_and_wake(word, next_round(word), detail::parking::Result::handed_over)) return;
    leave_broken_round();
    throw_broken();
}

/// Breaks the round that this thread waits in, and leaves it; false where it is decided, or the action runs.
inline bool Barrier::break_round(std::uint64_t in_round) {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    while (is_undecided(word, in_round) && arrived(word) != parties_)
        if (exchange_and_wake(word, (word - 1) | broken_bit, detail::parking::Result::woken)) return true;
    return false;
}

inline void Barrier::leave_broken_round() {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    for (;;) {
        if (arrived(word) == 1 && (word & resetting_bit) != 0) {
            if (exchange_and_wake(word, next_round(word), detail::parking::Result::woken)) return;
        } else if (exchange(word, word - 1)) {
            return;
        }
    }
}

inline void Barrier::abort() {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    while ((word & broken_bit) == 0)
        if (exchange_and_wake(word, (word & ~resetting_bit) | broken_bit, detail::parking::Result::woken)) return;
}

inline void Barrier::reset() {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    for (;;) {
        if ((word & resetting_bit) != 0 || (is_whole(word) && arrived(word) == 0)) return;
        const std::uint64_t next = arrived(word) == 0 ? next_round(word) : (word & ~broken_bit) | resetting_bit;
        if (exchange_and_wake(word, next, detail::parking::Result::woken)) return;
    }
}

}  // namespace plait::inline PLAIT_ABI::threading
