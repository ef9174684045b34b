// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/detail/shared_wait.hpp>
#include <plait/os/futex.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What the parts of a queue that are proved by a model are made of.
struct ProcessEnvironment {
    template <class T>
    using Atomic = std::atomic<T>;
    /// What several processes touch, in turns.
    template <class T>
    class Plain {
    public:
        [[nodiscard]] T get() const noexcept { return value_; }
        void set(T value) noexcept { value_ = value; }

    private:
        T value_{};
    };

    static void step() noexcept { sync_point(); }
    static bool wait(const Atomic<std::uint32_t>& word, std::uint32_t expected, Deadline until) noexcept {
        return os::futex_wait(word, expected, until) != os::FutexResult::timed_out;
    }
    static std::size_t wake(const Atomic<std::uint32_t>& word, std::size_t count) noexcept {
        return os::futex_wake(word, count);
    }
};

/// Where processes sleep until something has changed, in memory that they share.
///
/// Who changes something says so afterwards, by `wake_one` or `wake_all`; that costs a look at a word as long as nobody
/// sleeps. It is a hint: who slept looks again, also every 100 ms, so that it loses no more than that when the one who is
/// woken, or the one who wakes, is killed.
///
/// That none is lost otherwise: who will sleep reads `event_`, then marks `sleeping_`, then looks. Who wakes has made
/// its change before, and then looks whether somebody sleeps. One of the two sees the other's mark: all four are seq_cst.
/// The mark is taken back before `event_` changes, and is set again if somebody was woken, for more may sleep: whoever
/// marked before that, and is not yet asleep, has read an event that is over.
template <class Environment = ProcessEnvironment>
class WaitPoint {
public:
    enum class Result { ready, woken, slice_over, timed_out };

    /// Sleeps unless `ready()`, for 100 ms at most: to be called again.
    template <class Until, class Ready>
    Result sleep(Until deadline, Ready ready) {
        const std::uint32_t event = event_.load();
        Environment::step();
        sleeping_.store(1);
        Environment::step();
        if (ready()) return Result::ready;
        waiting_.fetch_add(1, std::memory_order_relaxed);
        const bool woken = Environment::wait(event_, event, next_look(deadline));
        waiting_.fetch_sub(1, std::memory_order_relaxed);
        Environment::step();
        if (ready()) return Result::ready;
        if (deadline.has_passed()) return Result::timed_out;
        return woken ? Result::woken : Result::slice_over;
    }

    void wake_one() noexcept { wake(1); }
    void wake_all() noexcept { wake(SIZE_MAX); }

    /// How many sleep; one that was killed there stays counted.
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

private:
    void wake(std::size_t count) noexcept {
        if (sleeping_.load() == 0) return;
        Environment::step();
        sleeping_.store(0);
        Environment::step();
        event_.fetch_add(1);
        Environment::step();
        if (Environment::wake(event_, count) != 0 && count == 1) sleeping_.store(1);
    }

    template <class T>
    using Atomic = typename Environment::template Atomic<T>;

    Atomic<std::uint32_t> event_{0};     // changed by each wake; its value means nothing
    Atomic<std::uint32_t> sleeping_{0};  // 1 where somebody may sleep; set by who will, taken back by who wakes
    Atomic<std::uint32_t> waiting_{0};   // for those who ask
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
