// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/wait_list.hpp>
#include <plait/core/config.hpp>

#include <coroutine>
#include <cstddef>
#include <optional>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

class EventAwaiter;

}  // namespace detail

/// A flag that tasks wait for: `set` releases all who wait and lets later ones pass, until `clear`.
///
///     Event ready;
///     Coroutine<void> serve() {
///         co_await ready.wait();
///         …
///     }
///     configuration = co_await load();
///     ready.set();
///
/// Python: asyncio.Event. To hand over a value await a Task or plait::Future; to hand over many, use Queue; to let one
/// task at a time pass, Lock.
/// Threads: from its loop's only; from elsewhere by `call_soon_threadsafe`, or use threading::Event.
/// Lifetime: may be destroyed as soon as `set` has released those who wait; whoever still waits then gets UsageError.
/// May be made before there is a loop, and used on another once nobody waits.
class Event {
public:
    Event() noexcept = default;
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    explicit operator bool() const = delete;  // `if (event)` would not say whether it means is_set() or wait()

    /// Releases every task that waits, also those that a `clear` right after would otherwise catch again.
    void set() noexcept {
        set_ = true;
        while (waiters_.wake_first() != nullptr) {
        }
    }
    void clear() noexcept { set_ = false; }
    bool is_set() const noexcept { return set_; }

    /// Waits until it is set. At once where it is: then no other task runs in between.
    ///
    /// Throws: UsageError where tasks of another loop wait for it.
    detail::Wait<detail::EventAwaiter, Event> wait() noexcept {
        return detail::Wait<detail::EventAwaiter, Event>{*this};
    }

    /// How many tasks wait for it; for tests and diagnosis.
    std::size_t waiting() const noexcept { return waiters_.waiting(); }

private:
    friend class detail::EventAwaiter;

    bool set_ = false;
    detail::WaitList waiters_;
};

namespace detail {

class EventAwaiter : public AwaiterBase {
public:
    explicit EventAwaiter(Event& event) noexcept : event_{event} {}

    [[nodiscard]] bool await_ready() const {
        if (event_.is_set()) return true;
        event_.waiters_.check_loop();
        return false;
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        place_.emplace().wait_in(event_.waiters_, handle);
    }
    void await_resume() const {
        if (place_) place_->check_let_go();
    }

private:
    Event& event_;
    std::optional<PlainPlace> place_;
};

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::asyncio
