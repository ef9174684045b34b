// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/imap.hpp>
#include <plait/core/imap_turns.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/timeout.hpp>
#include <plait/threading/detail/bulk.hpp>
#include <plait/threading/detail/inbox.hpp>
#include <plait/threading/detail/pool_core.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

/// What an imap, its workers and its reader share: the results, and which is to be read next.
template <class R>
class ImapState : public plait::detail::ImapSource<R>, public std::enable_shared_from_this<ImapState<R>> {
public:
    ImapState(PoolCore& pool, Order order, std::size_t size, std::size_t chunk)
        : pool_{pool},
          size_{size},
          chunk_{(std::max)((std::min)(chunk, size), std::size_t{1})},
          results_(size),
          turns_{order, size} {}
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
    void leave() noexcept override { next_item_.exchange(size_, std::memory_order_relaxed); }
    [[nodiscard]] Outcome<R>* next(Timeout timeout) override {
        return turns_.has_come() || wait(timeout) ? &results_[turns_.take()] : nullptr;
    }

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

    /// Waits for the next result; false where it was not there in time.
    bool wait(Timeout timeout);
    /// False where none was left.
    bool run_chunk() noexcept {
        if (next_item_.load(std::memory_order_relaxed) >= size_) return false;
        const std::size_t first = next_item_.fetch_add(chunk_, std::memory_order_relaxed);
        if (first >= size_) return false;
        const std::size_t last = first + (std::min)(chunk_, size_ - first);
        for (std::size_t i = first; i < last; ++i) {
            run_item(i, results_[i]);
            turns_.announce(i);
        }
        return true;
    }
    void discard_rest() noexcept {
        const std::size_t first = next_item_.exchange(size_, std::memory_order_relaxed);
        for (std::size_t i = first; i < size_; ++i) {
            results_[i].set_exception(pool_terminated());
            turns_.announce(i);
        }
    }

    PoolCore& pool_;
    const std::size_t size_;
    const std::size_t chunk_;
    std::vector<Outcome<R>> results_;
    plait::detail::ImapTurns turns_;
    std::vector<std::unique_ptr<Share>> shares_;
    std::atomic<std::size_t> next_item_{0};  // the first that nobody has taken
};

template <class R>
bool ImapState<R>::wait(Timeout timeout) {
    if (timeout.is_zero()) return false;
    const Deadline deadline{timeout};
    Worker* const worker = Worker::current();
    // A worker of the pool does its share: with one thread nobody else would. As a call of its own, for the items may
    // wait for what they submit, and the reader may be somebody else than who began the imap.
    if (worker != nullptr && &worker->pool() == &pool_) {
        ReadersShare share{*this};
        while (!turns_.has_come() && !deadline.has_passed() && share.has_more) worker->run_awaited(share);
    }
    return turns_.wait(deadline);
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

using plait::Imap;

}  // namespace plait::inline PLAIT_ABI::threading
