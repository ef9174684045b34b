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

/// An await that another thread will end: the name under which its word finds its way back to the loop, or to nobody
/// where the await has ended before. The pointer is the loop's thread's alone.
struct OutsideCall {
    class OutsideWaiter* waiter;
};

/// What a task waits for while another thread works for it. Its deriving class tells how the wait is given up.
class OutsideWaiter : public Waiter {
protected:
    OutsideWaiter() = default;
    ~OutsideWaiter() { give_up(); }

    /// The running task waits from now on; the call that this returns may be made on any thread, once.
    template <class P>
    auto begin(std::coroutine_handle<P> handle) {
        task_ = running().task;
        call_ = std::make_shared<OutsideCall>(OutsideCall{this});
        ++task_->loop()->awaited_outside;
        // Made first: a cancellation that is due ends the wait within suspend.
        auto tell = [call = call_, mailbox = task_->loop()->mailbox]() mutable {
            // Refused where the loop is closed: then nobody waits any more.
            static_cast<void>(mailbox->post([call = std::move(call)] {
                if (call->waiter != nullptr) call->waiter->complete();
            }));
        };
        task_->suspend(handle, this);
        return tell;
    }
    /// What comes later finds nobody.
    void give_up() noexcept {
        if (!call_) return;
        std::exchange(call_, nullptr)->waiter = nullptr;
        --task_->loop()->awaited_outside;
    }
    void complete() noexcept {
        give_up();
        task_->wake();
    }
    [[nodiscard]] TaskBase* task() const noexcept { return task_; }

private:
    TaskBase* task_ = nullptr;
    std::shared_ptr<OutsideCall> call_;  // while it waits
};

/// Waits for a Future; with `moves`, its value is moved out where it is the only copy.
template <class T, bool moves>
class FutureAwaiter : public AwaiterBase, private OutsideWaiter {
public:
    explicit FutureAwaiter(Future<T> future) noexcept : future_{std::move(future)} {}

    bool await_ready() const { return future_.ready(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) {
        future_.add_done_callback([tell = begin(handle)](const Future<T>&) mutable { tell(); });
    }
    decltype(auto) await_resume() {
        if (task() != nullptr) task()->check_cancelled();
        if constexpr (moves)
            return std::move(future_).get();
        else
            return static_cast<const Future<T>&>(future_).get();
    }

private:
    bool cancel_wait() noexcept override {
        give_up();
        static_cast<void>(future_.cancel());
        return false;
    }

    Future<T> future_;
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
