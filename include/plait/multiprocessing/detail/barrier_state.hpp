// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/detail/shared_wait.hpp>
#include <plait/os/mutex.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// A Barrier in shared memory.
///
/// Each step is one exchange of one word, so a process may die between any two of them; who died after it arrived has
/// arrived. But for the action: while it runs, its process owns a mutex, and when that turns out to be free, those who
/// wait break the round.
class BarrierState {
public:
    static constexpr std::ptrdiff_t max_parties = (std::ptrdiff_t{1} << 24) - 1;

    /// Behind it lie `action_size` bytes: the name of the action, or none.
    BarrierState(std::ptrdiff_t parties, Timeout timeout, std::size_t action_size)
        : parties_{checked(parties)}, timeout_{timeout.duration()}, action_size_{action_size} {}

    /// Waits until all have arrived; returns how many had before. The last calls `action()`, where there is one.
    template <class Action>
    std::size_t wait(Timeout timeout, Action action);
    void abort() noexcept;
    void reset() noexcept;

    [[nodiscard]] std::size_t parties() const noexcept { return parties_; }
    [[nodiscard]] Timeout timeout() const noexcept { return Timeout{timeout_}; }
    [[nodiscard]] std::size_t action_size() const noexcept { return action_size_; }
    [[nodiscard]] std::size_t n_waiting() const noexcept {
        const std::uint64_t word = word_.load(std::memory_order_relaxed);
        return is_whole(word) ? arrived(word) : 0;
    }
    [[nodiscard]] bool broken() const noexcept { return !is_whole(word_.load(std::memory_order_acquire)); }
    [[nodiscard]] std::size_t waiting() const noexcept { return sleepers_.count(); }

private:
    // What word_ holds, from below: how many have arrived in this round (`parties_`: all, and the action runs);
    // sleepers_bit: somebody may sleep; broken_bit: the round broke, and nobody can arrive until `reset`, which begins the
    // next; and the number of the round. Who arrived in a round waits until its number has changed, or it is broken.
    static constexpr std::uint64_t sleepers_bit = std::uint64_t{1} << 24;
    static constexpr std::uint64_t broken_bit = sleepers_bit << 1;
    static constexpr std::uint64_t one_round = sleepers_bit << 2;

    static constexpr std::size_t arrived(std::uint64_t word) noexcept {
        return static_cast<std::size_t>(word & (sleepers_bit - 1));
    }
    static constexpr std::uint64_t round(std::uint64_t word) noexcept { return word / one_round; }
    static constexpr std::uint64_t next_round(std::uint64_t word) noexcept { return (round(word) + 1) * one_round; }
    static constexpr bool is_whole(std::uint64_t word) noexcept { return (word & broken_bit) == 0; }
    static constexpr std::size_t checked(std::ptrdiff_t parties) {
        if (parties < 1 || parties > max_parties)
            throw std::invalid_argument("plait::multiprocessing::Barrier: the number of parties is 1 to max_parties");
        return static_cast<std::size_t>(parties);
    }
    [[nodiscard]] bool is_acting(std::uint64_t word) const noexcept {
        return is_whole(word) && arrived(word) == parties_;
    }

    /// Writes `to` where the word is `from`; else gives false, and the word in `from`.
    bool exchange(std::uint64_t& from, std::uint64_t to) noexcept {
        sync_point();
        // Acquire and release pair with themselves, and with the loads: who arrives last sees what all the others did, and
        // they see what it did.
        const bool exchanged =
            word_.compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_acquire);
        sync_point();
        return exchanged;
    }
    /// The same for what somebody may sleep until.
    bool exchange_and_wake(std::uint64_t& from, std::uint64_t to) noexcept {
        const bool somebody_sleeps = (from & sleepers_bit) != 0;
        if (!exchange(from, to & ~sleepers_bit)) return false;
        if (somebody_sleeps) {
            signal_.fetch_add(1, std::memory_order_release);  // pairs with the acquire in sleep_while
            wake(signal_);
        }
        return true;
    }
    template <class Condition>
    void sleep_while(Condition condition, Deadline deadline) noexcept;

    void wait_for_others(std::uint64_t in_round, Timeout timeout);
    template <class Action>
    void pass_with_action(std::uint64_t word, Action action);
    void look_after_action() noexcept;
    [[nodiscard]] bool did_break(std::uint64_t in_round) const noexcept;

    [[noreturn]] static void throw_broken() {
        throw BrokenBarrierError(
            "the barrier is broken: a wait took too long, the action threw or its process died, or somebody called "
            "abort or reset");
    }

    std::atomic<std::uint64_t> word_{0};
    // Changes when a round is decided: what sleepers sleep on, for the word is too long for that.
    std::atomic<std::uint32_t> signal_{0};
    Sleepers sleepers_;
    const std::size_t parties_;
    const std::chrono::nanoseconds timeout_;  // for a wait that is given none
    const std::size_t action_size_;
    os::Mutex acting_;  // whose owner alone takes a round to where the action runs
    // Which rounds broke and were followed by another, each in the place that its number gives: for waiters who have not
    // looked since. To be misled one would have to miss a hundred breaks and resets.
    std::array<std::atomic<std::uint64_t>, 128> broken_rounds_{};
};

template <class Action>
std::size_t BarrierState::wait(Timeout timeout, Action action) {
    const bool has_action = action_size_ != 0;
    if (has_action && acting_.owned())
        throw UsageError("a wait in the barrier's own action would wait for itself: wait after it");
    const Deadline deadline = has_action ? Deadline{timeout} : Deadline::never();
    std::uint64_t word = word_.load(std::memory_order_acquire);
    for (;;) {
        if (!is_whole(word)) throw_broken();
        const std::size_t index = arrived(word);
        if (index == parties_) {
            // It decides its round, and the next begins.
            sleep_while([=](std::uint64_t now) { return now == word || now == (word | sleepers_bit); },
                        Deadline::never());
            look_after_action();
            word = word_.load(std::memory_order_acquire);
        } else if (index + 1 < parties_) {
            if (!exchange(word, word + 1)) continue;
            wait_for_others(round(word), timeout);
            return index;
        } else if (!has_action) {
            if (exchange_and_wake(word, next_round(word))) return index;
        } else if (acting_.lock(next_look(deadline)) != os::MutexResult::timed_out) {
            if (exchange(word, word + 1)) {
                pass_with_action(word + 1, action);
                return index;
            }
            acting_.unlock();
        } else {  // the action of a round that was reset still runs
            if (deadline.has_passed() && exchange_and_wake(word, word | broken_bit)) throw_broken();
            word = word_.load(std::memory_order_acquire);
        }
    }
}

/// Sleeps once, while `condition(word)`.
template <class Condition>
void BarrierState::sleep_while(Condition condition, Deadline deadline) noexcept {
    const std::uint32_t seen = signal_.load(std::memory_order_acquire);
    std::uint64_t word = word_.load(std::memory_order_acquire);
    do
        if (!condition(word)) return;
    while ((word & sleepers_bit) == 0 && !exchange(word, word | sleepers_bit));
    // What is decided from here on changes the signal.
    sleepers_.sleep(signal_, seen, deadline);
}

inline void BarrierState::wait_for_others(std::uint64_t in_round, Timeout timeout) {
    const auto is_waiting = [=](std::uint64_t word) { return round(word) == in_round && is_whole(word); };
    const auto is_decided = [&] { return !is_waiting(word_.load(std::memory_order_acquire)); };
    const Deadline deadline{timeout};
    if (!spin_until<32>(is_decided) && !yield_until(is_decided))
        while (!is_decided()) {
            std::uint64_t word = word_.load(std::memory_order_acquire);
            if (is_acting(word)) {  // too late to give up: the action decides, or its end
                sleep_while(is_waiting, Deadline::never());
                look_after_action();
            } else if (deadline.has_passed()) {
                if (is_waiting(word) && exchange_and_wake(word, word | broken_bit)) throw_broken();
            } else {
                sleep_while(is_waiting, deadline);
            }
        }
    if (did_break(in_round)) throw_broken();
}

/// For the owner of acting_, which it gives up.
template <class Action>
void BarrierState::pass_with_action(std::uint64_t word, Action action) {
    const std::uint64_t in_round = round(word);
    const auto decide = [&](auto next) noexcept {
        bool decided = false;
        // Others may have set a bit, or put an end to the round, meanwhile.
        while (!decided && round(word) == in_round && is_whole(word)) decided = exchange_and_wake(word, next(word));
        acting_.unlock();
        return decided;
    };
    try {
        sync_point();
        action();
        sync_point();
    } catch (...) {
        decide([](std::uint64_t now) { return now | broken_bit; });
        throw;
    }
    if (!decide([](std::uint64_t now) { return next_round(now); })) throw_broken();
}

/// Breaks a round whose action runs in a process that is dead: nobody takes a round there without the mutex.
inline void BarrierState::look_after_action() noexcept {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    if (!is_acting(word) || acting_.try_lock() == os::MutexResult::timed_out) return;
    word = word_.load(std::memory_order_acquire);
    while (is_acting(word))
        if (exchange_and_wake(word, word | broken_bit)) break;
    acting_.unlock();
}

/// Of a round that is decided.
inline bool BarrierState::did_break(std::uint64_t in_round) const noexcept {
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    return round(word) == in_round ||
           broken_rounds_[in_round % broken_rounds_.size()].load(std::memory_order_acquire) == in_round + 1;
}

inline void BarrierState::abort() noexcept {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    while (is_whole(word))
        if (exchange_and_wake(word, word | broken_bit)) return;
}

inline void BarrierState::reset() noexcept {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    const std::uint64_t in_round = round(word);
    while (round(word) == in_round) {
        if (is_whole(word)) {
            if (arrived(word) == 0) return;
            if (exchange_and_wake(word, word | broken_bit)) word = word_.load(std::memory_order_acquire);
        } else {
            // Before the next round begins. That this one broke is settled, whoever begins it.
            broken_rounds_[in_round % broken_rounds_.size()].store(in_round + 1, std::memory_order_release);
            if (exchange_and_wake(word, next_round(word))) return;
        }
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
