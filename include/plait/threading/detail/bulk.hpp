// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/future.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/outcome.hpp>
#include <plait/threading/detail/bound_call.hpp>
#include <plait/threading/detail/inbox.hpp>
#include <plait/threading/detail/pool_core.hpp>
#include <plait/threading/detail/pool_task.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading::detail {

// Where the items of a map come from: each tells `size()` and gives item `i` once, to whichever thread asks.

/// Items that stand side by side and outlive the map.
template <class T>
class ItemsInPlace {
public:
    ItemsInPlace(T* first, std::size_t count) noexcept : first_{first}, size_{count} {}
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    T& operator[](std::size_t i) const noexcept { return first_[i]; }

private:
    T* first_;
    std::size_t size_;
};

/// Items that outlive the map anywhere: a list's, a set's.
template <class T>
class ItemsByAddress {
public:
    template <class Iterator, class Sentinel>
    ItemsByAddress(Iterator at, Sentinel last) {
        for (; at != last; ++at) addresses_.push_back(std::addressof(*at));
    }
    [[nodiscard]] std::size_t size() const noexcept { return addresses_.size(); }
    T& operator[](std::size_t i) const noexcept { return *addresses_[i]; }

private:
    std::vector<T*> addresses_;
};

/// Items of our own, each moved into its call.
template <class T>
class OwnItems {
public:
    OwnItems() = default;
    template <class Iterator, class Sentinel>
    OwnItems(Iterator at, Sentinel last) {
        append(std::move(at), std::move(last));
    }
    /// Where reading throws, the items before it are kept.
    template <class Iterator, class Sentinel>
    void append(Iterator at, Sentinel last) {
        for (; at != last; ++at) items_.push_back(Item{*at});
    }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
    T&& operator[](std::size_t i) noexcept { return std::move(items_[i].value); }

private:
    struct Item {  // a vector of bare bools would pack them
        T value;
    };
    std::vector<Item> items_;
};

template <class Integer>
class Indices {
public:
    Indices(Integer first, std::size_t count) noexcept : first_{first}, size_{count} {}
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    // Without a sign: the difference to the first may be more than an Integer holds.
    Integer operator[](std::size_t i) const noexcept {
        return static_cast<Integer>(static_cast<std::uintmax_t>(first_) + i);
    }

private:
    Integer first_;
    std::size_t size_;
};

/// How long a caller's range is there: until the map has returned, or only for the call that starts it.
enum class Lifetime { of_map, of_call };

template <Lifetime lifetime, class Range>
auto items_of(Range&& range) {
    auto first = std::ranges::begin(range);
    auto last = std::ranges::end(range);
    using Iterator = decltype(first);
    using Reference = std::iter_reference_t<Iterator>;
    constexpr bool stays = lifetime == Lifetime::of_map && std::is_lvalue_reference_v<Reference>;
    if constexpr (stays && std::contiguous_iterator<Iterator> && std::sized_sentinel_for<decltype(last), Iterator>)
        return ItemsInPlace<std::remove_reference_t<Reference>>{std::to_address(first),
                                                                static_cast<std::size_t>(last - first)};
    else if constexpr (stays && std::forward_iterator<Iterator>)
        return ItemsByAddress<std::remove_reference_t<Reference>>{std::move(first), std::move(last)};
    else
        return OwnItems<std::iter_value_t<Iterator>>{std::move(first), std::move(last)};
}

// Where the results go: `put(i, call)` from any thread, once for each i; `take()` after the last.

struct NoResults {
    using Taken = void;
    explicit NoResults(std::size_t) noexcept {}
    template <class Call>
    void put(std::size_t, Call&& call) {
        static_cast<void>(call());
    }
    void take() noexcept {}
};

/// Results that cost nothing to make twice are written straight to their places.
template <class R>
struct PlainResults {
    using Taken = std::vector<R>;
    explicit PlainResults(std::size_t size) : results(size) {}
    template <class Call>
    void put(std::size_t i, Call&& call) {
        results[i] = call();
    }
    Taken take() noexcept { return std::move(results); }

    std::vector<R> results;
};

/// Any others, also those without a default; and bool, which a vector packs so that neighbours share a byte.
template <class R>
struct HeldResults {
    using Taken = std::vector<R>;
    explicit HeldResults(std::size_t size) : results(size) {}
    template <class Call>
    void put(std::size_t i, Call&& call) {
        results[i].set_value(call());
    }
    Taken take() {
        Taken taken;
        taken.reserve(results.size());
        for (auto& result : results) taken.push_back(std::move(result).value());
        return taken;
    }

    std::vector<Outcome<R>> results;
};

template <class R>
using ResultsOf = std::conditional_t<std::is_void_v<R>, NoResults,
                                     std::conditional_t<std::is_trivially_default_constructible_v<R> &&
                                                            std::is_trivially_copyable_v<R> && !std::is_same_v<R, bool>,
                                                        PlainResults<R>, HeldResults<R>>>;

/// One map: the state of its future, and the shares in it that the workers take up.
///
/// Workers take chunks off a counter until none is left; who finishes the last item makes the result ready. All items
/// run; of several errors that of the first item is kept.
template <class R, class F, class Items>
class BulkTask final : public FutureState<typename ResultsOf<R>::Taken> {
    using Results = ResultsOf<R>;

public:
    template <class Callable>
    BulkTask(PoolCore& pool, Callable&& f, Items items, std::size_t chunk)
        : pool_{pool},
          size_{items.size()},
          chunk_{chunk},
          work_{std::in_place, std::forward<Callable>(f), std::move(items), size_} {
        chunk_ = (std::min)(chunk_, size_);  // so that no sum of a few chunks overflows
        if (chunk_ == 0) chunk_ = (std::max)(size_ / (chunks_a_worker * pool.size()), std::size_t{1});
        const std::size_t chunks = size_ / chunk_ + (size_ % chunk_ != 0 ? 1 : 0);
        for (std::size_t i = 0; i < (std::min)(chunks, pool.size()); ++i)
            shares_.push_back(std::make_unique<Share>(*this));
    }

    /// Throws: UsageError where the pool is closed; then nothing has begun.
    void submit() {
        if (shares_.empty()) {
            pool_.check_open();
            if (this->claim_unstarted()) settle_claimed();
            return;
        }
        static_cast<void>(this->start());  // nothing cancels a map
        for (std::size_t i = 0; i < shares_.size(); ++i) {
            this->add_owner();
            try {
                pool_.submit(*shares_[i]);
            } catch (...) {
                this->drop_owner();
                if (i == 0) throw;
                return;  // closed meanwhile: the shares before do it all
            }
        }
    }

    void* task_in(const void* pool) noexcept override {
        return pool == &pool_ && !shares_.empty() ? static_cast<PoolTask*>(&own_share_) : nullptr;
    }

private:
    static constexpr std::size_t chunks_a_worker = 16;

    /// A worker's part, as the pool queues it.
    class Share final : public PoolTask {
    public:
        explicit Share(BulkTask& task) noexcept : task_{task} {}
        void run() noexcept override { task_.run_share(); }
        void discard() noexcept override { task_.discard_rest(); }
        [[nodiscard]] bool begun() const noexcept override { return task_.all_taken(); }
        void release() noexcept override { task_.drop_owner(); }

    private:
        BulkTask& task_;
    };

    struct Work {
        template <class Callable>
        Work(Callable&& callable, Items what, std::size_t size)
            : f{std::forward<Callable>(callable)}, items{std::move(what)}, results{size} {}
        F f;
        Items items;
        Results results;
    };

    [[nodiscard]] bool all_taken() const noexcept { return next_.load(std::memory_order_relaxed) >= size_; }

    void run_share() noexcept {
        for (;;) {
            if (all_taken()) return;
            if (pool_.terminated()) return discard_rest();
            const std::size_t first = next_.fetch_add(chunk_, std::memory_order_relaxed);
            if (first >= size_) return;
            const std::size_t last = first + (std::min)(chunk_, size_ - first);
            run_items(first, last);
            if (count_done(last - first)) return;
        }
    }
    void run_items(std::size_t first, std::size_t last) noexcept {
        Work& work = *work_;
        for (std::size_t i = first; i < last; ++i) {
            // One try for a run of items, not one for each: so that the compiler can work on several at once.
            try {
                for (; i < last; ++i)
                    work.results.put(i,
                                     [&]() -> decltype(auto) { return std::apply(work.f, argument(work.items, i)); });
            } catch (...) {
                keep_error(i, std::current_exception());
            }
        }
    }
    static auto argument(Items& items, std::size_t i) noexcept { return std::tuple<decltype(items[i])>{items[i]}; }

    /// Once `all_taken`, `run_share` begins nothing more; what was not begun fails.
    void discard_rest() noexcept {
        const std::size_t first = next_.exchange(size_, std::memory_order_relaxed);
        if (first >= size_) return;
        keep_error(first, pool_terminated());
        this->mark_looked_at();
        count_done(size_ - first);
    }
    void keep_error(std::size_t item, std::exception_ptr error) noexcept {
        const std::scoped_lock lock{error_mutex_};
        if (error_ && error_item_ < item) return;
        error_ = std::move(error);
        error_item_ = item;
    }
    /// Returns whether these were the last.
    bool count_done(std::size_t items) noexcept {
        // acq_rel: who counts the last one sees what the others wrote.
        if (done_items_.fetch_add(items, std::memory_order_acq_rel) + items != size_) return false;
        if (this->claim()) settle_claimed();
        return true;
    }
    void settle_claimed() noexcept {
        auto& outcome = this->claimed_outcome();
        if (error_)
            outcome.set_exception(std::move(error_));
        else
            outcome.run([this] { return work_->results.take(); });
        work_.reset();  // who sees the result finds the callable and the items gone
        this->finish(this->done);
    }

    PoolCore& pool_;
    const std::size_t size_;
    std::size_t chunk_;
    std::optional<Work> work_;
    std::atomic<std::size_t> next_{0};        // the first item that nobody has taken
    std::atomic<std::size_t> done_items_{0};  // run or discarded
    std::mutex error_mutex_;                  // guards the next two while items run
    std::exception_ptr error_;
    std::size_t error_item_ = 0;
    std::vector<std::unique_ptr<Share>> shares_;
    Share own_share_{*this};  // never queued: for a worker that waits for this
};

/// Starts `f` on all `items` and returns the future of what comes of it. `F` is a reference where the caller waits.
template <class F, class Items>
auto submit_bulk(PoolCore& pool, F&& f, Items items, std::size_t chunk) {
    using Callable = std::conditional_t<std::is_lvalue_reference_v<F>, F, std::remove_cvref_t<F>>;
    using R = Returned<decltype(std::apply(std::declval<Callable&>(), std::tuple<decltype(items[0])>{items[0]}))>;
    using Result = std::conditional_t<std::is_void_v<R>, void, std::remove_reference_t<R>>;
    using Task = BulkTask<std::remove_cv_t<Result>, Callable, Items>;
    const StatePointer<Task> task{new Task(pool, std::forward<F>(f), std::move(items), chunk)};
    auto future = future_of(StatePointer<FutureState<typename ResultsOf<std::remove_cv_t<Result>>::Taken>>{task});
    task->submit();
    return future;
}

}  // namespace plait::inline PLAIT_ABI::threading::detail
