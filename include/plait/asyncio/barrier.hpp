// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <coroutine>
#include <cstddef>
#include <optional>
#include <stdexcept>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::BrokenBarrierError;

namespace detail {

class BarrierAwaiter;

}  // namespace detail

/// Where a number of tasks wait for each other: the last to arrive lets all of them go, and the next round begins.
///
///     Barrier step(3);
///     Coroutine<void> work(Part part) {
///         for (int i = 0; i < steps; ++i) {
///             co_await compute(part);
///             const std::size_t index = co_await step.wait();
///             if (index == 0) publish();    // one of them does this
///         }
///     }
///
/// Python: asyncio.Barrier. A round passes for all of its tasks when the last arrives, and nothing that comes before
/// their turns changes that; or it breaks for all, by `abort` or `reset`. Who comes later waits for the next one. To wait
/// for something that happens once use Event; for the end of tasks, `gather` or a task group.
/// Threads: from its loop's only; across threads use threading::Barrier.
/// Lifetime: may be destroyed when its last round has passed or broken; whoever still waits gets UsageError. May be made
/// before there is a loop, and used on another once nobody waits.
class Barrier {
public:
    /// Throws: std::invalid_argument for fewer than one task.
    explicit Barrier(std::ptrdiff_t parties) : parties_{checked(parties)} {}
    Barrier(const Barrier&) = delete;
    Barrier& operator=(const Barrier&) = delete;

    /// Waits until all have arrived. Returns how many of the round arrived before: each of them a number of its own. The
    /// last does not wait.
    ///
    /// Cancel: has not arrived; one more is needed. Once the round is full, the others pass all the same.
    /// Throws: BrokenBarrierError where the round breaks, or is broken already; UsageError where tasks of another loop
    /// wait.
    detail::Wait<detail::BarrierAwaiter, Barrier> wait() noexcept {
        return detail::Wait<detail::BarrierAwaiter, Barrier>{*this};
    }

    /// Breaks the barrier, until `reset`: who waits and who comes gets BrokenBarrierError.
    void abort() noexcept {
        broken_ = true;
        break_round();
    }
    /// Makes it whole again; who waits gets BrokenBarrierError.
    void reset() noexcept {
        broken_ = false;
        break_round();
    }

    std::size_t parties() const noexcept { return parties_; }
    /// How many tasks wait in this round.
    std::size_t n_waiting() const noexcept { return waiters_.waiting(); }
    std::size_t waiting() const noexcept { return waiters_.waiting(); }
    /// Whether it lets nobody wait.
    bool broken() const noexcept { return broken_; }

private:
    friend class detail::BarrierAwaiter;
    static std::size_t checked(std::ptrdiff_t parties) {
        if (parties < 1) throw std::invalid_argument("plait::asyncio::Barrier: the number of parties is 1 or more");
        return static_cast<std::size_t>(parties);
    }
    inline bool arrive();
    inline void pass_round() noexcept;
    inline void break_round() noexcept;
    [[noreturn]] static void throw_broken() {
        throw BrokenBarrierError("the barrier is broken: somebody called abort or reset");
    }

    std::size_t parties_;
    bool broken_ = false;
    detail::WaitList waiters_;
};

namespace detail {

class BarrierPlace final : public ListedWaiter {
public:
    BarrierPlace() noexcept {}

    std::size_t index = 0;
    bool broke = false;
};

class BarrierAwaiter : public AwaiterBase {
public:
    explicit BarrierAwaiter(Barrier& barrier) noexcept : barrier_{barrier} {}

    [[nodiscard]] bool await_ready() const { return barrier_.arrive(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        place_.emplace().wait_in(barrier_.waiters_, handle);
    }
    std::size_t await_resume() const {
        if (!place_) return barrier_.parties() - 1;  // the last, which did not wait
        place_->check_let_go();
        if (place_->broke) Barrier::throw_broken();
        return place_->index;
    }

private:
    Barrier& barrier_;
    std::optional<BarrierPlace> place_;
};

}  // namespace detail

/// True for the last, which does not wait.
inline bool Barrier::arrive() {
    if (broken_) throw_broken();
    waiters_.check_loop();
    if (n_waiting() + 1 < parties_) return false;
    pass_round();
    return true;
}

inline void Barrier::pass_round() noexcept {
    std::size_t index = 0;
    while (auto* const place = static_cast<detail::BarrierPlace*>(waiters_.wake_first())) place->index = index++;
}

inline void Barrier::break_round() noexcept {
    while (auto* const place = static_cast<detail::BarrierPlace*>(waiters_.wake_first())) place->broke = true;
}

}  // namespace plait::inline PLAIT_ABI::asyncio
