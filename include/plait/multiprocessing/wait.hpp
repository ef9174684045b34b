// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/connection.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {
class WaitSet;
}

/// What `wait` waits for: a Connection's next message or end, a Process's end, or a handle that becomes readable.
///
/// Made from each of these, and equal to what it was made from. Lifetime: that outlives it.
class Waitable {
public:
    Waitable(const Connection& connection)
        : endpoint_{&detail::ConnectionAccess::endpoint(connection)}, handle_{endpoint_->native()} {
        if (!connection.readable()) throw UsageError("wait: this end of Pipe(false) only sends");
    }
    /// A sentinel, or any other handle.
    Waitable(os::NativeHandle handle) noexcept : handle_{handle} {}
    template <class Process>
        requires requires(Process& process) {
            { process.sentinel() } -> std::same_as<os::NativeHandle>;
        }
    Waitable(Process& process) : Waitable{process.sentinel()} {}

    /// The handle of a process or of one's own, to tell which it is.
    [[nodiscard]] os::NativeHandle native_handle() const noexcept { return handle_; }

    friend bool operator==(const Waitable& a, const Waitable& b) noexcept {
        return a.endpoint_ == b.endpoint_ && (a.endpoint_ != nullptr || a.handle_ == b.handle_);
    }

private:
    friend class detail::WaitSet;

    detail::Endpoint* endpoint_ = nullptr;
    os::NativeHandle handle_ = os::Handle::none;
};

namespace detail {

/// What one call of `wait` waits for.
class WaitSet {
public:
    explicit WaitSet(std::vector<Waitable> waitables);
    WaitSet(const WaitSet&) = delete;
    WaitSet& operator=(const WaitSet&) = delete;
    ~WaitSet() { end_watching(); }

    /// Those that are ready, once some are, in order; none at the deadline.
    std::vector<Waitable> wait(plait::detail::Deadline deadline);

private:
    static os::NativeHandle handle_of(const Waitable& each) noexcept {
        return each.endpoint_ != nullptr ? each.endpoint_->native() : each.handle_;
    }
    void end_watching() noexcept {
        for (; watching_ != 0; --watching_)
            if (detail::Endpoint* const end = waitables_[watching_ - 1].endpoint_) end->end_watching();
    }
    /// Those that are ready: by what was received before and, if `polled`, by what a poll said.
    std::vector<Waitable> collect(bool polled);

    std::vector<Waitable> waitables_;
    std::vector<os::PollItem> items_;
    std::size_t watching_ = 0;  // how many of the first are held open
    bool has_connections_ = false;
    bool has_busy_ = false;  // another thread receives from one of them
};

inline WaitSet::WaitSet(std::vector<Waitable> waitables) : waitables_{std::move(waitables)} {
    items_.reserve(waitables_.size());
    for (const Waitable& each : waitables_) {
        if (each.endpoint_ != nullptr) {
            has_connections_ = true;
            if (!each.endpoint_->begin_watching()) {
                end_watching();
                throw UsageError("wait: a connection among these is closed");
            }
        }
        ++watching_;
        items_.emplace_back(handle_of(each), os::readable);
    }
}

inline std::vector<Waitable> WaitSet::collect(bool polled) {
    std::vector<Waitable> ready;
    has_busy_ = false;
    for (std::size_t i = 0; i < waitables_.size(); ++i) {
        const Waitable& each = waitables_[i];
        const bool told = polled && items_[i].is_ready();
        if (each.endpoint_ == nullptr) {
            if (told) ready.push_back(each);
            continue;
        }
        const Endpoint::State state = each.endpoint_->look(told);
        if (state == Endpoint::State::closed)
            throw UsageError("wait: a connection among these was closed by another thread");
        if (state == Endpoint::State::ready) ready.push_back(each);
        // Its bytes are not ours to read now: it would be told again and again.
        const bool is_busy = state == Endpoint::State::busy;
        items_[i].fd = is_busy ? os::Handle::none : handle_of(each);
        has_busy_ = has_busy_ || is_busy;
    }
    return ready;
}

inline std::vector<Waitable> WaitSet::wait(plait::detail::Deadline deadline) {
    using plait::detail::Deadline;
    bool is_ready = !collect(false).empty();
    for (;;) {
        Deadline until = is_ready ? Deadline::at({}) : deadline;
        // Nothing wakes who waits here for a connection that is closed under it, or received from elsewhere.
        if (has_connections_) until = (std::min)(until, Deadline{std::chrono::milliseconds{has_busy_ ? 5 : 100}});
        static_cast<void>(os::poll(items_, until));
        std::vector<Waitable> ready = collect(true);
        if (!ready.empty() || deadline.has_passed()) return ready;
        is_ready = false;
    }
}

template <class T>
concept WaitableRange = requires(const T& range) {
    { *range.begin() } -> std::convertible_to<Waitable>;
    range.end();
} || requires(T& range) {
    { *range.begin() } -> std::convertible_to<Waitable>;
    range.end();
};

struct Wait {
    std::vector<Waitable> operator()(std::initializer_list<Waitable> waitables,
                                     Timeout timeout = Timeout::never()) const {
        return WaitSet(std::vector<Waitable>(waitables)).wait(plait::detail::Deadline{timeout});
    }
    template <WaitableRange Range>
    std::vector<Waitable> operator()(Range&& range, Timeout timeout = Timeout::never()) const {
        std::vector<Waitable> waitables;
        for (auto&& each : range) waitables.emplace_back(each);
        return WaitSet(std::move(waitables)).wait(plait::detail::Deadline{timeout});
    }
};

}  // namespace detail

/// Waits until one of several is ready, and returns those that are, in the order given; none where none is within the
/// timeout.
///
///     for (const Waitable& ready : wait({left, child}, 1s)) {
///         if (ready == left) use(left.recv<int>());
///         if (ready == child) child.join();
///     }
///
/// Python: multiprocessing.connection.wait. A connection is ready when a `recv` from it would not wait: there is a whole
/// message, or the end. Also takes a range: of connections, handles, processes, or Waitables.
/// Throws: UsageError for a connection that is closed, also while it waits, or that only sends; std::system_error.
/// Threads: any; a connection that another thread is receiving from is ready when that one has left something.
inline constexpr detail::Wait wait{};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
