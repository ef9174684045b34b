// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/report.hpp>
#include <plait/threading/detail/bound_call.hpp>
#include <plait/threading/detail/inbox.hpp>
#include <plait/threading/detail/pool_core.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

/// One call on a pool: what is queued, its callable and arguments, and its future's state, in one block.
template <class R, class Call>
class CallTask final : public FutureState<R>, public PoolTask {
public:
    template <class... Args>
    explicit CallTask(PoolCore& pool, Args&&... args)
        : pool_{pool}, call_{std::in_place, std::forward<Args>(args)...} {}

    void run() noexcept override {
        if (!this->claim_unstarted()) return;
        this->claimed_outcome().run([this]() -> R { return (*call_)(pool_.stop_token()); });
        call_.reset();  // who sees the result finds the callable and its captures gone
        this->finish(this->done);
    }
    void discard() noexcept override {
        if (!this->claim_unstarted()) return;
        call_.reset();
        this->claimed_outcome().set_exception(pool_terminated());
        this->mark_looked_at();  // who terminates a pool knows that its calls fail
        this->finish(this->done);
    }
    [[nodiscard]] bool begun() const noexcept override { return this->started(); }
    void release() noexcept override { this->drop_owner(); }
    void drop_call() noexcept override { call_.reset(); }

    void* task_in(const void* pool) noexcept override {
        return pool == &pool_ ? static_cast<PoolTask*>(this) : nullptr;
    }

private:
    PoolCore& pool_;  // outlives the run, and is not touched after it
    std::optional<Call> call_;
};

/// Queues `f(args...)` on `pool` and returns its future. Throws: UsageError where the pool is closed.
template <class F, class... Args>
Future<CallResult<F, Args...>> submit_call(PoolCore& pool, F&& f, Args&&... args) {
    using R = CallResult<F, Args...>;
    using Task = CallTask<R, BoundCallOf<F, Args...>>;
    StatePointer<Task> queued{new Task(pool, std::forward<F>(f), std::forward<Args>(args)...)};
    // Before it is queued: else a call that fails at once would be taken for one whose future has gone.
    auto future = future_of(StatePointer<FutureState<R>>{StatePointer<Task>::share(queued.get())});
    pool.submit(*queued);
    static_cast<void>(queued.release());
    return future;
}

/// One call whose result nobody waits for.
template <class Call, bool in_page>
class PostedCall final : public PoolTask {
public:
    template <class... Args>
    explicit PostedCall(PoolCore& pool, Args&&... args) noexcept(std::is_nothrow_constructible_v<Call, Args...>)
        : pool_{pool}, call_(std::forward<Args>(args)...) {}

    void run() noexcept override {
        try {
            static_cast<void>(call_(pool_.stop_token()));
        } catch (...) {
            report_unraisable("a call posted to a pool failed", std::current_exception());
        }
    }
    void discard() noexcept override {}
    [[nodiscard]] bool begun() const noexcept override { return false; }
    void release() noexcept override {
        if constexpr (in_page) {
            std::destroy_at(this);
            TaskPages::deallocate(this);
        } else {
            delete this;
        }
    }

private:
    PoolCore& pool_;
    Call call_;
};

template <class F, class... Args>
void post_call(PoolCore& pool, F&& f, Args&&... args) {
    using Call = BoundCallOf<F, Args...>;
    using InPage = PostedCall<Call, true>;
    // What is copied as bytes is: no code of the user's runs.
    if constexpr (TaskPages::suits<InPage> && std::is_trivially_copyable_v<std::decay_t<F>> &&
                  (std::is_trivially_copyable_v<std::decay_t<Args>> && ...)) {
        const Worker* const worker = Worker::current();
        if (worker == nullptr || &worker->pool() != &pool)
            return pool.emplace<InPage>(pool, std::forward<F>(f), std::forward<Args>(args)...);
    }
    auto task = std::make_unique<PostedCall<Call, false>>(pool, std::forward<F>(f), std::forward<Args>(args)...);
    pool.submit(*task);
    static_cast<void>(task.release());
}

}  // namespace plait::inline PLAIT_ABI::threading::detail
