// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/cpu_count.hpp>
#include <plait/multiprocessing/pool/engine.hpp>
#include <plait/multiprocessing/pool/initializer.hpp>
#include <plait/multiprocessing/pool/result.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/start_method.hpp>
#include <plait/os/process.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// What a Pool may be told when it is made.
struct PoolOptions {
    std::optional<int> processes = {};  ///< how many workers; `cpu_count()` where it is empty
    std::optional<Initializer> initializer =
        {};  ///< each worker runs it first, replacements too; if it throws, the pool is broken
    std::optional<int> max_tasks_per_child = {};  ///< a worker that has done so many is replaced by a fresh one
    Timeout task_timeout = Timeout::never();      ///< a task that runs longer is killed, with its worker
    Timeout termination_grace =
        std::chrono::seconds{1};                   ///< between asking a worker to end (SIGTERM) and ending it (SIGKILL)
    std::optional<StartMethod> start_method = {};  ///< `get_start_method()` where it is empty
};

/// Processes that run plain functions: a crash in one is an exception here.
///
/// Python: multiprocessing.Pool. For work that cannot crash, `threading::ThreadPool` is quicker. `main` must begin with
/// `freeze_support`.
///
///     Pool pool(4);
///     std::vector<int> squares = pool.map(square, std::vector{1, 2, 3});
///     try {
///         pool.apply(parse, hostile_bytes);
///     } catch (const ProcessDied& death) {
///         std::cerr << death.what();  // worker 4711 was killed by SIGSEGV (…) while it ran task 3, …
///     }
///
/// A worker that dies, by a signal, an exit or a hang past the time limit, fails the task that it was running, and only
/// that: tasks behind it run elsewhere, finished ones keep their results, no task is begun twice, and another worker
/// takes its place. What can be called, and with what, is as for `Process`; `function<&parse>` in place of `parse` gives
/// the error texts its name. Tasks are numbered from 0 over the pool's life.
///
/// What a task throws is thrown here, where it is exactly a type of the standard library's or of plait's that can be made
/// again; else RemoteError tells the type's name and the text.
///
/// Threads: every member from any thread of the program that made it; a forked copy of it gets UsageError.
/// Lifetime: the destructor closes and joins; while an exception unwinds it terminates.
class Pool {
public:
    Pool() : Pool(PoolOptions{}) {}
    explicit Pool(int processes) : Pool(PoolOptions{.processes = processes}) {}
    /// Throws: std::invalid_argument for a number of processes or of tasks that is not positive; UsageError where
    /// `freeze_support` was not called; std::system_error where the processes cannot be had.
    explicit Pool(PoolOptions options);
    Pool(Pool&&) noexcept = default;
    Pool& operator=(Pool&&) = delete;
    ~Pool();

    /// Calls `f(args...)` in a worker and waits for the result. Throws: what it threw; ProcessDied, TaskTimeoutError.
    template <class F, class... Args>
    auto apply(F&& f, Args&&... args) {
        return apply_async(std::forward<F>(f), std::forward<Args>(args)...).get();
    }

    /// Calls `f(args...)` in a worker, some time; `cancel` of the future ends it, also while it runs.
    /// Throws: UsageError after `close`; BrokenPoolError. What is wrong with the arguments is the future's error.
    template <class F, class... Args>
    auto apply_async(F&& f, Args&&... args) -> Future<typename detail::CallTraits<std::decay_t<F>, Args...>::Result>;
    /// The same under the name that Python's executors use.
    template <class F, class... Args>
    auto submit(F&& f, Args&&... args) {
        return apply_async(std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// Calls `f` with each item and waits for all; the results in the items' order, nothing for a void `f`.
    ///
    /// Every item runs, whatever becomes of the others; then the first error, in the items' order, is thrown. A range
    /// that throws, or an item that cannot be encoded, fails before any runs. `chunk_size` items travel together; 0
    /// chooses.
    template <class F, detail::Iterable Items>
    auto map(F&& f, Items&& items, std::size_t chunk_size = 0) {
        return map_async(std::forward<F>(f), std::forward<Items>(items), chunk_size).get();
    }
    template <class F, detail::Iterable Items>
    auto map_async(F&& f, Items&& items, std::size_t chunk_size = 0);
    /// As `map`, for items that are tuples of arguments.
    template <class F, detail::Iterable Items>
    auto starmap(F&& f, Items&& items, std::size_t chunk_size = 0) {
        return starmap_async(std::forward<F>(f), std::forward<Items>(items), chunk_size).get();
    }
    template <class F, detail::Iterable Items>
    auto starmap_async(F&& f, Items&& items, std::size_t chunk_size = 0);

    /// No more work is taken; what was taken is done.
    void close() { engine().close(); }
    /// No more work is taken, and the workers are killed: what they ran fails with ProcessDied, what had not begun with
    /// PoolTerminatedError.
    void terminate() { engine().terminate(); }
    /// Waits until all work is done and all processes are gone. Throws: UsageError before `close` or `terminate`.
    void join() { static_cast<void>(engine().join(Timeout::never())); }
    /// Returns whether that was so within `timeout`.
    [[nodiscard]] bool join(Timeout timeout) { return engine().join(timeout); }

    /// The workers as they are now, for people who want to look. Where one is just being replaced it waits for that,
    /// a second at most; a closed or broken pool may have fewer.
    std::vector<WorkerInfo> workers() const { return engine().workers(); }

private:
    detail::Engine& engine() const {
        if (engine_ == nullptr) throw UsageError("this Pool was moved from: use the object that it was moved to");
        if (owner_ != os::process_id())
            throw UsageError("this Pool belongs to the program that made it, not to a worker or a forked copy of it");
        return *engine_;
    }
    template <class Travel, class F>
    std::shared_ptr<detail::Call> make_call(const F& callable, detail::ItemSink& sink) const {
        return std::make_shared<detail::Call>(sink, detail::name_callable<Travel>(callable), detail::callable_name<F>(),
                                              task_timeout_);
    }
    /// `write(out, item)` encodes the arguments that the call of `Travel` gets from an item.
    template <class Travel, class Callable, class Result, class Items, class Write>
    auto map_items(const Callable& callable, Items&& items, std::size_t chunk_size, Write write);

    std::shared_ptr<detail::Engine> engine_;
    Timeout task_timeout_;
    std::int64_t owner_ = os::process_id();
    int exceptions_at_start_ = std::uncaught_exceptions();
};

inline Pool::Pool(PoolOptions options) : task_timeout_{options.task_timeout} {
    if (options.processes && *options.processes < 1)
        throw std::invalid_argument("plait: a Pool needs at least one process");
    if (options.max_tasks_per_child && *options.max_tasks_per_child < 1)
        throw std::invalid_argument("plait: max_tasks_per_child is at least one task; leave it out for no limit");
    detail::CrewOptions crew;
    crew.processes = static_cast<std::size_t>(options.processes.value_or(static_cast<int>(cpu_count())));
    crew.start_method = options.start_method.value_or(get_start_method());
    if (options.initializer) crew.initializer = std::move(options.initializer->call_);
    if (options.max_tasks_per_child)
        crew.max_tasks_per_child = static_cast<std::uint64_t>(*options.max_tasks_per_child);
    crew.termination_grace = options.termination_grace.duration();
    engine_ = std::make_shared<detail::Engine>(std::move(crew));
}

inline Pool::~Pool() {
    if (engine_ == nullptr) return;
    if (owner_ != os::process_id()) {
        // A forked copy of the program: the engine's thread is not in it, and the processes are not its own.
        static_cast<void>(new std::shared_ptr<detail::Engine>(std::move(engine_)));
        return;
    }
    if (std::uncaught_exceptions() > exceptions_at_start_) engine_->terminate();
    engine_->close();
    static_cast<void>(engine_->join(Timeout::never()));
}

template <class F, class... Args>
auto Pool::apply_async(F&& f, Args&&... args) -> Future<typename detail::CallTraits<std::decay_t<F>, Args...>::Result> {
    using Callable = std::decay_t<F>;
    detail::check_task<Callable, Args...>();
    using Traits = detail::CallTraits<Callable, Args...>;
    detail::Engine& engine = this->engine();
    auto state = detail::make_state<detail::CallState<typename Traits::Result>>(engine_);
    auto future = plait::detail::future_of<typename Traits::Result>(state);
    detail::Batch batch;
    try {
        const Callable callable(std::forward<F>(f));
        batch.call = make_call<typename Traits::Travel>(callable, *state);
        batch.add(
            [&](Encoder& out) { detail::write_arguments<typename Traits::Travel>(out, std::forward<Args>(args)...); });
    } catch (const CodecError&) {
        state->fail(0, std::current_exception());
        return future;
    }
    std::vector<detail::Batch> batches;
    batches.push_back(std::move(batch));
    engine.submit(std::move(batches));
    return future;
}

template <class F, detail::Iterable Items>
auto Pool::map_async(F&& f, Items&& items, std::size_t chunk_size) {
    using Callable = std::decay_t<F>;
    using Item = detail::ItemOf<Items>;
    detail::check_task<Callable, Item>();
    using Traits = detail::CallTraits<Callable, Item>;
    const Callable callable(std::forward<F>(f));
    return map_items<typename Traits::Travel, Callable, typename Traits::Result>(
        callable, items, chunk_size, [](Encoder& out, auto&& item) {
            detail::write_arguments<typename Traits::Travel>(out, std::forward<decltype(item)>(item));
        });
}

template <class F, detail::Iterable Items>
auto Pool::starmap_async(F&& f, Items&& items, std::size_t chunk_size) {
    using Callable = std::decay_t<F>;
    using Traits = detail::StarTraits<Callable, std::remove_cvref_t<detail::ItemOf<Items>>>;
    Traits::check();
    const Callable callable(std::forward<F>(f));
    return map_items<typename Traits::Travel, Callable, typename Traits::Result>(
        callable, items, chunk_size, [](Encoder& out, auto&& item) {
            std::apply(
                [&](const auto&... arguments) { detail::write_arguments<typename Traits::Travel>(out, arguments...); },
                item);
        });
}

template <class Travel, class Callable, class Result, class Items, class Write>
auto Pool::map_items(const Callable& callable, Items&& items, std::size_t chunk_size, Write write) {
    detail::Engine& engine = this->engine();
    auto state = detail::make_state<detail::MapState<Result>>(engine_);
    auto future = plait::detail::future_of(
        plait::detail::StatePointer<plait::detail::FutureState<typename detail::MapState<Result>::Whole>>(state));
    auto call = make_call<Travel>(callable, *state);

    // All items are encoded before any is sent: a range that throws half way has done nothing.
    detail::Batch all;
    try {
        for (auto&& item : items) all.add([&](Encoder& out) { write(out, std::forward<decltype(item)>(item)); });
    } catch (const CodecError&) {
        state->fail_all(std::current_exception());
        return future;
    }
    all.call = std::move(call);
    // Four chunks a worker, as Python's: few enough to be cheap, enough to even out.
    if (chunk_size == 0) chunk_size = all.count / (4 * engine.processes()) + 1;
    state->expect(all.count);
    std::vector<detail::Batch> batches;
    if (all.count > chunk_size) {
        batches.reserve((all.count - 1) / chunk_size + 1);
        for (std::size_t begin = 0; begin < all.count; begin += chunk_size)
            batches.push_back(all.slice(begin, begin + (std::min)(chunk_size, all.count - begin)));
    } else if (all.count > 0) {
        batches.push_back(std::move(all));
    }
    if (!batches.empty()) engine.submit(std::move(batches));
    return future;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
