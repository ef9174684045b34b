// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/each_once.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>
#include <plait/core/wait.hpp>

#include <coroutine>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::ALL_COMPLETED;
using plait::FIRST_COMPLETED;
using plait::FIRST_EXCEPTION;
using plait::ReturnWhen;
using plait::WaitOptions;

/// What `wait` gives: the tasks that have ended and the others, each in the order in which they were given.
template <class T>
struct WaitResult {
    std::vector<Task<T>> done;
    std::vector<Task<T>> pending;
};

namespace detail {

/// Waits for tasks' ends without a look at what they come to.
class Ends : private Waiter, private TimerNode {
public:
    Ends(std::size_t most, WaitOptions options) : links_{std::make_unique<Link[]>(most)}, options_{options} {}
    ~Ends() {
        if (is_timed()) waiting_->loop()->timers.remove(*this);
    }

    void add(TaskBase& task) {
        if (task.done()) return count(task);
        if (task.loop() != running().task->loop())
            throw UsageError("wait: a Task belongs to another event loop; use run_coroutine_threadsafe across loops");
        Link& link = links_[used_++];
        link.ends = this;
        link.task = &task;
        ++left_;
        task.add_done_link(link);
    }

    AwaiterReference<Ends> operator co_await() noexcept { return AwaiterReference<Ends>{*this}; }
    [[nodiscard]] bool await_ready() const noexcept { return enough_ || left_ == 0; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        waiting_ = running().task;
        waiting_->loop()->start_timer(*this, options_.timeout);
        waiting_->suspend(handle, this);
    }
    void await_resume() {
        forget();
        if (waiting_ != nullptr) waiting_->check_cancelled();
    }

private:
    struct Link final : DoneLink {
        void on_done() noexcept override {
            --ends->left_;
            ends->count(*task);
            if (ends->await_ready()) ends->wake();
        }
        [[nodiscard]] const TaskBase* waiting_task() const noexcept override { return ends->waiting_; }
        void let_go() noexcept { unlink(); }

        Ends* ends = nullptr;
        TaskBase* task = nullptr;
    };

    void count(const TaskBase& task) noexcept {
        const bool failed = task.status() == TaskBase::Status::error;
        if (options_.return_when == FIRST_COMPLETED || (failed && options_.return_when == FIRST_EXCEPTION))
            enough_ = true;
    }
    void wake() noexcept {
        if (std::exchange(woken_, true) || waiting_ == nullptr) return;
        waiting_->loop()->stop_timer(*this);
        waiting_->wake();
    }
    void forget() noexcept {
        for (std::size_t i = 0; i < used_; ++i) links_[i].let_go();
    }
    void on_time() noexcept override { wake(); }
    bool cancel_wait() noexcept override {
        woken_ = true;
        waiting_->loop()->stop_timer(*this);
        forget();
        return false;
    }

    std::unique_ptr<Link[]> links_;
    std::size_t used_ = 0;
    std::size_t left_ = 0;
    WaitOptions options_;
    bool enough_ = false;
    bool woken_ = false;
    TaskBase* waiting_ = nullptr;
};

struct WaitFunction {
    /// Waits until all have ended, or as the options say, and sorts them. It throws none of their errors and cancels
    /// none of them, whatever happens; one that is given twice counts once.
    ///
    ///     auto [done, pending] = co_await wait(tasks, {.timeout = 2s, .return_when = FIRST_COMPLETED});
    ///
    /// Python: asyncio.wait. Coroutines become tasks. Cancel: the tasks go on.
    /// Throws: std::invalid_argument where there is nothing to wait for.
    template <AwaitableRange Range>
    auto operator()(Range&& awaitables, WaitOptions options = {}) const {
        return each(children_of(awaitables), options);
    }
    template <class A, class... As>
        requires(Awaitable<A> && (Awaitable<As> && ...))
    auto operator()(A&& first, As&&... others) const {
        return (*this)(WaitOptions{}, std::forward<A>(first), std::forward<As>(others)...);
    }
    template <class A, class... As>
        requires(Awaitable<A> && (Awaitable<As> && ...))
    auto operator()(WaitOptions options, A&& first, As&&... others) const {
        static_assert((std::is_same_v<Awaited<A>, Awaited<As>> && ...),
                      "plait: wait gives its tasks back in vectors, so all must be of one type");
        return pack<Awaited<A>>(
            std::tuple<decltype(child_of(std::forward<A>(first))), decltype(child_of(std::forward<As>(others)))...>{
                child_of(std::forward<A>(first)), child_of(std::forward<As>(others))...},
            options);
    }

private:
    template <class Child, class T = typename Child::value_type>
    static Coroutine<WaitResult<T>> each(std::vector<Child> children, WaitOptions options) {
        EventLoop& loop = get_running_loop();
        std::vector<Task<T>> tasks;
        tasks.reserve(children.size());
        for (Child& child : children) tasks.push_back(task_of(loop, child));
        co_return co_await sorted(std::move(tasks), options);
    }
    template <class T, class Children>
    static Coroutine<WaitResult<T>> pack(Children children, WaitOptions options) {
        EventLoop& loop = get_running_loop();
        std::vector<Task<T>> tasks;
        std::apply([&](auto&... child) { (tasks.push_back(task_of(loop, child)), ...); }, children);
        co_return co_await sorted(std::move(tasks), options);
    }

    template <class T>
    static Coroutine<WaitResult<T>> sorted(std::vector<Task<T>> tasks, WaitOptions options) {
        if (tasks.empty()) throw std::invalid_argument("wait: there is nothing to wait for");
        keep_each_once(tasks);
        {
            Ends ends{tasks.size(), options};
            for (const Task<T>& task : tasks) ends.add(TaskAccess::state(static_cast<const AnyTask&>(task)));
            co_await ends;
        }
        WaitResult<T> result;
        for (Task<T>& task : tasks) (task.done() ? result.done : result.pending).push_back(std::move(task));
        co_return result;
    }
};

}  // namespace detail

inline constexpr detail::WaitFunction wait{};

}  // namespace plait::inline PLAIT_ABI::asyncio
