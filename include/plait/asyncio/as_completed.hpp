// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/each_once.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>

#include <coroutine>
#include <cstddef>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

/// Tasks in the order in which they end. Shared by who waits for the next one, so that it lives as long as any of them.
class Completions final : private TimerNode {
public:
    Completions(std::vector<AnyTask> tasks, Timeout limit);
    ~Completions() {
        if (is_timed()) loop_.timers.remove(*this);
    }

    /// Whether the next one is there, or never will be. Throws: UsageError for a second one that waits.
    [[nodiscard]] bool ready() const;
    /// The running task waits from now on, until it is woken when `ready`, and then until `forget`.
    TaskBase* begin_wait() noexcept {
        woken_ = false;
        return waiting_ = running().task;
    }
    void forget() noexcept { waiting_ = nullptr; }
    /// Takes the next one out. Throws: TimeoutError, and UsageError where all have been taken.
    AnyTask take();

private:
    struct Link final : DoneLink {
        void on_done() noexcept override { completions->on_end(*this); }
        [[nodiscard]] const TaskBase* waiting_task() const noexcept override { return completions->waiting_; }

        Completions* completions = nullptr;
        AnyTask task;
        Link* following = nullptr;
    };

    void on_end(Link& link) noexcept {
        link.following = nullptr;
        (first_ != nullptr ? last_->following : first_) = &link;
        last_ = &link;
        --left_;
        wake();
    }
    void on_time() noexcept override {
        timed_out_ = true;
        wake();
    }
    void wake() noexcept {
        if (waiting_ != nullptr && !std::exchange(woken_, true)) waiting_->wake();
    }

    LoopCore& loop_;
    std::unique_ptr<Link[]> links_;
    Link* first_ = nullptr;  // ended, and not yet taken
    Link* last_ = nullptr;
    std::size_t left_;  // not yet ended
    bool timed_out_ = false;
    bool woken_ = false;
    TaskBase* waiting_ = nullptr;
};

template <class T>
class NextAwaiter;

}  // namespace detail

/// One that is still to come of those given to `as_completed`: awaited, the next that ends.
///
/// Throws: what the task threw; TimeoutError when the time is up.
/// Cancel: the tasks go on, and none of them is taken.
template <class T>
class [[nodiscard("it waits only when it is awaited")]] NextCompleted {
public:
    using value_type = T;

    explicit NextCompleted(std::shared_ptr<detail::Completions> completions) noexcept
        : completions_{std::move(completions)} {}
    detail::NextAwaiter<T> operator co_await() const { return detail::NextAwaiter<T>{completions_}; }

private:
    std::shared_ptr<detail::Completions> completions_;
};

/// What `as_completed` gives: as many awaitables as there are tasks, for a range-based `for`.
template <class T>
class [[nodiscard("the tasks run on, but nobody sees what they come to")]] AsCompleted {
public:
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = NextCompleted<T>;
        using difference_type = std::ptrdiff_t;
        using pointer = const value_type*;
        using reference = const value_type&;

        Iterator(const value_type* next, std::size_t left) noexcept : next_{next}, left_{left} {}
        reference operator*() const noexcept { return *next_; }
        pointer operator->() const noexcept { return next_; }
        Iterator& operator++() noexcept {
            --left_;
            return *this;
        }
        Iterator operator++(int) noexcept {
            Iterator before = *this;
            ++*this;
            return before;
        }
        friend bool operator==(const Iterator& a, const Iterator& b) noexcept { return a.left_ == b.left_; }

    private:
        const value_type* next_;
        std::size_t left_;
    };

    AsCompleted(std::vector<AnyTask> tasks, Timeout limit)
        : count_{tasks.size()}, next_{std::make_shared<detail::Completions>(std::move(tasks), limit)} {}

    Iterator begin() const noexcept { return Iterator{&next_, count_}; }
    Iterator end() const noexcept { return Iterator{&next_, 0}; }

private:
    std::size_t count_;
    NextCompleted<T> next_;
};

namespace detail {

inline Completions::Completions(std::vector<AnyTask> tasks, Timeout limit)
    : loop_{LoopAccess::core(get_running_loop())},
      links_{std::make_unique<Link[]>(tasks.size())},
      left_{tasks.size()},
      timed_out_{limit.is_zero()} {
    for (const AnyTask& task : tasks)
        if (!task.done() && TaskAccess::state(task).loop() != &loop_)
            throw UsageError(
                "as_completed: a Task belongs to another event loop; use run_coroutine_threadsafe across loops");
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        Link& link = links_[i];
        link.completions = this;
        link.task = std::move(tasks[i]);
        TaskBase& state = TaskAccess::state(link.task);
        if (state.done())
            on_end(link);
        else
            state.add_done_link(link);
    }
    if (left_ != 0 && !timed_out_) loop_.start_timer(*this, limit);
}

inline bool Completions::ready() const {
    if (waiting_ != nullptr)
        throw UsageError("as_completed: somebody waits for the next one already; await them one after the other");
    if (running().task->loop() != &loop_)
        throw UsageError("as_completed: the tasks belong to another event loop; await them there");
    return first_ != nullptr || timed_out_ || left_ == 0;
}

inline AnyTask Completions::take() {
    if (first_ == nullptr) {
        if (left_ == 0) throw UsageError("as_completed: each of them has been awaited already");
        throw TimeoutError("as_completed: the next one had not ended in time");
    }
    AnyTask task = std::move(first_->task);
    first_ = first_->following;
    return task;
}

template <class T>
class NextAwaiter : public AwaiterBase, private Waiter {
public:
    explicit NextAwaiter(std::shared_ptr<Completions> completions) noexcept : completions_{std::move(completions)} {}
    ~NextAwaiter() { forget(); }

    bool await_ready() const { return completions_->ready(); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> handle) noexcept {
        task_ = completions_->begin_wait();
        waiting_ = true;
        task_->suspend(handle, this);
    }
    T await_resume() {
        forget();
        if (task_ != nullptr) task_->check_cancelled();
        const AnyTask task = completions_->take();
        // This handle may now be the only one, and take the value out.
        return take_result(static_cast<TaskState<T>&>(TaskAccess::state(task)));
    }

private:
    bool cancel_wait() noexcept override {
        forget();
        return false;
    }
    void forget() noexcept {
        if (std::exchange(waiting_, false)) completions_->forget();
    }

    std::shared_ptr<Completions> completions_;
    bool waiting_ = false;
    TaskBase* task_ = nullptr;
};

struct AsCompletedFunction {
    /// Gives the results of several as they come: each `co_await` in turn gives the next that ends.
    ///
    ///     for (auto& next : as_completed(tasks, 2s)) {
    ///         int x = co_await next;
    ///     }
    ///
    /// Python: asyncio.as_completed. Coroutines become tasks at once; a task that is given twice comes once. The time
    /// counts from the call; when it is up, those that have ended still come, and then TimeoutError is thrown.
    /// Cancel: the tasks go on. They do so too where the loop is left half way.
    template <AwaitableRange Range>
    auto operator()(Range&& awaitables, Timeout limit = Timeout::never()) const {
        EventLoop& loop = get_running_loop();
        using T = Awaited<decltype(*std::begin(awaitables))>;
        std::vector<AnyTask> tasks;
        for (auto&& awaitable : awaitables) tasks.push_back(task_of(loop, awaitable));
        keep_each_once(tasks);
        return AsCompleted<T>{std::move(tasks), limit};
    }
    template <class A, class... As>
        requires(Awaitable<A> && (Awaitable<As> && ...))
    auto operator()(A&& first, As&&... others) const {
        return (*this)(Timeout::never(), std::forward<A>(first), std::forward<As>(others)...);
    }
    template <class A, class... As>
        requires(Awaitable<A> && (Awaitable<As> && ...))
    auto operator()(Timeout limit, A&& first, As&&... others) const {
        static_assert((std::is_same_v<Awaited<A>, Awaited<As>> && ...),
                      "plait: as_completed gives its results one after the other, so all must be of one type");
        EventLoop& loop = get_running_loop();
        std::vector<AnyTask> tasks;
        tasks.reserve(1 + sizeof...(As));
        tasks.push_back(task_of(loop, std::forward<A>(first)));
        (tasks.push_back(task_of(loop, std::forward<As>(others))), ...);
        keep_each_once(tasks);
        return AsCompleted<Awaited<A>>{std::move(tasks), limit};
    }
};

}  // namespace detail

inline constexpr detail::AsCompletedFunction as_completed{};

}  // namespace plait::inline PLAIT_ABI::asyncio
