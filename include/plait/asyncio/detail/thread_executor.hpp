// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/core/config.hpp>
#include <plait/core/future.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/os/thread.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// What `f(args...)`, or `f(StopToken, args...)` where it takes one, returns.
template <class F, class... Args>
struct ThreadCallResult {
    static constexpr bool takes_token = std::is_invocable_v<F&, StopToken, Args...>;
    using Type = typename std::conditional_t<takes_token, std::invoke_result<F&, StopToken, Args...>,
                                             std::invoke_result<F&, Args...>>::type;
};

/// A loop's threads for blocking calls: made when a call finds none idle, up to a bound, and joined with the loop.
///
/// Threads: submits from the loop's.
class ThreadExecutor final : public LoopService {
public:
    ThreadExecutor() : most_{(std::min)(std::size_t{32}, std::size_t{os::usable_processors()} + 4)} {}
    /// Drops what still queues, asks what runs to stop, and waits for its end.
    inline ~ThreadExecutor() override;

    /// The executor of `loop`, made on first use.
    static ThreadExecutor& of(LoopCore& loop) {
        if (!loop.executor) loop.executor = std::make_unique<ThreadExecutor>();
        return static_cast<ThreadExecutor&>(*loop.executor);
    }

    /// How many threads have nothing to do; for tests.
    [[nodiscard]] std::size_t waiting() {
        const std::scoped_lock lock{mutex_};
        return idle_;
    }
    /// Throws: std::system_error where not even one thread can be had.
    template <class F, class... Args>
    auto submit(const StopSource& stop, F&& f, std::tuple<Args...> args)
        -> Future<typename ThreadCallResult<std::decay_t<F>, Args...>::Type>;

private:
    class Job {
    public:
        explicit Job(const StopSource& source) : stop{source} {}
        Job(const Job&) = delete;
        Job& operator=(const Job&) = delete;
        virtual ~Job() = default;
        virtual void run() noexcept = 0;

        StopSource stop;
        const Context context = current_context();  // of who asks for it
        std::unique_ptr<Job> next;
    };
    template <class F, class... Args>
    class Call;

    void enqueue(std::unique_ptr<Job> job);
    void work() noexcept;

    const std::size_t most_;
    std::mutex mutex_;  // guards everything below but threads_, which is the loop's thread's
    std::condition_variable changed_;
    std::unique_ptr<Job> first_;
    Job* last_ = nullptr;  // meaningful while there is a first
    std::size_t queued_ = 0;
    std::size_t idle_ = 0;
    std::vector<StopSource*> running_;
    bool closing_ = false;
    std::vector<std::thread> threads_;
};

template <class F, class... Args>
class ThreadExecutor::Call final : public Job {
    using Result = typename ThreadCallResult<F, Args...>::Type;

public:
    template <class Callable>
    Call(const StopSource& source, Callable&& f, std::tuple<Args...>&& args)
        : Job{source}, call_{Stored{std::forward<Callable>(f), std::move(args)}} {}
    ~Call() override {
        if (call_) state_->abandon();  // without effect where it was cancelled
    }

    [[nodiscard]] Future<Result> future() const { return plait::detail::future_of(state_); }
    void run() noexcept override {
        if (!state_->start()) return;
        outcome_.run([this]() -> Result {
            const auto call = [this](Args&... args) -> Result {
                if constexpr (ThreadCallResult<F, Args...>::takes_token)
                    return call_->function(stop.get_token(), std::move(args)...);
                else
                    return call_->function(std::move(args)...);
            };
            return std::apply(call, call_->arguments);
        });
        // What the call held is gone before anybody sees its result.
        call_.reset();
        state_->settle(std::move(outcome_));
    }

private:
    struct Stored {
        F function;
        std::tuple<Args...> arguments;
    };

    std::optional<Stored> call_;  // until it has been called
    Outcome<Result> outcome_;
    plait::detail::StatePointer<plait::detail::FutureState<Result>> state_{new plait::detail::FutureState<Result>};
};

template <class F, class... Args>
auto ThreadExecutor::submit(const StopSource& stop, F&& f, std::tuple<Args...> args)
    -> Future<typename ThreadCallResult<std::decay_t<F>, Args...>::Type> {
    auto job = std::make_unique<Call<std::decay_t<F>, Args...>>(stop, std::forward<F>(f), std::move(args));
    auto future = job->future();
    enqueue(std::move(job));
    return future;
}

inline void ThreadExecutor::enqueue(std::unique_ptr<Job> job) {
    std::unique_lock lock{mutex_};
    if (idle_ <= queued_ && threads_.size() < most_) {
        // The new thread waits for the mutex, then finds the job.
        try {
            threads_.reserve(most_);
            running_.reserve(most_);
            threads_.emplace_back([this] { work(); });
        } catch (const std::system_error&) {
            if (threads_.empty()) throw;
        }
    }
    Job* const added = job.get();
    (first_ != nullptr ? last_->next : first_) = std::move(job);
    last_ = added;
    ++queued_;
    changed_.notify_one();
}

inline void ThreadExecutor::work() noexcept {
    os::set_thread_name("plait-to-thread");
    std::unique_lock lock{mutex_};
    for (;;) {
        ++idle_;
        while (first_ == nullptr && !closing_) changed_.wait(lock);
        --idle_;
        if (first_ == nullptr) return;
        std::unique_ptr<Job> job = std::move(first_);
        first_ = std::move(job->next);
        --queued_;
        running_.push_back(&job->stop);
        lock.unlock();
        set_current_context(job->context);
        job->run();
        set_current_context(nullptr);
        lock.lock();
        running_.erase(std::find(running_.begin(), running_.end(), &job->stop));
        lock.unlock();
        job.reset();
        lock.lock();
    }
}

inline ThreadExecutor::~ThreadExecutor() {
    std::unique_ptr<Job> dropped;
    std::vector<StopSource> stops;
    {
        const std::scoped_lock lock{mutex_};
        closing_ = true;
        dropped = std::move(first_);
        for (const StopSource* const stop : running_) stops.push_back(*stop);
        changed_.notify_all();
    }
    // Neither callbacks of a stop nor the destructors of what was dropped run under the mutex.
    for (StopSource& stop : stops) static_cast<void>(stop.request_stop());
    while (dropped) dropped = std::move(dropped->next);
    for (std::thread& thread : threads_) thread.join();
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
