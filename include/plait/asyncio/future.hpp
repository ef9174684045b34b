// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/mailbox.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/core/config.hpp>
#include <plait/core/future.hpp>

#include <coroutine>
#include <memory>
#include <utility>

namespace plait::inline PLAIT_ABI {

namespace asyncio::detail {

class OutsideWaiter;

/// An await that another thread will end: the name under which its word finds its way back to the loop, or to nobody
/// where the await has ended before. It is the mail itself, so that nothing can fail when the word comes.
class OutsideCall final : public Mail {
public:
    explicit OutsideCall(OutsideWaiter& waiting) noexcept : waiter{&waiting} {}

    /// From any thread, once. Refused where the loop is closed: then nobody waits any more.
    static void tell(std::shared_ptr<OutsideCall> call, Mailbox& mailbox) noexcept {
        OutsideCall& mail = *call;
        mail.self_ = std::move(call);
        if (!mailbox.post(static_cast<Mail&>(mail))) mail.discard();
    }
    inline void deliver() override;
    void discard() noexcept override { const std::shared_ptr<OutsideCall> self = std::move(self_); }

    OutsideWaiter* waiter;  // the loop's thread's alone

private:
    std::shared_ptr<OutsideCall> self_;  // while it is in the mail
};

/// What a task waits for while another thread works for it. Its deriving class tells how the wait is given up.
class OutsideWaiter : public Waiter {
protected:
    OutsideWaiter() = default;
    ~OutsideWaiter() { give_up(); }

    /// The running task waits from now on for the future's end, on whichever thread that comes. If it throws, nothing has
    /// begun.
    template <class T, class P>
    void wait_for_end(const Future<T>& future, std::coroutine_handle<P> handle) {
        task_ = running().task;
        LoopCore& loop = *task_->loop();
        call_ = std::make_shared<OutsideCall>(*this);
        ++loop.awaited_outside;
        // To the state: a callback that is given the future would be a second owner of its value.
        plait::detail::FutureAccess::state(future).add_callback(
            [call = call_, mailbox = loop.mailbox]() mutable { OutsideCall::tell(std::move(call), *mailbox); });
        // Last: a cancellation that is due ends the wait within it.
        task_->suspend(handle, this);
    }
    /// What comes later finds nobody.
    void give_up() noexcept {
        if (!call_) return;
        std::exchange(call_, nullptr)->waiter = nullptr;
        --task_->loop()->awaited_outside;
    }
    [[nodiscard]] TaskBase* task() const noexcept { return task_; }

private:
    friend class OutsideCall;
    void complete() noexcept {
        give_up();
        task_->wake();
    }

    TaskBase* task_ = nullptr;
    std::shared_ptr<OutsideCall> call_;  // while it waits
};

inline void OutsideCall::deliver() {
    const std::shared_ptr<OutsideCall> self = std::move(self_);
    if (waiter != nullptr) waiter->complete();
}

/// Waits for a Future; with `moves`, its value is moved out where it is the only copy.
///
/// A future that is cancelled calls callbacks of the user's; so it is not cancelled within `cancel_wait`, where tasks are
/// halfway between two states, but in the task's turn.
template <class T, bool moves>
class FutureAwaiter : public AwaiterBase, private OutsideWaiter {
public:
    explicit FutureAwaiter(Future<T> future) noexcept : future_{std::move(future)} {}
    FutureAwaiter(const FutureAwaiter&) = delete;
    FutureAwaiter& operator=(const FutureAwaiter&) = delete;
    ~FutureAwaiter() { cancel_if_asked(); }

    bool await_ready() const { return future_.ready(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) {
        wait_for_end(future_, handle);
    }
    decltype(auto) await_resume() {
        cancel_if_asked();
        if (task() != nullptr) task()->check_cancelled();
        if constexpr (moves)
            return std::move(future_).get();
        else
            return static_cast<const Future<T>&>(future_).get();
    }

private:
    bool cancel_wait() noexcept override {
        give_up();
        asked_ = true;
        return false;
    }
    void cancel_if_asked() noexcept {
        if (!std::exchange(asked_, false)) return;
        try {
            static_cast<void>(future_.cancel());
        } catch (...) {
            task()->loop()->report("a future could not be cancelled");
        }
    }

    Future<T> future_;
    bool asked_ = false;
};

}  // namespace asyncio::detail

/// Waits for a Future in an event loop, whoever completes it, and gives its result as `get` does.
///
///     int square = co_await pool.apply_async([](int x) { return x * x; }, 7);
///
/// Cancel: cancels the future too, and does not wait for a call that cannot be cancelled: its result is dropped.
template <class T>
asyncio::detail::FutureAwaiter<T, false> operator co_await(const Future<T>& future) {
    return asyncio::detail::FutureAwaiter<T, false>{future};
}
template <class T>
asyncio::detail::FutureAwaiter<T, true> operator co_await(Future<T>&& future) {
    return asyncio::detail::FutureAwaiter<T, true>{std::move(future)};
}

}  // namespace plait::inline PLAIT_ABI
