// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/frame.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/ready_queue.hpp>
#include <plait/core/config.hpp>
#include <plait/core/timer_wheel.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// A callback of a loop: scheduled, then run or cancelled. Owned by its handles, and by the loop while it is scheduled.
class CallbackBase : public ReadyNode, public TimerNode, public FrameAllocated {
public:
    void add_owner() noexcept { ++owners_; }
    void drop_owner() noexcept {
        if (--owners_ == 0) delete this;
    }

    bool cancelled() const noexcept { return stage_ == Stage::cancelled; }
    void cancel() noexcept {
        if (stage_ != Stage::scheduled) return;
        stage_ = Stage::cancelled;
        destroy_callable();
        // Its place in the queue of a pass it keeps until that pass; a pending timer leaves at once.
        if (is_timed()) {
            loop_->timers.remove(*this);
            drop_owner();
        }
    }

    void on_turn() noexcept final {
        if (stage_ == Stage::scheduled) {
            stage_ = Stage::ran;
            try {
                call();
            } catch (...) {
                loop_->report("an exception left a callback");
            }
            destroy_callable();
        }
        drop_owner();
    }
    void on_time() noexcept final { loop_->ready.push(*this); }
    void on_drop() noexcept final {
        if (stage_ == Stage::scheduled) {
            stage_ = Stage::cancelled;
            destroy_callable();
        }
        drop_owner();
    }

protected:
    explicit CallbackBase(LoopCore& loop) noexcept : loop_{&loop} {}
    virtual ~CallbackBase() = default;
    virtual void call() = 0;
    virtual void destroy_callable() noexcept = 0;

private:
    enum class Stage : std::uint8_t { scheduled, ran, cancelled };

    LoopCore* loop_;
    std::uint32_t owners_ = 1;  // the loop
    Stage stage_ = Stage::scheduled;
};

template <class F>
class Callback final : public CallbackBase {
public:
    template <class Callable>
    Callback(LoopCore& loop, Callable&& callable) : CallbackBase{loop}, callable_(std::forward<Callable>(callable)) {}

private:
    // The callable dies when it has run or is cancelled, however long a handle keeps this.
    ~Callback() override {}
    void call() override { callable_(); }
    void destroy_callable() noexcept override { callable_.~F(); }

    union {
        F callable_;
    };
};

/// `f(args...)` to be called later, as Python's call_soon takes it.
template <class F, class... Args>
auto bind_call(F&& f, Args&&... args) {
    if constexpr (sizeof...(Args) == 0)
        return std::decay_t<F>(std::forward<F>(f));
    else
        return [f = std::decay_t<F>(std::forward<F>(f)),
                args = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable {
            std::apply(f, std::move(args));
        };
}

/// The same, to be called any number of times.
template <class F, class... Args>
auto bind_repeated_call(F&& f, Args&&... args) {
    if constexpr (sizeof...(Args) == 0)
        return std::decay_t<F>(std::forward<F>(f));
    else
        return
            [f = std::decay_t<F>(std::forward<F>(f)),
             args = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable { std::apply(f, args); };
}

}  // namespace detail

/// A callback that `call_soon`, `call_later` or `call_at` scheduled. Losing the handle cancels nothing.
///
/// Python: asyncio.Handle and asyncio.TimerHandle. Copies name the same callback.
/// Threads: from the loop's only. Lifetime: may outlive the loop.
class Handle {
public:
    Handle(const Handle& other) noexcept : callback_{other.callback_} { callback_->add_owner(); }
    Handle& operator=(const Handle& other) noexcept {
        other.callback_->add_owner();
        std::exchange(callback_, other.callback_)->drop_owner();
        return *this;
    }
    ~Handle() { callback_->drop_owner(); }

    /// Sees to it that the callback never runs, and destroys it; nothing where it has run or was cancelled.
    void cancel() noexcept { callback_->cancel(); }
    bool cancelled() const noexcept { return callback_->cancelled(); }
    /// The time on the loop's clock that it was scheduled for; of `call_soon`'s, the clock's zero.
    std::chrono::steady_clock::time_point when() const noexcept {
        using Clock = std::chrono::steady_clock;
        return Clock::time_point{
            std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds{callback_->deadline()})};
    }

private:
    friend class EventLoop;
    explicit Handle(detail::CallbackBase& callback) noexcept : callback_{&callback} { callback.add_owner(); }

    detail::CallbackBase* callback_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio
