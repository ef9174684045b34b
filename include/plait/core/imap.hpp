// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/timeout.hpp>

#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI {

template <class R>
class Imap;

namespace detail {

/// Where an Imap has its results from: a pool's state of the call. Its reader calls it, one at a time.
template <class R>
class ImapSource {
public:
    /// Waits for the next result, and goes on to the one after it; null where it was not there in time, and the same is
    /// asked for again. Not called after the last. The reader may take what is in it, not put anything there.
    [[nodiscard]] virtual Outcome<R>* next(Timeout timeout) = 0;
    /// Nobody reads any more: what has not begun need not.
    virtual void leave() noexcept = 0;

protected:
    ~ImapSource() = default;
};

/// For pools: the Imap of `count` results. `range_error` is what the range of items threw after its last one, or null.
template <class R>
Imap<R> imap_of(std::shared_ptr<ImapSource<R>> source, std::size_t count, std::exception_ptr range_error);

}  // namespace detail

/// The results of an `imap`, each as soon as it is there.
///
/// Python: what the imap and imap_unordered of multiprocessing's pools return.
///
///     for (const Page& page : pool.imap_unordered(fetch, addresses)) show(page);
///
/// An item whose call failed throws its error when it is its turn; the next ones can still be read. Of a void function
/// each result is an empty struct.
/// Threads: one reader at a time.
/// Lifetime: it may outlive its pool. Once it is gone, what has not begun is not called any more.
template <class R>
class [[nodiscard("calls that nobody reads are dropped")]] Imap {
    using Value = std::conditional_t<std::is_void_v<R>, detail::Unit, R>;

public:
    class Iterator;

    Imap(Imap&&) noexcept = default;
    Imap& operator=(Imap other) noexcept {
        source_.swap(other.source_);
        std::swap(left_, other.left_);
        std::swap(range_error_, other.range_error_);
        return *this;
    }
    ~Imap() {
        if (source_ != nullptr) source_->leave();
    }

    /// Waits for the next result; nothing after the last. Throws: what its call threw, PoolTerminatedError; ProcessDied
    /// and TaskTimeoutError from a pool of processes.
    std::optional<Value> next() { return next(Timeout::never()); }
    /// Waits for `timeout` at most. Throws: TimeoutError; the result can be asked for again.
    std::optional<Value> next(Timeout timeout);

    /// Both wait; to be gone through once.
    Iterator begin() { return Iterator{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    friend Imap detail::imap_of<R>(std::shared_ptr<detail::ImapSource<R>>, std::size_t, std::exception_ptr);
    Imap(std::shared_ptr<detail::ImapSource<R>> source, std::size_t count, std::exception_ptr range_error) noexcept
        : source_{std::move(source)}, left_{count}, range_error_{std::move(range_error)} {}

    std::shared_ptr<detail::ImapSource<R>> source_;
    std::size_t left_;  // how many results were not read
    std::exception_ptr range_error_;
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
    if (source_ == nullptr) throw UsageError("this Imap was moved from: use the one that it was moved to");
    if (left_ == 0) {
        if (range_error_) std::rethrow_exception(std::exchange(range_error_, nullptr));
        return std::nullopt;
    }
    Outcome<R>* const outcome = source_->next(timeout);
    if (outcome == nullptr) throw TimeoutError("the next result was not there in time; it can be asked for again");
    --left_;
    if constexpr (std::is_void_v<R>) {
        std::move(*outcome).value();
        return Value{};
    } else {
        return std::move(*outcome).value();
    }
}

namespace detail {

template <class R>
Imap<R> imap_of(std::shared_ptr<ImapSource<R>> source, std::size_t count, std::exception_ptr range_error) {
    return Imap<R>{std::move(source), count, std::move(range_error)};
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI
