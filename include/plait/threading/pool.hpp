// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/wait.hpp>
#include <plait/os/thread.hpp>
#include <plait/threading/detail/bound_call.hpp>
#include <plait/threading/detail/bulk.hpp>
#include <plait/threading/detail/fork_join.hpp>
#include <plait/threading/detail/pool_core.hpp>
#include <plait/threading/detail/pool_task.hpp>
#include <plait/threading/imap.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

/// Anything that a range-for goes over.
template <class Range>
concept Iterable = requires(Range& range) { std::ranges::begin(range) != std::ranges::end(range); };

/// Whether `F` can be called with the elements of a `Tuple`.
template <class F, class Tuple, class Numbers = std::make_index_sequence<std::tuple_size_v<std::remove_cvref_t<Tuple>>>>
struct TakesElementsOf;
template <class F, class Tuple, std::size_t... numbers>
struct TakesElementsOf<F, Tuple, std::index_sequence<numbers...>>
    : std::is_invocable<F&, decltype(std::get<numbers>(std::declval<Tuple>()))...> {};

/// Calls `f` with the elements of each tuple.
template <class F>
struct Starred {
    template <class Tuple>
    static constexpr bool takes = TakesElementsOf<F, Tuple>::value;

    F f;
    template <class Tuple>
    decltype(auto) operator()(Tuple&& tuple) {
        return std::apply(f, std::forward<Tuple>(tuple));
    }
};

}  // namespace detail

/// Runs calls on a fixed number of threads: the tool for work that keeps processors busy and does not crash.
///
/// Python: multiprocessing.pool.ThreadPool and concurrent.futures.ThreadPoolExecutor. For code that may crash use
/// multiprocessing::Pool; for many waits at once, asyncio.
///
///     ThreadPool pool;
///     Future<int> answer = pool.apply_async([](int x) { return x * x; }, 7);
///     std::vector<double> roots = pool.map([](double x) { return std::sqrt(x); }, numbers);
///     std::cout << answer.get();
///
/// A call is run in no particular order with others; its callable and arguments are kept by value and gone before its
/// result is there. A callable given to `apply`, `apply_async`, `submit` or `post` that takes a StopToken before its
/// arguments is told there of `terminate`. Of a call's end tells its future: `get`, or `add_done_callback`; of several,
/// `plait::wait` and `as_completed`.
/// Waiting: a call that waits for a future runs the awaited call itself if that still queues, else only calls that it,
/// or those, have submitted, else it sleeps while a spare thread stands in for it (32 at most). So to wait for what one
/// has submitted, holding no lock, never deadlocks.
/// Threads: every member but moves and destruction from any thread, also from calls.
/// Lifetime: the destructor closes and joins; while an exception unwinds the scope, it terminates and joins. In a call of
/// its own it does not wait for that call.
class ThreadPool {
public:
    /// As many threads as processors may be used.
    ThreadPool() : ThreadPool(std::int64_t{os::usable_processors()}) {}
    /// Throws: std::invalid_argument for less than one; std::system_error where there are not so many threads.
    explicit ThreadPool(std::int64_t workers) : core_{make_core(workers)}, exceptions_{std::uncaught_exceptions()} {}
    ThreadPool(ThreadPool&&) noexcept = default;
    ThreadPool& operator=(ThreadPool other) noexcept {
        core_.swap(other.core_);
        std::swap(exceptions_, other.exceptions_);
        return *this;
    }
    ~ThreadPool() {
        if (core_ == nullptr) return;
        if (std::uncaught_exceptions() > exceptions_)
            core_->terminate();
        else
            core_->close();
        core_->join();
    }

    /// Has `f(args...)` called, and returns its result's future. Throws: UsageError after `close`.
    template <class F, class... Args>
    Future<detail::CallResult<F, Args...>> apply_async(F&& f, Args&&... args) {
        if constexpr (detail::check_callable_later<F, Args...>())
            return detail::submit_call(core(), std::forward<F>(f), std::forward<Args>(args)...);
        else
            return {};
    }
    /// The same; Python's executors call it so.
    template <class F, class... Args>
    Future<detail::CallResult<F, Args...>> submit(F&& f, Args&&... args) {
        return apply_async(std::forward<F>(f), std::forward<Args>(args)...);
    }
    /// Has it called and waits: returns what it returns, throws what it throws.
    template <class F, class... Args>
    detail::CallResult<F, Args...> apply(F&& f, Args&&... args) {
        return apply_async(std::forward<F>(f), std::forward<Args>(args)...).get();
    }

    /// Has it called, and lets nobody know when: what it returns is dropped, and what it throws is reported
    /// (`set_unraisable_hook`); after `terminate` it is dropped itself. The quickest way for calls that tell of their ends
    /// themselves.
    template <class F, class... Args>
    void post(F&& f, Args&&... args) {
        if constexpr (detail::check_callable_later<F, Args...>())
            detail::post_call(core(), std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// Calls `f` with each item of `range`, several at once, and gives the results in the items' order; nothing where
    /// they are void. `f` is shared by the threads and must bear it.
    ///
    /// All items are run; then the error of the first that failed is thrown. `chunk` items at a time are taken up; 0
    /// means some sixteen chunks for each thread. The range is read by the calling thread before anything is called.
    template <class F, detail::Iterable Range>
    auto map(F&& f, Range&& range, std::size_t chunk = 0) {
        return run_all(f, detail::items_of<detail::Lifetime::of_map>(range), chunk);
    }
    /// Returns at once the future of what `map` gives. The items are copied.
    template <class F, detail::Iterable Range>
    auto map_async(F&& f, Range&& range, std::size_t chunk = 0) {
        return start_all(std::decay_t<F>(std::forward<F>(f)), detail::items_of<detail::Lifetime::of_call>(range),
                         chunk);
    }
    /// As `map`, of a range of tuples: each holds the arguments of a call.
    template <class F, detail::Iterable Range>
    auto starmap(F&& f, Range&& range, std::size_t chunk = 0) {
        detail::Starred<F&> starred{f};
        return run_all(starred, detail::items_of<detail::Lifetime::of_map>(range), chunk);
    }
    /// As `map_async`, of a range of tuples.
    template <class F, detail::Iterable Range>
    auto starmap_async(F&& f, Range&& range, std::size_t chunk = 0) {
        return start_all(detail::Starred<std::decay_t<F>>{std::forward<F>(f)},
                         detail::items_of<detail::Lifetime::of_call>(range), chunk);
    }

    /// Reads the whole range, and returns a range of what `map` gives, in the items' order, each as soon as it is there.
    /// The items are copied; `chunk` of them at a time are taken up.
    ///
    /// Where the range throws while it is read, its error comes after the results of the items before.
    template <class F, detail::Iterable Range>
    auto imap(F&& f, Range&& range, std::size_t chunk = 1) {
        return start_imap(std::forward<F>(f), range, chunk, detail::Order::of_items);
    }
    /// The same, in the order in which they come.
    template <class F, detail::Iterable Range>
    auto imap_unordered(F&& f, Range&& range, std::size_t chunk = 1) {
        return start_imap(std::forward<F>(f), range, chunk, detail::Order::of_completion);
    }

    /// Calls `f(i)` for each i from `first` up to but not `last`, several at once; errors as of `map`.
    template <std::integral First, std::integral Last, class F>
    void parallel_for(First first, Last last, F&& f, std::size_t chunk = 0) {
        using Integer = std::common_type_t<First, Last>;
        if constexpr (std::is_signed_v<First> != std::is_signed_v<Last>)
            if (first < First{0} || last < Last{0})
                throw std::invalid_argument(
                    "parallel_for: a negative number beside one without a sign: give both the same type");
        const auto from = static_cast<Integer>(first);
        const auto to = static_cast<Integer>(last);
        const auto call = [&f](Integer i) { static_cast<void>(f(i)); };
        // Without a sign: the difference may be more than an Integer holds.
        const auto count = static_cast<std::uintmax_t>(to) - static_cast<std::uintmax_t>(from);
        if (from < to && count > SIZE_MAX)
            throw std::invalid_argument("parallel_for: more numbers than std::size_t holds");
        run_all(call, detail::Indices<Integer>{from, from < to ? static_cast<std::size_t>(count) : 0}, chunk);
    }

    /// Calls all of `f...`, several at once, and returns when all have ended: fork and join, for what divides and conquers.
    /// Then throws the first error in their order.
    ///
    ///     long sum(std::span<const long> part) {
    ///         if (part.size() < 1000) return std::accumulate(part.begin(), part.end(), 0L);
    ///         long left = 0;
    ///         long right = 0;
    ///         pool.parallel_invoke([&] { left = sum(part.first(part.size() / 2)); },
    ///                              [&] { right = sum(part.subspan(part.size() / 2)); });
    ///         return left + right;
    ///     }
    ///
    /// Called in a call of this pool it allocates nothing and costs some ten nanoseconds for each of `f...`; that call
    /// may also go on with it after `close`.
    template <class... F>
        requires(sizeof...(F) > 0 && (std::is_invocable_v<F&> && ...))
    void parallel_invoke(F&&... f) {
        detail::invoke_all(core(), f...);
    }

    /// Takes no more calls; those made are run. Any number of times.
    void close() { core().close(); }
    /// Fails the calls that have not begun with PoolTerminatedError, and asks those that run to stop, by their StopToken;
    /// waits for none. Takes no more calls. Any number of times.
    void terminate() { core().terminate(); }
    /// Waits until all calls have run and the threads have ended. Throws: UsageError before `close` or `terminate`, and
    /// in a call of the pool.
    void join();

    /// How many threads there are to run calls.
    std::size_t size() const { return core().size(); }
    /// How many of them sleep for want of calls; for tests and diagnosis.
    std::size_t waiting() const { return core().idle(); }

private:
    static std::shared_ptr<detail::PoolCore> make_core(std::int64_t workers) {
        if (workers < 1)
            throw std::invalid_argument("a ThreadPool needs at least one thread, not " + std::to_string(workers));
        auto core = std::make_shared<detail::PoolCore>(static_cast<std::size_t>(workers));
        core->start();
        return core;
    }
    [[nodiscard]] detail::PoolCore& core() const {
        if (core_ == nullptr) throw UsageError("this ThreadPool was moved from: use the one that it was moved to");
        return *core_;
    }
    /// What is told of an item that does not fit, in one sentence.
    template <class F, class Item>
    static constexpr bool check_takes_item() {
        if constexpr (requires { F::template takes<Item>; }) {
            static_assert(
                F::template takes<Item>,
                "starmap calls the callable with the elements of each tuple in the range: it cannot be called "
                "with those");
            return F::template takes<Item>;
        } else {
            static_assert(
                std::is_invocable_v<F&, Item>,
                "map and imap call the callable with one item of the range: it cannot be called with that; for "
                "tuples of arguments there is starmap");
            return std::is_invocable_v<F&, Item>;
        }
    }
    template <class F, class Items>
    auto start_all(F&& f, Items items, std::size_t chunk) {
        if constexpr (check_takes_item<std::remove_reference_t<F>, decltype(items[0])>())
            return detail::submit_bulk(core(), std::forward<F>(f), std::move(items), chunk);
        else
            return Future<void>{};
    }
    template <class F, class Items>
    auto run_all(F& f, Items items, std::size_t chunk) {
        return start_all(f, std::move(items), chunk).get();
    }

    template <class F, class Range>
    auto start_imap(F&& f, Range& range, std::size_t chunk, detail::Order order) {
        using Items = detail::OwnItems<std::iter_value_t<decltype(std::ranges::begin(range))>>;
        using Callable = std::decay_t<F>;
        if constexpr (!check_takes_item<Callable, decltype(std::declval<Items&>()[0])>()) {
            return detail::imap_of<void>(nullptr, 0, nullptr);
        } else {
            using R = std::remove_cvref_t<decltype(std::apply(std::declval<Callable&>(),
                                                              std::forward_as_tuple(std::declval<Items&>()[0])))>;
            std::exception_ptr range_error;
            Items items;
            try {
                items.append(std::ranges::begin(range), std::ranges::end(range));
            } catch (...) {
                range_error = std::current_exception();
            }
            const std::size_t count = items.size();
            auto state = std::make_shared<detail::ImapStateOf<R, Callable, Items>>(
                core(), order, chunk, std::forward<F>(f), std::move(items));
            state->submit();
            return detail::imap_of<R>(std::move(state), count, std::move(range_error));
        }
    }

    std::shared_ptr<detail::PoolCore> core_;
    int exceptions_;  // how many unwound when it was made
};

inline void ThreadPool::join() {
    detail::PoolCore& core = this->core();
    if (!core.closed())
        throw UsageError("join of a pool that is open would wait for ever: close() or terminate() it first");
    const detail::Worker* const worker = detail::Worker::current();
    if (worker != nullptr && &worker->pool() == &core)
        throw UsageError("a call that joins its own pool would wait for itself: join it from outside");
    core.join();
}

}  // namespace plait::inline PLAIT_ABI::threading
