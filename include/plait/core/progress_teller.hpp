// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/function.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/progress.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <utility>

namespace plait::inline PLAIT_ABI::detail {

/// Tells a map's Progress how far it has come, for the state of a map, which holds it by a shared pointer.
///
/// An item costs no more than to write down the count. Every 100 ms a thread that the owner provides looks whether it has
/// changed.
///
/// Threads: `tell` and `finish` from any.
class ProgressTeller : public std::enable_shared_from_this<ProgressTeller> {
public:
    using Function = MoveOnlyFunction<void()>;
    /// Has `function` run on another thread, not before the deadline, and one after the other; or takes nothing and
    /// returns false. It does not throw. What waits for its time when that thread ends may be dropped.
    using Post = MoveOnlyFunction<bool(Deadline, Function& function)>;

    static constexpr std::chrono::milliseconds interval{100};

    ProgressTeller(Progress progress, std::size_t total, Post post)
        : progress_{std::move(progress)}, total_{total}, post_{std::move(post)} {}
    ProgressTeller(const ProgressTeller&) = delete;
    ProgressTeller& operator=(const ProgressTeller&) = delete;

    /// The map has begun: tells how many are done, none perhaps. Once; for no items it may be left out.
    void start() noexcept { look_at(now()); }
    /// So many are done, but not all.
    void tell(std::size_t done) noexcept {
        // Of two that come at once the lower may stand until the next: who reads it lets no count go back.
        if (done > done_.load(std::memory_order_relaxed)) done_.store(done, std::memory_order_relaxed);
    }
    /// All are done: tells that, and then calls `then` (may be null), which makes the result ready. Where it cannot be
    /// handed over, for want of memory, `then` is called at once. Once.
    void finish(Function then) noexcept;
    /// Once this has returned, nothing is told any more; called by what is being told, once that has returned.
    void stop() noexcept;

private:
    void look_at(Deadline deadline) noexcept;
    // Both on the owner's thread.
    void look() noexcept;
    void call(std::size_t done) noexcept;
    void tell_last() noexcept;

    static constexpr Deadline now() noexcept { return Deadline::at({}); }

    static constexpr std::uint32_t stopped = 1;  // no call begins; set by `stop`, and when nothing is left to be told
    static constexpr std::uint32_t calling =
        2;  // a call runs; set and cleared by the owner's thread, not where stopped

    Progress progress_;  // of the owner's thread, as `told_`
    const std::size_t total_;
    Post post_;
    Function then_;  // written before `tell_last` is posted, which calls it
    std::size_t told_ = 0;
    bool has_told_ = false;
    std::atomic<std::size_t> done_{0};
    std::atomic<std::uint32_t> word_{0};  // `stopped` and `calling`
    std::atomic<std::thread::id> caller_{std::thread::id{}};
};

inline void ProgressTeller::look_at(Deadline deadline) noexcept {
    Function function = [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->look();  // else the map is gone
    };
    static_cast<void>(post_(deadline, function));  // without memory the last is told all the same
}

inline void ProgressTeller::look() noexcept {
    if ((word_.load(std::memory_order_relaxed) & stopped) != 0) return;
    const Deadline next{interval};
    const std::size_t done = done_.load(std::memory_order_relaxed);
    if (done < total_ && (done > told_ || !has_told_)) call(done);  // the last is for tell_last
    look_at(next);
}

inline void ProgressTeller::call(std::size_t done) noexcept {
    std::uint32_t none = 0;
    if (!word_.compare_exchange_strong(none, calling, std::memory_order_relaxed)) return;
    caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    told_ = done;
    has_told_ = true;
    std::uint32_t is_over = 0;
    try {
        progress_(done, total_);
    } catch (...) {
        is_over = stopped;
        report_unraisable("a map's progress callback threw, and is called no more", std::current_exception());
    }
    caller_.store(std::thread::id{}, std::memory_order_relaxed);
    if (is_over != 0) word_.fetch_or(stopped, std::memory_order_relaxed);
    // Release pairs with the acquire in stop: what the call has touched may go then.
    word_.fetch_and(~calling, std::memory_order_release);
    parking::wake_all(&word_);
}

inline void ProgressTeller::tell_last() noexcept {
    call(total_);
    word_.fetch_or(stopped, std::memory_order_relaxed);
    progress_ = Progress{};  // what it holds may hold this map's future
    if (Function then = std::move(then_)) then();
}

inline void ProgressTeller::finish(Function then) noexcept {
    then_ = std::move(then);
    Function last = [self = shared_from_this()] { self->tell_last(); };
    if (post_(now(), last)) return;
    if (Function here = std::move(then_)) here();
}

inline void ProgressTeller::stop() noexcept {
    word_.fetch_or(stopped, std::memory_order_relaxed);
    const auto is_called = [this] { return (word_.load(std::memory_order_acquire) & calling) != 0; };
    // A call that stops itself has written its own id.
    while (is_called() && caller_.load(std::memory_order_relaxed) != std::this_thread::get_id())
        static_cast<void>(parking::sleep(&word_, Deadline::never(), is_called));
}

}  // namespace plait::inline PLAIT_ABI::detail
