// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/mailbox.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/outcome.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// The state of a Future whose call is a task of some loop. Only that loop's thread touches the task.
template <class T>
class RemoteTask final : public plait::detail::FutureState<T> {
public:
    explicit RemoteTask(std::shared_ptr<Mailbox> mailbox) : mailbox_{std::move(mailbox)} { this->start(); }

    AnyTask task;

private:
    bool cancel_running() override {
        if (!this->settle_cancelled()) return false;
        this->add_owner();
        const auto state = plait::detail::StatePointer<RemoteTask>{this};
        static_cast<void>(mailbox_->post([state] {
            if (state->task.valid()) state->task.cancel();
        }));
        return true;
    }

    std::shared_ptr<Mailbox> mailbox_;
};

/// Carries what a task comes to into its future, and, whatever becomes of the loop or the task, lets no future hang.
template <class T>
class Relay {
    using State = plait::detail::StatePointer<RemoteTask<T>>;

public:
    explicit Relay(State state) noexcept : state_{std::move(state)} {}
    Relay(Relay&&) noexcept = default;
    Relay& operator=(Relay&&) = delete;
    ~Relay() {
        if (!state_) return;
        state_->task = AnyTask{};
        if (!state_->ready()) state_->abandon();
    }

    [[nodiscard]] RemoteTask<T>& state() const noexcept { return *state_; }
    void operator()(Task<T> task) {
        state_->task = AnyTask{};
        // One handle: a value is moved into the future.
        if (task.cancelled()) {
            TaskAccess::state(task).mark_retrieved();
            state_->settle_cancelled();
        } else {
            auto outcome = Outcome<T>::of([&]() -> T { return std::move(task).result(); });
            const std::exception_ptr error = outcome.exception();
            if (!state_->settle(std::move(outcome)) && error && TaskAccess::state(task).loop() != nullptr)
                TaskAccess::state(task).loop()->report("a coroutine failed after its future was cancelled", error,
                                                       &TaskAccess::state(task));
        }
    }

private:
    State state_;
};

struct RunCoroutineThreadsafe {
    /// Makes `coroutine` a task of a loop that runs on another thread, and gives its future. Cancelling the future
    /// cancels the task.
    ///
    ///     Future<int> four = run_coroutine_threadsafe(twice(2), loop);
    ///     use(four.get(1s));
    ///
    /// Python: asyncio.run_coroutine_threadsafe. A loop that closes meanwhile leaves BrokenPromiseError.
    /// Throws: UsageError where the loop is closed. Threads: from any but the loop's own, which would wait for itself.
    template <class T>
    Future<T> operator()(Coroutine<T>&& coroutine, EventLoop& loop) const {
        const std::shared_ptr<Mailbox>& mailbox = LoopAccess::core(loop).mailbox;
        const auto state = plait::detail::StatePointer<RemoteTask<T>>{new RemoteTask<T>{mailbox}};
        auto future = plait::detail::future_of(plait::detail::StatePointer<plait::detail::FutureState<T>>{state});
        const bool posted =
            mailbox->post([relay = Relay<T>{state}, coroutine = Coroutine<T>{std::move(coroutine)}, &loop]() mutable {
                if (relay.state().ready()) return;  // cancelled before it came
                Task<T> task = loop.create_task(std::move(coroutine));
                relay.state().task = task;
                task.add_done_callback(std::move(relay));
            });
        if (!posted) {
            static_cast<void>(future.exception());  // looked at: the error that counts is this one
            throw UsageError("this event loop is closed: nothing can be run on it any more");
        }
        return future;
    }
};

}  // namespace detail

inline constexpr detail::RunCoroutineThreadsafe run_coroutine_threadsafe{};

}  // namespace plait::inline PLAIT_ABI::asyncio
