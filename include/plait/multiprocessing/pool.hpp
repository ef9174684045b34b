// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/imap.hpp>
#include <plait/core/progress.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/cpu_count.hpp>
#include <plait/multiprocessing/pool/engine.hpp>
#include <plait/multiprocessing/pool/imap_state.hpp>
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
    /// In bytes: a worker that is found to have more in memory while it runs a task is killed. It is looked at every 50 ms,
    /// where the system tells.
    std::optional<std::size_t> memory_limit = {};
    /// In bytes: a worker that has more in memory after a task is replaced by a fresh one, where the system tells.
    std::optional<std::size_t> max_memory_per_child = {};
    Timeout termination_grace =
        std::chrono::seconds{1};  ///< between asking a worker to end (SIGTERM) and ending it (SIGKILL)
    /// So many workers in a row that die before they can work break the pool, once one of them has died again in the place of
    /// another: many that are killed at once do not.
    int restart_limit = 5;
    std::optional<StartMethod> start_method = {};  ///< `get_start_method()` where it is empty
    std::string name = "PoolWorker";               ///< its workers are called that, `-` and a number
};

/// What one call may be told.
struct CallOptions {
    std::optional<Timeout> timeout = {};  ///< of this call, in place of the pool's `task_timeout`
};

/// What a call with many items may be told.
struct MapOptions {
    std::size_t chunk_size = 0;           ///< how many items travel together; 0 chooses
    std::optional<Timeout> timeout = {};  ///< of each item, in place of the pool's `task_timeout`
    Progress progress = {};               ///< is told how many are done
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
        requires detail::NoOptions<F>
    auto apply(F&& f, Args&&... args) {
        return apply(CallOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
    auto apply(CallOptions options, F&& f, Args&&... args) {
        std::shared_ptr<detail::Call> call;
        auto future = prepare(call, options, std::forward<F>(f), std::forward<Args>(args)...);
        if (call == nullptr) return std::move(future).get();
        // From the start: no other thread need be woken for its result.
        const detail::Engine::Attendance attendance{*engine_};
        engine_->submit(std::move(call));
        return std::move(future).get();
    }

    /// Calls `f(args...)` in a worker, some time; `cancel` of the future ends it, also while it runs.
    /// Throws: UsageError after `close`; BrokenPoolError. What is wrong with the arguments is the future's error.
    template <class F, class... Args>
        requires detail::NoOptions<F>
    auto apply_async(F&& f, Args&&... args) {
        return apply_async(CallOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
    auto apply_async(CallOptions options, F&& f, Args&&... args)
        -> Future<typename detail::CallTraits<std::decay_t<F>, Args...>::Result>;
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
        return map(std::forward<F>(f), std::forward<Items>(items), MapOptions{.chunk_size = chunk_size});
    }
    template <class F, detail::Iterable Items>
    auto map(F&& f, Items&& items, MapOptions options) {
        return map_async(std::forward<F>(f), std::forward<Items>(items), std::move(options)).get();
    }
    template <class F, detail::Iterable Items>
    auto map_async(F&& f, Items&& items, std::size_t chunk_size = 0) {
        return map_async(std::forward<F>(f), std::forward<Items>(items), MapOptions{.chunk_size = chunk_size});
    }
    template <class F, detail::Iterable Items>
    auto map_async(F&& f, Items&& items, MapOptions options);
    /// As `map`, for items that are tuples of arguments.
    template <class F, detail::Iterable Items>
    auto starmap(F&& f, Items&& items, std::size_t chunk_size = 0) {
        return starmap(std::forward<F>(f), std::forward<Items>(items), MapOptions{.chunk_size = chunk_size});
    }
    template <class F, detail::Iterable Items>
    auto starmap(F&& f, Items&& items, MapOptions options) {
        return starmap_async(std::forward<F>(f), std::forward<Items>(items), std::move(options)).get();
    }
    template <class F, detail::Iterable Items>
    auto starmap_async(F&& f, Items&& items, std::size_t chunk_size = 0) {
        return starmap_async(std::forward<F>(f), std::forward<Items>(items), MapOptions{.chunk_size = chunk_size});
    }
    template <class F, detail::Iterable Items>
    auto starmap_async(F&& f, Items&& items, MapOptions options);

    /// Calls `f` with each item; the results in the items' order, each as soon as it is there. All items are read now.
    template <class F, detail::Iterable Items>
    auto imap(F&& f, Items&& items, std::size_t chunk_size = 1) {
        return imap(std::forward<F>(f), std::forward<Items>(items), MapOptions{.chunk_size = chunk_size});
    }
    template <class F, detail::Iterable Items>
    auto imap(F&& f, Items&& items, MapOptions options) {
        return start_imap(std::forward<F>(f), items, options, plait::detail::Order::of_items);
    }
    template <class F, detail::Iterable Items>
    auto imap_unordered(F&& f, Items&& items, std::size_t chunk_size = 1) {
        return imap_unordered(std::forward<F>(f), std::forward<Items>(items), MapOptions{.chunk_size = chunk_size});
    }
    template <class F, detail::Iterable Items>
    auto imap_unordered(F&& f, Items&& items, MapOptions options) {
        return start_imap(std::forward<F>(f), items, options, plait::detail::Order::of_completion);
    }

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
    std::shared_ptr<detail::Call> make_call(const F& callable, detail::ItemSink& sink,
                                            const std::optional<Timeout>& timeout) const {
        return std::make_shared<detail::Call>(sink, detail::name_callable<Travel>(callable), detail::callable_name<F>(),
                                              timeout.value_or(task_timeout_));
    }
    /// The call of one item, null where it cannot be encoded, and its future.
    template <class F, class... Args>
    auto prepare(std::shared_ptr<detail::Call>& call, const CallOptions& options, F&& f, Args&&... args) const
        -> Future<typename detail::CallTraits<std::decay_t<F>, Args...>::Result>;
    /// `write(out, item)` encodes the arguments that the call of `Travel` gets from an item.
    template <class Travel, class Callable, class Result, class Items, class Write>
    auto map_items(const Callable& callable, Items&& items, const MapOptions& options, Write write);

    template <class F, detail::Iterable Items>
    auto start_imap(F&& f, Items&& items, const MapOptions& options, plait::detail::Order order);

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
    if (options.restart_limit < 1) throw std::invalid_argument("plait: restart_limit is at least one worker");
    detail::CrewOptions crew;
    crew.processes = static_cast<std::size_t>(options.processes.value_or(static_cast<int>(cpu_count())));
    crew.start_method = options.start_method.value_or(get_start_method());
    if (options.initializer) crew.initializer = std::move(options.initializer->call_);
    if (options.max_tasks_per_child)
        crew.max_tasks_per_child = static_cast<std::uint64_t>(*options.max_tasks_per_child);
    crew.memory_limit = options.memory_limit;
    crew.max_memory_per_child = options.max_memory_per_child;
    crew.termination_grace = options.termination_grace.duration();
    crew.restart_limit = static_cast<unsigned>(options.restart_limit);
    crew.name = std::move(options.name);
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
auto Pool::prepare(std::shared_ptr<detail::Call>& call, const CallOptions& options, F&& f, Args&&... args) const
    -> Future<typename detail::CallTraits<std::decay_t<F>, Args...>::Result> {
    using Callable = std::decay_t<F>;
    detail::check_task<Callable, Args...>();
    using Traits = detail::CallTraits<Callable, Args...>;
    static_cast<void>(engine());
    auto state = detail::make_state<detail::CallState<typename Traits::Result>>(engine_);
    auto future = plait::detail::future_of<typename Traits::Result>(state);
    if constexpr (detail::call_fits<Callable, Args...>()) {
        try {
            const Callable callable(std::forward<F>(f));
            auto made = make_call<typename Traits::Travel>(callable, *state, options.timeout);
            Encoder scratch;
            made->add(scratch, [&](Encoder& out) {
                detail::write_arguments<typename Traits::Travel>(out, std::forward<Args>(args)...);
            });
            call = std::move(made);
        } catch (const CodecError&) {
            state->fail(0, std::current_exception());
        }
    }
    return future;
}

template <class F, class... Args>
auto Pool::apply_async(CallOptions options, F&& f, Args&&... args)
    -> Future<typename detail::CallTraits<std::decay_t<F>, Args...>::Result> {
    std::shared_ptr<detail::Call> call;
    auto future = prepare(call, options, std::forward<F>(f), std::forward<Args>(args)...);
    if (call != nullptr) engine_->submit(std::move(call));
    return future;
}

template <class F, detail::Iterable Items>
auto Pool::map_async(F&& f, Items&& items, MapOptions options) {
    using Callable = std::decay_t<F>;
    using Item = detail::ItemOf<Items>;
    detail::check_task<Callable, Item>();
    using Traits = detail::CallTraits<Callable, Item>;
    const Callable callable(std::forward<F>(f));
    return map_items<typename Traits::Travel, Callable, typename Traits::Result>(
        callable, items, options, [](Encoder& out, auto&& item) {
            if constexpr (detail::call_fits<Callable, Item>())
                detail::write_arguments<typename Traits::Travel>(out, std::forward<decltype(item)>(item));
        });
}

template <class F, detail::Iterable Items>
auto Pool::starmap_async(F&& f, Items&& items, MapOptions options) {
    using Callable = std::decay_t<F>;
    using Traits = detail::StarTraits<Callable, std::remove_cvref_t<detail::ItemOf<Items>>>;
    Traits::check();
    const Callable callable(std::forward<F>(f));
    return map_items<typename Traits::Travel, Callable, typename Traits::Result>(
        callable, items, options, [](Encoder& out, auto&& item) {
            if constexpr (Traits::fit())
                std::apply(
                    [&](const auto&... arguments) {
                        detail::write_arguments<typename Traits::Travel>(out, arguments...);
                    },
                    item);
        });
}

template <class Travel, class Callable, class Result, class Items, class Write>
auto Pool::map_items(const Callable& callable, Items&& items, const MapOptions& options, Write write) {
    detail::Engine& engine = this->engine();
    auto state = detail::make_state<detail::MapState<Result>>(engine_);
    auto future = plait::detail::future_of(
        plait::detail::StatePointer<plait::detail::FutureState<typename detail::MapState<Result>::Whole>>(state));
    auto call = make_call<Travel>(callable, *state, options.timeout);

    // All items are encoded before any is sent: a range that throws half way has done nothing.
    try {
        Encoder scratch;
        for (auto&& item : items)
            call->add(scratch, [&](Encoder& out) { write(out, std::forward<decltype(item)>(item)); });
    } catch (const CodecError&) {
        state->fail_all(std::current_exception());
        return future;
    }
    // Four chunks a worker, as Python's: few enough to be cheap, enough to even out.
    call->chunk = options.chunk_size != 0 ? options.chunk_size : call->count / (4 * engine.processes()) + 1;
    state->expect(call->count, detail::make_teller(engine_, options.progress, call->count));
    if (call->count > 0) engine.submit(std::move(call));
    state->start_progress();
    return future;
}

template <class F, detail::Iterable Items>
auto Pool::start_imap(F&& f, Items&& items, const MapOptions& options, plait::detail::Order order) {
    using Callable = std::decay_t<F>;
    using Item = detail::ItemOf<Items>;
    detail::check_task<Callable, Item>();
    using Traits = detail::CallTraits<Callable, Item>;
    using Result = typename Traits::Result;
    detail::Engine& engine = this->engine();
    const Callable callable(std::forward<F>(f));
    auto state = detail::make_imap_state<Result>(engine_, order);
    auto call = make_call<typename Traits::Travel>(callable, *state, options.timeout);
    call->told_singly = true;
    call->chunk = (std::max)(options.chunk_size, std::size_t{1});

    std::vector<detail::RefusedItem> refused;
    std::exception_ptr range_error;
    auto add = [&, scratch = Encoder(), at = std::size_t{0}](auto&& item) mutable {
        try {
            call->add(scratch, [&](Encoder& out) {
                if constexpr (detail::call_fits<Callable, Item>())
                    detail::write_arguments<typename Traits::Travel>(out, std::forward<decltype(item)>(item));
            });
        } catch (const CodecError&) {
            refused.push_back({at, std::current_exception()});
        }
        ++at;
    };
    try {
        for (auto&& item : items) add(std::forward<decltype(item)>(item));
    } catch (...) {
        range_error = std::current_exception();
    }
    const std::size_t total = call->count + refused.size();
    state->expect(call->count, std::move(refused), detail::make_teller(engine_, options.progress, total));
    if (call->count > 0) engine.submit(std::move(call));
    return detail::read(std::move(state), std::move(range_error));
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
