// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Something that another thread wants a loop to do.
class Mail {
public:
    Mail(const Mail&) = delete;
    Mail& operator=(const Mail&) = delete;

    /// Does it, on the loop's thread, and frees itself, whatever the call throws.
    virtual void deliver() = 0;
    /// Frees itself undone: the loop closes.
    virtual void discard() noexcept = 0;

protected:
    constexpr Mail() = default;
    ~Mail() = default;

private:
    friend class Mailbox;
    friend class MailList;
    Mail* next_ = nullptr;
};

/// A call by another thread.
template <class F>
class CallMail final : public Mail {
public:
    template <class Callable>
    explicit CallMail(Callable&& callable) : callable_(std::forward<Callable>(callable)) {}

    void deliver() override {
        const std::unique_ptr<CallMail> self{this};
        callable_();
    }
    void discard() noexcept override { delete this; }

private:
    friend std::default_delete<CallMail>;
    ~CallMail() = default;

    F callable_;
};

/// What was taken out of a mailbox, oldest first.
class MailList {
public:
    MailList() noexcept = default;
    /// From a list with the newest first.
    explicit MailList(Mail* newest) noexcept {
        while (newest != nullptr) {
            Mail* const older = newest->next_;
            newest->next_ = first_;
            first_ = newest;
            newest = older;
        }
    }
    MailList(MailList&& other) noexcept : first_{std::exchange(other.first_, nullptr)} {}
    MailList& operator=(MailList&& other) noexcept {
        std::swap(first_, other.first_);
        return *this;
    }
    ~MailList() {
        while (!empty()) pop().discard();
    }

    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    /// The oldest, which the caller delivers or discards.
    Mail& pop() noexcept { return *std::exchange(first_, first_->next_); }

private:
    Mail* first_ = nullptr;
};

/// Where a loop sleeps that waits for more than mail and time. Made and used by its thread; `interrupt` by any.
class Sleeper {
public:
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;
    virtual ~Sleeper() = default;

    /// Until something has come that it waits for, `interrupt` was called, or `deadline` has passed; perhaps sooner.
    /// Queues what is to be done about it. Returns whether anything but an interruption has come.
    virtual bool sleep(plait::detail::Deadline deadline) noexcept = 0;
    /// Ends the present sleep, or the next.
    virtual void interrupt() noexcept = 0;
    /// The loop closes: what was made for it closes too, and nothing is waited for any more.
    virtual void close() noexcept = 0;
    /// This is a fork's copy, of which nothing may be used any more.
    virtual void leave() noexcept = 0;

    std::size_t listeners = 0;  // while there are none, it need not be looked at but for a sleep

protected:
    Sleeper() = default;
};

/// Where other threads leave calls for a loop, and where the loop sleeps when it has nothing to do.
///
/// Held by whoever may still send: it outlives its loop, and a closed one takes nothing more.
/// Threads: `post` from any; everything else from the loop's.
///
/// Mail lies in a list that grows at its head by one compare-and-swap and is taken as a whole. A poster may lose sight of
/// the box as soon as that has succeeded, for the loop may see the mail, end, and let go of the box; but for one case:
/// who finds the loop asleep has to wake it, and the loop does not leave `wait` before that is done.
class Mailbox {
public:
    Mailbox() = default;
    Mailbox(const Mailbox&) = delete;
    Mailbox& operator=(const Mailbox&) = delete;
    ~Mailbox() { static_cast<void>(close()); }

    /// Leaves it for the loop, and wakes that if it sleeps. False, with nothing done, once the loop is closed.
    bool post(Mail& mail) noexcept {
        Mail* newest = newest_.load(std::memory_order_relaxed);
        do {
            if (newest == closed()) return false;
            mail.next_ = newest == asleep() ? nullptr : newest;
            // Pairs with take(): what the poster wrote before is seen by the loop.
        } while (!newest_.compare_exchange_weak(newest, &mail, std::memory_order_release, std::memory_order_relaxed));
        if (newest == asleep()) wake();
        return true;
    }
    /// The same with a call, which is kept until it is made.
    template <class F>
        requires std::is_invocable_v<std::decay_t<F>&>
    bool post(F&& call) {
        auto* const mail = new CallMail<std::decay_t<F>>{std::forward<F>(call)};
        if (post(static_cast<Mail&>(*mail))) return true;
        mail->discard();
        return false;
    }

    [[nodiscard]] bool has_mail() const noexcept {
        const Mail* const newest = newest_.load(std::memory_order_relaxed);  // take() looks again
        return newest != nullptr && newest != closed();
    }
    MailList take() noexcept { return MailList{newest_.exchange(nullptr, std::memory_order_acquire)}; }
    /// Sleeps until there is mail or `deadline` has passed.
    void wait(plait::detail::Deadline deadline);
    /// The same in `sleeper`, which may end it too and which posters have been told of by `wake_by`.
    void wait_in(Sleeper& sleeper, plait::detail::Deadline deadline);
    void wake_by(Sleeper& sleeper) {
        const std::scoped_lock lock{mutex_};
        sleeper_ = &sleeper;
    }
    /// Refuses what comes from now on, and gives back what nobody has read.
    MailList close() noexcept {
        Mail* const newest = newest_.exchange(closed(), std::memory_order_acquire);
        return MailList{newest != closed() ? newest : nullptr};
    }

    /// Closes a fork's copy, whose mail is the parent's alone.
    void leave() noexcept { newest_.store(closed(), std::memory_order_relaxed); }

private:
    // What newest_ holds besides mail and null; nobody looks into them.
    class Mark final : public Mail {
        void deliver() override {}
        void discard() noexcept override {}
    };
    static Mail* asleep() noexcept {
        static constinit Mark mark;
        return &mark;
    }
    static Mail* closed() noexcept {
        static constinit Mark mark;
        return &mark;
    }

    void wake() noexcept {
        // Notified under the mutex: once it is free the loop may leave, and the box be gone.
        const std::scoped_lock lock{mutex_};
        woken_ = true;
        if (sleeper_ != nullptr) sleeper_->interrupt();
        awake_.notify_one();
    }

    // Null or mail: the loop is awake. asleep(): it is in wait(), written by it; the poster who replaces that wakes it.
    // closed(): for ever, written by the loop.
    std::atomic<Mail*> newest_{nullptr};
    std::mutex mutex_;
    std::condition_variable awake_;
    bool woken_ = false;            // under the mutex
    Sleeper* sleeper_ = nullptr;    // the same: where the loop sleeps, if not at `awake_`
    bool answered_at_once_ = true;  // whether the last sleep in it was ended by mail
};

inline void Mailbox::wait(plait::detail::Deadline deadline) {
    using Clock = plait::detail::Deadline::Clock;
    // Who answers at once is met awake.
    if (plait::detail::spin_until([this] { return has_mail(); }) || deadline.has_passed()) return;
    Mail* found = nullptr;
    if (!newest_.compare_exchange_strong(found, asleep(), std::memory_order_relaxed)) return;
    std::unique_lock lock{mutex_};
    while (!woken_) {
        if (deadline.is_never()) {
            awake_.wait(lock);
            continue;
        }
        if (deadline.has_passed()) {
            found = asleep();
            // Where it has been replaced somebody is on the way to wake this, and needs the box.
            if (newest_.compare_exchange_strong(found, nullptr, std::memory_order_relaxed)) return;
            deadline = plait::detail::Deadline::never();
            continue;
        }
        auto until = deadline.time_point();
        if constexpr (!plait::detail::waits_follow_steady_clock) {
            // This wait follows the wall clock, which may be set back meanwhile: look again at least every second.
            until = (std::min)(until, Clock::now() + std::chrono::seconds{1});
        }
        awake_.wait_until(lock, until);
    }
    woken_ = false;
}

inline void Mailbox::wait_in(Sleeper& sleeper, plait::detail::Deadline deadline) {
    // Who answers at once is met awake; but nobody looks at handles meanwhile.
    if (answered_at_once_ && plait::detail::spin_until([this] { return has_mail(); })) return;
    Mail* found = nullptr;
    if (!newest_.compare_exchange_strong(found, asleep(), std::memory_order_relaxed)) return;
    sleeper.sleep(deadline);
    found = asleep();
    answered_at_once_ = !newest_.compare_exchange_strong(found, nullptr, std::memory_order_relaxed);
    if (answered_at_once_) {
        // Somebody is on the way to wake this, and needs the box and the sleeper.
        std::unique_lock lock{mutex_};
        awake_.wait(lock, [this] { return woken_; });
        woken_ = false;
    }
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
