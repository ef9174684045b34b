// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/detail/bulk.hpp>
#include <plait/threading/detail/inbox.hpp>
#include <plait/threading/detail/pool_core.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

/// In which order an imap gives its results: that of the items, or that in which they come.
enum class Order { of_items, of_completion };

/// What an imap, its workers and its reader share: the results, and which is to be read next.
///
/// A result is announced in `turns_`: at its item's place, or at the next free one. The reader waits for the place that it
/// is at. It says so in `awaited_` and looks at the place again, while who announces a result looks at `awaited_` after
/// that; both by seq_cst, so that one of them sees the other.
template <class R>
class ImapState : public std::enable_shared_from_this<ImapState<R>> {
public:
    ImapState(PoolCore& pool, Order order, std::size_t size, std::size_t chunk)
        : pool_{pool},
          order_{order},
          size_{size},
          chunk_{(std::max)((std::min)(chunk, size), std::size_t{1})},
          results_(size),
          turns_{new std::atomic<std::size_t>[size] {}} {}
    ImapState(const ImapState&) = delete;
    ImapState& operator=(const ImapState&) = delete;
    virtual ~ImapState() = default;

    /// Throws: UsageError where the pool is closed; then nothing has begun.
    void submit() {
        const std::size_t chunks = size_ / chunk_ + (size_ % chunk_ != 0 ? 1 : 0);
        const std::size_t count = (std::min)(chunks, pool_.size());
        for (std::size_t i = 0; i < count; ++i) shares_.push_back(std::make_unique<Share>());
        for (std::size_t i = 0; i < count; ++i) {
            shares_[i]->state = this->shared_from_this();
            try {
                pool_.submit(*shares_[i]);
            } catch (...) {
                shares_[i]->state.reset();
                if (i == 0) throw;
                return;  // closed meanwhile: the shares before do it all
            }
        }
        if (count == 0) pool_.check_open();
    }
    /// Nobody reads any more: what has not begun will not.
    void abandon() noexcept { next_item_.exchange(size_, std::memory_order_relaxed); }

    /// The reader's: whether there is another result to wait for.
    [[nodiscard]] bool has_next() const noexcept { return next_turn_ < size_; }
    /// Waits for the next result; false where it was not there in time.
    [[nodiscard]] bool wait(Timeout timeout);
    /// The next result, for which `wait` has waited.
    Outcome<R> take() { return std::move(results_[turns_[next_turn_++].load(std::memory_order_acquire) - 1]); }

protected:
    /// Calls the function with item `i`.
    virtual void run_item(std::size_t i, Outcome<R>& result) noexcept = 0;

private:
    /// A worker's part, as the pool queues it.
    struct Share final : PoolTask {
        void run() noexcept override {
            while (!state->pool_.terminated() && state->run_chunk()) {
            }
            if (state->pool_.terminated()) state->discard_rest();
        }
        void discard() noexcept override { state->discard_rest(); }
        [[nodiscard]] bool begun() const noexcept override { return false; }
        void release() noexcept override { const auto last = std::move(state); }

        std::shared_ptr<ImapState> state;  // while it queues or runs
    };

    /// The reader's part, which never queues.
    struct ReadersShare final : PoolTask {
        explicit ReadersShare(ImapState& state_) noexcept : state{state_} {}
        void run() noexcept override { has_more = !state.pool_.terminated() && state.run_chunk(); }
        void discard() noexcept override {}
        [[nodiscard]] bool begun() const noexcept override { return false; }
        void release() noexcept override {}

        ImapState& state;
        bool has_more = true;
    };

    /// False where none was left.
    bool run_chunk() noexcept {
        if (next_item_.load(std::memory_order_relaxed) >= size_) return false;
        const std::size_t first = next_item_.fetch_add(chunk_, std::memory_order_relaxed);
        if (first >= size_) return false;
        const std::size_t last = first + (std::min)(chunk_, size_ - first);
        for (std::size_t i = first; i < last; ++i) {
            run_item(i, results_[i]);
            announce(i);
        }
        return true;
    }
    void discard_rest() noexcept {
        const std::size_t first = next_item_.exchange(size_, std::memory_order_relaxed);
        for (std::size_t i = first; i < size_; ++i) {
            results_[i].set_exception(pool_terminated());
            announce(i);
        }
    }
    void announce(std::size_t item) noexcept {
        const std::size_t turn = order_ == Order::of_items ? item : announced_.fetch_add(1, std::memory_order_relaxed);
        std::atomic<std::size_t>& place = turns_[turn];
        sync_point();
        // As a release it pairs with the reader's acquire: who sees the announcement sees the result.
        static_cast<void>(place.exchange(item + 1, std::memory_order_seq_cst));
        sync_point();
        if (awaited_.load(std::memory_order_seq_cst) == &place) parking::wake_all(&place);
    }

    PoolCore& pool_;
    const Order order_;
    const std::size_t size_;
    const std::size_t chunk_;
    std::vector<Outcome<R>> results_;
    std::unique_ptr<std::atomic<std::size_t>[]> turns_;  // an item's number and one; 0 while it has not come
    std::vector<std::unique_ptr<Share>> shares_;
    std::atomic<std::size_t> next_item_{0};      // the first that nobody has taken
    std::atomic<std::size_t> announced_{0};      // how many results have come, for Order::of_completion
    std::atomic<const void*> awaited_{nullptr};  // the place in turns_ that the reader sleeps for
    std::size_t next_turn_ = 0;                  // the reader's
};

template <class R>
bool ImapState<R>::wait(Timeout timeout) {
    const std::atomic<std::size_t>& place = turns_[next_turn_];
    // Acquire pairs with the exchange in announce.
    const auto has_come = [&] { return place.load(std::memory_order_acquire) != 0; };
    if (has_come()) return true;
    if (timeout.is_zero()) return false;
    const Deadline deadline{timeout};
    Worker* const worker = Worker::current();
    // A worker of the pool does its share: with one thread nobody else would. As a call of its own, for the items may
    // wait for what they submit, and the reader may be somebody else than who began the imap.
    if (worker != nullptr && &worker->pool() == &pool_) {
        ReadersShare share{*this};
        while (!has_come() && !deadline.has_passed() && share.has_more) worker->run_awaited(share);
    }
    if (spin_until(has_come)) return true;
    WaitHelper* const helper = wait_helper();
    if (helper != nullptr) helper->sleep_begins();
    static_cast<void>(awaited_.exchange(&place, std::memory_order_seq_cst));
    sync_point();
    const auto not_yet = [&] { return place.load(std::memory_order_seq_cst) == 0; };
    while (not_yet() && parking::sleep(&place, deadline, not_yet) != parking::Result::timed_out) {
    }
    awaited_.store(nullptr, std::memory_order_relaxed);
    if (helper != nullptr) helper->sleep_ends();
    return has_come();
}

template <class R, class F, class Items>
class ImapStateOf final : public ImapState<R> {
public:
    template <class Callable>
    ImapStateOf(PoolCore& pool, Order order, std::size_t chunk, Callable&& f, Items items)
        : ImapState<R>{pool, order, items.size(), chunk}, f_(std::forward<Callable>(f)), items_{std::move(items)} {}

private:
    void run_item(std::size_t i, Outcome<R>& result) noexcept override {
        result.run([&]() -> R { return std::apply(f_, std::forward_as_tuple(items_[i])); });
    }

    F f_;
    Items items_;
};

}  // namespace detail

/// The results of an `imap`, each as soon as it is there.
///
/// Python: what multiprocessing.pool.ThreadPool.imap and imap_unordered return.
///
///     for (const Page& page : pool.imap_unordered(fetch, addresses)) show(page);
///
/// An item whose call threw throws its error when it is its turn; the next ones can still be read. Of a void function
/// each result is an empty struct.
/// Threads: one reader at a time.
/// Lifetime: it may outlive its pool. Once it is gone, what has not begun is not called any more.
template <class R>
class [[nodiscard("calls that nobody reads are dropped")]] Imap {
    using Value = std::conditional_t<std::is_void_v<R>, plait::detail::Unit, R>;

public:
    class Iterator;

    Imap(Imap&&) noexcept = default;
    Imap& operator=(Imap other) noexcept {
        state_.swap(other.state_);
        std::swap(range_error_, other.range_error_);
        return *this;
    }
    ~Imap() {
        if (state_ != nullptr) state_->abandon();
    }

    /// Waits for the next result; nothing after the last. Throws: what its call threw, PoolTerminatedError.
    std::optional<Value> next() { return next(Timeout::never()); }
    /// Waits for `timeout` at most. Throws: TimeoutError; the result can be asked for again.
    std::optional<Value> next(Timeout timeout);

    /// Both wait; to be gone through once.
    Iterator begin() { return Iterator{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    friend class ThreadPool;
    Imap(std::shared_ptr<detail::ImapState<R>> state, std::exception_ptr range_error)
        : state_{std::move(state)}, range_error_{std::move(range_error)} {}

    std::shared_ptr<detail::ImapState<R>> state_;
    std::exception_ptr range_error_;  // what the range threw after its last item
};

template <class R>
class Imap<R>::Iterator {
public:
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    explicit Iterator(Imap& imap) : imap_{&imap}, value_{imap.next()} {}
    Iterator(Iterator&&) = default;
    Iterator& operator=(Iterator&&) = default;

    Value& operator*() const noexcept { return *value_; }
    Value* operator->() const noexcept { return &*value_; }
    Iterator& operator++() {
        value_.reset();
        auto next = imap_->next();
        if (next.has_value()) value_.emplace(std::move(*next));
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& iterator, std::default_sentinel_t) noexcept {
        return !iterator.value_.has_value();
    }

private:
    Imap* imap_;
    mutable std::optional<Value> value_;
};

template <class R>
std::optional<typename Imap<R>::Value> Imap<R>::next(Timeout timeout) {
    if (state_ == nullptr) throw UsageError("this Imap was moved from: use the one that it was moved to");
    if (!state_->has_next()) {
        if (range_error_) std::rethrow_exception(std::exchange(range_error_, nullptr));
        return std::nullopt;
    }
    if (!state_->wait(timeout)) throw TimeoutError("the next result was not there in time; it can be asked for again");
    auto outcome = state_->take();
    if constexpr (std::is_void_v<R>) {
        std::move(outcome).value();
        return Value{};
    } else {
        return std::move(outcome).value();
    }
}

}  // namespace plait::inline PLAIT_ABI::threading
