// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/report.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI {

namespace detail {

/// One callback that waits for a stop; linked into its StopState, whose mutex guards all of it but `invoke`.
class StopCallbackBase {
public:
    StopCallbackBase(const StopCallbackBase&) = delete;
    StopCallbackBase& operator=(const StopCallbackBase&) = delete;

protected:
    StopCallbackBase() = default;
    ~StopCallbackBase() = default;

private:
    friend class StopState;
    virtual void invoke() noexcept = 0;

    StopCallbackBase* next_ = nullptr;
    StopCallbackBase* previous_ = nullptr;
    bool linked_ = false;
};

class StopState {
public:
    [[nodiscard]] bool stop_requested() const noexcept { return stopped_.load(std::memory_order_acquire); }

    /// Runs the callbacks, one after the other, outside the mutex. False where somebody stopped it before.
    bool request_stop() noexcept {
        sync_point();
        std::unique_lock lock{mutex_};
        if (stop_requested()) return false;
        // Release pairs with the acquire in stop_requested: who sees the stop sees what led to it.
        stopped_.store(true, std::memory_order_release);
        stopper_ = std::this_thread::get_id();
        while (first_ != nullptr) {
            StopCallbackBase* const callback = first_;
            unlink(*callback);
            running_.store(callback, std::memory_order_relaxed);
            lock.unlock();
            sync_point();
            callback->invoke();
            sync_point();
            // Release pairs with the acquire in remove: who sees the end sees what the callback did.
            running_.store(nullptr, std::memory_order_release);
            sync_point();
            parking::wake_all(this);
            lock.lock();
        }
        return true;
    }

    /// Links `callback`, or returns false where the stop has been requested: the caller runs it.
    bool add(StopCallbackBase& callback) noexcept {
        sync_point();
        const std::scoped_lock lock{mutex_};
        if (stop_requested()) return false;
        callback.next_ = first_;
        if (first_ != nullptr) first_->previous_ = &callback;
        first_ = &callback;
        callback.linked_ = true;
        return true;
    }

    /// After it, `callback` neither runs nor will run; it waits for one that runs on another thread.
    void remove(StopCallbackBase& callback) noexcept {
        std::unique_lock lock{mutex_};
        if (callback.linked_) return unlink(callback);
        if (stopper_ == std::this_thread::get_id()) return;
        lock.unlock();
        sync_point();
        const auto still_running = [&] { return running_.load(std::memory_order_acquire) == &callback; };
        while (still_running()) parking::sleep(this, Deadline::never(), still_running);
    }

private:
    void unlink(StopCallbackBase& callback) noexcept {
        (callback.previous_ != nullptr ? callback.previous_->next_ : first_) = callback.next_;
        if (callback.next_ != nullptr) callback.next_->previous_ = callback.previous_;
        callback.next_ = callback.previous_ = nullptr;
        callback.linked_ = false;
    }

    std::atomic<bool> stopped_{false};
    std::atomic<StopCallbackBase*> running_{nullptr};  // written by the one thread that runs the callbacks
    std::mutex mutex_;                                 // guards everything below
    StopCallbackBase* first_ = nullptr;
    std::thread::id stopper_;
};

}  // namespace detail

/// What a function looks at, or gives to its waits, to learn that it should end: the receiving side of a StopSource.
///
/// Python has no such thing; the standard's is std::stop_token, which not every standard library has yet. A thread's
/// target that takes one as its first parameter gets the thread's own (`Thread::request_stop`).
///
///     Thread worker([](StopToken stop) { while (!stop.stop_requested()) step(); });
///
/// Threads: every member from any thread. Copies name the same stop.
class StopToken {
public:
    StopToken() noexcept = default;

    [[nodiscard]] bool stop_requested() const noexcept { return state_ != nullptr && state_->stop_requested(); }
    /// Whether anybody could ever request a stop: false for a default-constructed token.
    [[nodiscard]] bool stop_possible() const noexcept { return state_ != nullptr; }

private:
    friend class StopSource;
    template <class F>
    friend class StopCallback;
    explicit StopToken(std::shared_ptr<detail::StopState> state) noexcept : state_{std::move(state)} {}

    std::shared_ptr<detail::StopState> state_;
};

/// Requests a stop from everything that was given a token of it.
///
/// The standard's: std::stop_source. Threads: every member from any thread. Copies name the same stop.
class StopSource {
public:
    StopSource() : state_{std::make_shared<detail::StopState>()} {}

    /// Wakes every wait and runs every callback of its tokens, on this thread; false where that was done before, and of
    /// a source that was moved from.
    bool request_stop() noexcept {
        const auto state = state_;  // a callback may destroy this source
        return state != nullptr && state->request_stop();
    }
    [[nodiscard]] bool stop_requested() const noexcept { return state_ != nullptr && state_->stop_requested(); }
    [[nodiscard]] StopToken get_token() const noexcept { return StopToken{state_}; }

private:
    std::shared_ptr<detail::StopState> state_;
};

/// Calls `f()` once when a stop is requested: on the requesting thread, or at once where it was requested before.
///
/// The standard's: std::stop_callback. The destructor waits for a call that runs on another thread, so that what the
/// callback refers to may go right after. What `f` throws is reported (`set_unraisable_hook`).
template <class F>
class StopCallback final : private detail::StopCallbackBase {
public:
    template <class Callable>
        requires std::is_constructible_v<F, Callable>
    StopCallback(const StopToken& token, Callable&& f) : callable_(std::forward<Callable>(f)), state_{token.state_} {
        if (state_ != nullptr && !state_->add(*this)) {
            state_ = nullptr;
            invoke();
        }
    }
    ~StopCallback() {
        if (state_ != nullptr) state_->remove(*this);
    }

private:
    void invoke() noexcept override {
        try {
            callable_();
        } catch (...) {
            detail::report_unraisable("an exception left a stop callback", std::current_exception());
        }
    }

    F callable_;
    std::shared_ptr<detail::StopState> state_;
};

template <class F>
StopCallback(const StopToken&, F) -> StopCallback<F>;

namespace detail::parking {

/// As the sleep above; ends also, as `interrupted` or `unwanted`, when a stop is requested.
template <class Predicate>
Result sleep(const void* address, Deadline deadline, const StopToken& token, Predicate may_sleep,
             Place place = Place::last) {
    const char self{};  // its address names this sleep
    const StopCallback wake{token, [address, &self] { interrupt(address, &self); }};
    // A stop that comes before the question is seen by it; a later one finds the sleeper.
    return sleep(address, deadline, [&] { return !token.stop_requested() && may_sleep(); }, place, &self);
}

/// As the sleep_after of parking.hpp; ends also, as `interrupted`, when a stop is requested.
template <class Function>
Result sleep_after(const void* address, Deadline deadline, const StopToken& token, Function once_listed) {
    const char self{};  // its address names this sleep
    const auto interrupt_self = [address, &self] { interrupt(address, &self); };
    const StopCallback wake{token, interrupt_self};
    const auto look_for_stop = [&] {
        once_listed();
        // The callback finds the sleeper, unless it was called before that was listed.
        if (token.stop_requested()) interrupt_self();
    };
    return sleep_after(address, deadline, look_for_stop, &self);
}

}  // namespace detail::parking

}  // namespace plait::inline PLAIT_ABI
