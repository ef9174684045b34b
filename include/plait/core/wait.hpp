// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/timeout.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI {

/// When a `wait` for several returns: a cancellation counts as an end, and not as an exception.
enum class ReturnWhen { first_completed, first_exception, all_completed };
inline constexpr ReturnWhen FIRST_COMPLETED = ReturnWhen::first_completed;
inline constexpr ReturnWhen FIRST_EXCEPTION = ReturnWhen::first_exception;
inline constexpr ReturnWhen ALL_COMPLETED = ReturnWhen::all_completed;

/// How a `wait` for several futures waits.
struct WaitOptions {
    Timeout timeout = Timeout::never();
    ReturnWhen return_when = ReturnWhen::all_completed;
};

/// What a `wait` for several futures found, each in the order of the futures.
template <class T>
struct Waited {
    std::vector<Future<T>> done;
    std::vector<Future<T>> pending;
};

namespace detail {

/// In which order some futures end.
///
/// Each tells it by a callback, which keeps this alive: it may come after who waited has gone. Who waits looks at the
/// next place in `order_`, and sleeps under this address.
class Endings {
public:
    explicit Endings(std::size_t count) : order_(count), told_(count) {}

    /// The `turn`th that ended, if it has: its index and one, or 0.
    [[nodiscard]] std::size_t at(std::size_t turn) const noexcept {
        return order_[turn].load(std::memory_order_acquire);  // pairs with the release in tell
    }
    /// That the future `index` has ended; any number of times.
    void tell(std::size_t index) noexcept {
        if (told_[index].exchange(true, std::memory_order_relaxed)) return;
        order_[turns_.fetch_add(1, std::memory_order_relaxed)].store(index + 1, std::memory_order_release);
        // Under the address's bucket, so that no sleep can begin between a look at the order and this.
        parking::wake_all(this, [] {});
    }
    /// How many have been told of: each has a turn, or is about to.
    [[nodiscard]] std::size_t told() const noexcept {
        return static_cast<std::size_t>(std::count_if(
            told_.begin(), told_.end(), [](const auto& each) { return each.load(std::memory_order_relaxed); }));
    }
    /// Waits until the `turn`th has ended; false where it has not in time.
    bool wait(std::size_t turn, Deadline deadline) const {
        while (at(turn) == 0)
            if (parking::sleep(this, deadline, [&] { return at(turn) == 0; }) == parking::Result::timed_out)
                return at(turn) != 0;
        return true;
    }

private:
    std::vector<std::atomic<std::size_t>> order_;
    std::vector<std::atomic<bool>> told_;
    std::atomic<std::size_t> turns_{0};
};

/// Some futures, each once, and the order in which they end.
template <class T>
class Watched {
public:
    template <class Range>
    explicit Watched(const Range& range) {
        for (const Future<T>& future : range) futures.push_back(future);
        drop_repeated();
        endings_ = std::make_shared<Endings>(futures.size());
        for (std::size_t i = 0; i < futures.size(); ++i)
            FutureAccess::state(futures[i]).watch([endings = endings_, i] { endings->tell(i); });
        tell_ready();
    }

    /// The index of the `turn`th that ended, or nothing where it did not in time.
    std::optional<std::size_t> wait(std::size_t turn, Deadline deadline) const {
        if (endings_->at(turn) == 0 && !deadline.has_passed()) {
            WaitHelper* const helper = wait_helper();
            if (helper != nullptr) {
                // A pool's worker runs what it waits for, if that still queues.
                for (const Future<T>& future : futures)
                    if (endings_->at(turn) == 0 && future.valid() && !future.ready())
                        helper->help(FutureAccess::state(future), deadline);
                helper->sleep_begins();
            }
            static_cast<void>(endings_->wait(turn, deadline));
            if (helper != nullptr) helper->sleep_ends();
        }
        if (endings_->at(turn) == 0) {
            tell_ready();
            // The one that ended may be told of by its own thread just now.
            if (endings_->told() > turn) static_cast<void>(endings_->wait(turn, Deadline::never()));
        }
        const std::size_t index = endings_->at(turn);
        return index != 0 ? std::optional{index - 1} : std::nullopt;
    }

    std::vector<Future<T>> futures;

private:
    /// A future's callbacks come a moment after it is ready.
    void tell_ready() const {
        for (std::size_t i = 0; i < futures.size(); ++i)
            if (futures[i].valid() && futures[i].ready()) endings_->tell(i);
    }
    void drop_repeated() {
        std::vector<std::pair<const void*, std::size_t>> places;
        for (std::size_t i = 0; i < futures.size(); ++i) places.emplace_back(&FutureAccess::state(futures[i]), i);
        std::sort(places.begin(), places.end());
        for (std::size_t i = 1; i < places.size(); ++i)
            if (places[i].first == places[i - 1].first) futures[places[i].second] = Future<T>{};
        futures.erase(
            std::remove_if(futures.begin(), futures.end(), [](const Future<T>& future) { return !future.valid(); }),
            futures.end());
    }

    std::shared_ptr<Endings> endings_;
};

struct Wait {
    template <class Range>
    auto operator()(const Range& range, WaitOptions options = {}) const {
        using T = typename std::iter_value_t<decltype(std::begin(range))>::value_type;
        const Deadline deadline{options.timeout};
        const Watched<T> watched{range};
        for (std::size_t turn = 0; turn < watched.futures.size(); ++turn) {
            const auto ended = watched.wait(turn, deadline);
            if (!ended.has_value() || options.return_when == FIRST_COMPLETED) break;
            if (options.return_when == FIRST_EXCEPTION && FutureAccess::state(watched.futures[*ended]).failed()) break;
        }
        Waited<T> result;
        for (const Future<T>& future : watched.futures)
            (future.ready() ? result.done : result.pending).push_back(future);
        return result;
    }
};

}  // namespace detail

/// Waits for several futures, until all have ended, or the first, or the first that fails; returns those that have ended
/// and those that have not. A time that is over is no error. It does not look at the results.
///
/// Python: concurrent.futures.wait. For all results in order a loop of `get` does; for each as it comes, `as_completed`.
///
///     auto [done, pending] = plait::wait(futures, {.timeout = 2s, .return_when = plait::FIRST_COMPLETED});
///
/// Throws: UsageError for a future that names no call. A future that stands there twice counts once.
/// Threads: any. Until its call ends, each future remembers each wait for it.
inline constexpr detail::Wait wait{};

/// The futures of an `as_completed`, each when it has ended.
///
/// Threads: one reader at a time.
template <class T>
class AsCompleted {
public:
    class Iterator;

    template <class Range>
    AsCompleted(const Range& range, Timeout timeout) : watched_{range}, deadline_{timeout} {}

    /// Waits for the next that ends; nothing after the last. Throws: TimeoutError once the time is over.
    std::optional<Future<T>> next() {
        const std::size_t count = watched_.futures.size();
        if (turn_ == count) return std::nullopt;
        const auto index = watched_.wait(turn_, deadline_);
        if (!index.has_value())
            throw TimeoutError(std::to_string(count - turn_) + " of " + std::to_string(count) +
                               " calls had not ended in time");
        ++turn_;
        return std::move(watched_.futures[*index]);
    }

    /// Both wait; to be gone through once.
    Iterator begin() { return Iterator{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    detail::Watched<T> watched_;
    detail::Deadline deadline_;
    std::size_t turn_ = 0;
};

template <class T>
class AsCompleted<T>::Iterator {
public:
    using value_type = Future<T>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    explicit Iterator(AsCompleted& all) : all_{&all}, future_{all.next()} {}

    const Future<T>& operator*() const noexcept { return *future_; }
    const Future<T>* operator->() const noexcept { return &*future_; }
    Iterator& operator++() {
        future_.reset();
        future_ = all_->next();
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& iterator, std::default_sentinel_t) noexcept {
        return !iterator.future_.has_value();
    }

private:
    AsCompleted* all_;
    std::optional<Future<T>> future_;
};

namespace detail {

struct MakeAsCompleted {
    template <class Range>
    auto operator()(const Range& futures, Timeout timeout = Timeout::never()) const {
        using T = typename std::iter_value_t<decltype(std::begin(futures))>::value_type;
        return AsCompleted<T>{futures, timeout};
    }
};

}  // namespace detail

/// A range that gives each of `futures` when it has ended, in the order in which they end.
///
/// Python: concurrent.futures.as_completed.
///
///     for (const auto& future : plait::as_completed(futures, 10s)) show(future.get());
///
/// The timeout is for all of them, from this call on. A future that stands there twice comes once.
/// Throws: UsageError for a future that names no call.
inline constexpr detail::MakeAsCompleted as_completed{};

}  // namespace plait::inline PLAIT_ABI
