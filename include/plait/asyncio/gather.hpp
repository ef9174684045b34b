// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/stragglers.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

/// Where a result without a value stands among others: `auto [nothing, x] = co_await gather(rest(), work());`
using Unit = plait::detail::Unit;

/// First argument of `gather`: errors are results like others. Each element is an Outcome, with a value or an exception.
struct ReturnExceptions {};
inline constexpr ReturnExceptions return_exceptions{};

namespace detail {

/// The tasks that one gather waits for. It is filled, then awaited.
class Gathering : private Waiter, private CancelRelay {
public:
    /// With `fails_fast` the first failure cancels the tasks that were started here, and the wait ends when they have.
    Gathering(std::size_t count, bool fails_fast)
        : loop_{get_running_loop()},
          links_{std::make_unique<Link[]>(count)},
          fails_fast_{fails_fast},
          stragglers_{loop_} {}

    /// A coroutine is started; a task runs already, and is not ours to cancel when another fails.
    template <class Child>
    auto start(Child& child) {
        auto task = task_of(loop_, child);
        add(task, IsCoroutine<Child>::value);
        return task;
    }
    /// Filling it failed: await it, and it throws `error` once what was started has ended.
    void give_up(std::exception_ptr error) noexcept {
        error_ = std::move(error);
        failed_ = true;
        cancel_started();
    }

    AwaiterReference<Gathering> operator co_await() noexcept { return AwaiterReference<Gathering>{*this}; }
    [[nodiscard]] bool await_ready() const noexcept { return complete(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        waiting_ = running().task;
        waiting_->suspend(handle, this);
    }
    void await_resume();

private:
    struct Link final : DoneLink {
        void on_done() noexcept override { gathering->on_end(*this); }
        [[nodiscard]] const TaskBase* waiting_task() const noexcept override { return gathering->waiting_; }

        Gathering* gathering = nullptr;
        AnyTask task;
        bool started_here = false;
        bool watched = false;  // by the stragglers
    };

    void add(const AnyTask& task, bool started_here);
    void on_end(Link& link) noexcept;
    void cancel_started() noexcept { relay_cancel(LoopAccess::core(loop_).cancel_course); }
    void cancel_each() noexcept override;
    inline bool cancel_wait() noexcept override;
    [[nodiscard]] bool complete() const noexcept {
        return (error_ && !asked_) || cut_ ? started_left_ == 0 : left_ == 0;
    }

    EventLoop& loop_;
    std::unique_ptr<Link[]> links_;
    std::size_t count_ = 0;
    std::size_t left_ = 0;
    std::size_t started_left_ = 0;
    bool fails_fast_;
    bool failed_ = false;  // error_ is no cancellation
    bool asked_ = false;   // somebody cancelled the gather itself: it waits for all of them
    bool cut_ = false;     // out of a ring of waits
    bool woken_ = false;
    std::exception_ptr error_;  // what it will throw
    TaskBase* waiting_ = nullptr;
    Stragglers stragglers_;
};

inline void Gathering::add(const AnyTask& task, bool started_here) {
    TaskBase& state = TaskAccess::state(task);
    if (!state.done() && state.loop() != &LoopAccess::core(loop_))
        throw UsageError("gather: a Task belongs to another event loop; use run_coroutine_threadsafe across loops");
    Link& link = links_[count_++];
    link.gathering = this;
    link.task = task;
    link.started_here = started_here;
    ++left_;
    if (started_here) ++started_left_;
    if (state.done())
        on_end(link);
    else
        state.add_done_link(link);
}

inline void Gathering::on_end(Link& link) noexcept {
    --left_;
    if (link.started_here) --started_left_;
    TaskBase& state = TaskAccess::state(link.task);
    // What failed reaches the caller, or comes after the failure that does.
    state.mark_retrieved();
    const bool failed = state.status() == TaskBase::Status::error;
    if (fails_fast_ && !error_ && (failed || (state.status() == TaskBase::Status::cancelled && !asked_))) {
        error_ = state.exception();
        failed_ = failed;
        if (!asked_) cancel_started();
    }
    // Once: after a failure, tasks that were handed in go on, and may end before the one that was woken has its turn.
    if (waiting_ != nullptr && complete() && !std::exchange(woken_, true)) waiting_->wake();
}

inline void Gathering::cancel_each() noexcept {
    static const std::string nothing;
    const std::string& message = asked_ ? waiting_->cancel_message() : nothing;
    for (std::size_t i = 0; i < count_; ++i)
        if ((asked_ || links_[i].started_here) && links_[i].task.cancel(message) &&
            !std::exchange(links_[i].watched, true))
            stragglers_.add(links_[i].task);
}

inline bool Gathering::cancel_wait() noexcept {
    asked_ = true;
    if (relay_cancel(LoopAccess::core(loop_).cancel_course) && !waiting_->cancel_due()) return true;
    // The request came back round a ring: those that were handed in are waited for no longer.
    cut_ = true;
    if (started_left_ != 0) {
        waiting_->drop_due_cancel();
        return true;
    }
    // Who asked wakes the task, and no child's end may do so again.
    woken_ = true;
    return false;
}

inline void Gathering::await_resume() {
    if (waiting_ != nullptr) waiting_->check_cancelled();
    if (error_) {
        // Both are due: the error now, and the cancellation at the next await.
        if (failed_ && asked_) waiting_->make_cancel_due();
        std::rethrow_exception(error_);
    }
    if (asked_) throw CancelledError(waiting_->cancel_message());
    // The caller's handles are now the only ones: values can be moved out.
    for (std::size_t i = 0; i < count_; ++i) links_[i].task = AnyTask{};
}

struct GatherFunction {
    /// Runs all of them side by side, and gives their values in the order of the arguments: a pack as a tuple (`Unit`
    /// where one gives nothing), a range as a vector (nothing where they give nothing).
    ///
    ///     auto [a, b] = co_await gather(late(1), late(2));
    ///     std::vector<int> all = co_await gather(std::move(coroutines));
    ///     auto [x, y] = co_await gather(return_exceptions, late(1), late(2));     // Outcome<int>s
    ///
    /// Python: asyncio.gather. The first failure cancels the coroutines and futures that were given, waits for their end,
    /// and is thrown; tasks that were given go on. With `return_exceptions` all are waited for.
    /// Cancel: cancels all of them, waits for their end, then throws.
    template <class... As>
        requires(Awaitable<As> && ...)
    auto operator()(As&&... awaitables) const {
        return all<false>(
            std::tuple<decltype(child_of(std::forward<As>(awaitables)))...>{child_of(std::forward<As>(awaitables))...});
    }
    template <class... As>
        requires(Awaitable<As> && ...)
    auto operator()(ReturnExceptions, As&&... awaitables) const {
        return all<true>(
            std::tuple<decltype(child_of(std::forward<As>(awaitables)))...>{child_of(std::forward<As>(awaitables))...});
    }
    template <AwaitableRange Range>
    auto operator()(Range&& awaitables) const {
        return every<false>(children_of(awaitables));
    }
    template <AwaitableRange Range>
    auto operator()(ReturnExceptions, Range&& awaitables) const {
        return every<true>(children_of(awaitables));
    }

private:
    template <bool keeps_errors, class T>
    using Element = std::conditional_t<keeps_errors, Outcome<T>, std::conditional_t<std::is_void_v<T>, Unit, T>>;

    template <bool keeps_errors, class T>
    static Element<keeps_errors, T> element(const Task<T>& task) {
        const auto take = [&]() -> T { return take_result(TaskAccess::state(task)); };
        if constexpr (keeps_errors) {
            return Outcome<T>::of(take);
        } else if constexpr (std::is_void_v<T>) {
            take();
            return Unit{};
        } else {
            return take();
        }
    }

    template <bool keeps_errors, class... Children>
    static Coroutine<std::tuple<Element<keeps_errors, typename Children::value_type>...>> all(
        std::tuple<Children...> children) {
        Gathering gathering{sizeof...(Children), !keeps_errors};
        std::tuple<Task<typename Children::value_type>...> tasks;
        try {
            start_each(gathering, children, tasks, std::index_sequence_for<Children...>{});
        } catch (...) {
            gathering.give_up(std::current_exception());
        }
        co_await gathering;
        co_return std::apply(
            [](const auto&... task) {
                return std::tuple<Element<keeps_errors, typename Children::value_type>...>{
                    element<keeps_errors>(task)...};
            },
            tasks);
    }

    template <class Children, class Tasks, std::size_t... i>
    static void start_each(Gathering& gathering, Children& children, Tasks& tasks, std::index_sequence<i...>) {
        static_cast<void>(gathering);
        ((std::get<i>(tasks) = gathering.start(std::get<i>(children))), ...);
    }

    template <bool keeps_errors, class Child, class T = typename Child::value_type>
    static auto every(std::vector<Child> children) -> Coroutine<
        std::conditional_t<std::is_void_v<T> && !keeps_errors, void, std::vector<Element<keeps_errors, T>>>> {
        static_assert(!std::is_reference_v<T> || keeps_errors,
                      "plait: a vector holds no references: gather a pack, or let the coroutines give pointers");
        Gathering gathering{children.size(), !keeps_errors};
        std::vector<Task<T>> tasks;
        try {
            tasks.reserve(children.size());
            for (Child& child : children) tasks.push_back(gathering.start(child));
        } catch (...) {
            gathering.give_up(std::current_exception());
        }
        co_await gathering;
        if constexpr (!std::is_void_v<T> || keeps_errors) {
            std::vector<Element<keeps_errors, T>> elements;
            elements.reserve(tasks.size());
            for (const Task<T>& task : tasks) elements.push_back(element<keeps_errors>(task));
            co_return elements;
        }
    }
};

}  // namespace detail

inline constexpr detail::GatherFunction gather{};

}  // namespace plait::inline PLAIT_ABI::asyncio
