// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/report.hpp>
#include <plait/core/spin.hpp>
#include <plait/core/timeout.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace plait::inline PLAIT_ABI {

template <class T>
class Future;

namespace detail {

class FutureStateBase;

/// What a thread does instead of sleeping while it waits for a future: a pool's worker runs other tasks meanwhile.
class WaitHelper {
public:
    /// Returns when `state` is ready, when `deadline` has passed, or when there is nothing to do but sleep.
    virtual void help(FutureStateBase& state, Deadline deadline) = 0;
    /// Around the sleep that follows.
    virtual void sleep_begins() noexcept = 0;
    virtual void sleep_ends() noexcept = 0;

protected:
    ~WaitHelper() = default;
};

PLAIT_VISIBLE inline WaitHelper*& wait_helper() noexcept {
    static constinit thread_local WaitHelper* helper = nullptr;
    return helper;
}

/// Counts the owners of a future's state: futures, promises, and the pool that runs its call.
template <class State>
class StatePointer {
public:
    StatePointer() noexcept = default;
    explicit StatePointer(State* adopted) noexcept : state_{adopted} {}
    static StatePointer share(State* state) noexcept {
        state->add_owner();
        return StatePointer{state};
    }
    StatePointer(const StatePointer& other) noexcept : state_{other.state_} {
        if (state_) state_->add_owner();
    }
    StatePointer(StatePointer&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    template <class Derived>
        requires(!std::is_same_v<Derived, State> && std::is_convertible_v<Derived*, State*>)
    StatePointer(StatePointer<Derived> other) noexcept : state_{other.release()} {}
    StatePointer& operator=(StatePointer other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~StatePointer() {
        if (state_) state_->drop_owner();
    }

    [[nodiscard]] State* get() const noexcept { return state_; }
    [[nodiscard]] State* release() noexcept { return std::exchange(state_, nullptr); }
    State* operator->() const noexcept { return state_; }
    State& operator*() const noexcept { return *state_; }
    explicit operator bool() const noexcept { return state_ != nullptr; }

private:
    State* state_ = nullptr;
};

/// All of a future's state but the value: its phase, its waiters, its callbacks, its owners.
///
/// Why a result cannot be missed: who waits announces itself in `word_` by a read-modify-write that fails once the
/// phase is final, and whoever makes it final reads the announcement in the very exchange that does so. Callbacks go
/// the same way through `callbacks_`, whose last value, `closed`, tells a late one to run at once.
class FutureStateBase {
public:
    FutureStateBase(const FutureStateBase&) = delete;
    FutureStateBase& operator=(const FutureStateBase&) = delete;

    void add_owner() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
    void drop_owner() noexcept {
        // acq_rel: the last owner's deletion comes after everything that the others did with the state.
        if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }
    void add_future() noexcept { futures_.fetch_add(1, std::memory_order_relaxed); }
    void drop_future() noexcept {
        sync_point();
        // seq_cst here and in finish, on both words: of a last future that goes and an end that comes at once, at least
        // one sees the other.
        if (futures_.fetch_sub(1, std::memory_order_seq_cst) == 1 && is_final(word_.load(std::memory_order_seq_cst)))
            report_if_unseen();
    }
    [[nodiscard]] bool has_futures() const noexcept { return futures_.load(std::memory_order_acquire) != 0; }
    [[nodiscard]] bool only_future() const noexcept { return futures_.load(std::memory_order_acquire) == 1; }

    [[nodiscard]] bool ready() const noexcept { return phase() >= done; }
    [[nodiscard]] bool cancelled() const noexcept { return phase() == was_cancelled; }
    [[nodiscard]] bool started() const noexcept { return phase() >= running; }
    /// Started, and neither ended nor about to be.
    [[nodiscard]] bool is_running() const noexcept { return phase() == running; }

    /// Claims the right to run the call; false where it was cancelled, or claimed by another.
    bool start() noexcept { return move_phase(pending, running); }

    bool wait(Timeout timeout) {
        if (ready()) return true;
        if (timeout.is_zero()) return false;
        const Deadline deadline{timeout};
        WaitHelper* const helper = wait_helper();
        if (helper != nullptr) helper->help(*this, deadline);
        if (helper != nullptr) helper->sleep_begins();
        attend(deadline);
        if (helper != nullptr) helper->sleep_ends();
        if (spin_until([&] { return ready(); })) return true;
        if (helper != nullptr) helper->sleep_begins();
        while (announce_waiter()) {
            const auto still_waiting = [&] { return !ready(); };
            if (parking::sleep(this, deadline, still_waiting) == parking::Result::timed_out) break;
        }
        if (helper != nullptr) helper->sleep_ends();
        return ready();
    }
    void wait_or_throw(Timeout timeout) {
        if (!wait(timeout)) throw TimeoutError("the result was not there in time; the call goes on");
        if (cancelled()) {
            mark_looked_at();
            throw CancelledError();
        }
    }

    bool cancel() {
        if (move_phase(pending, cancelling)) {
            drop_call();
            finish(was_cancelled);
            return true;
        }
        return cancel_succeeded() || (!ready() && cancel_running());
    }
    /// Cancelled, or about to be.
    [[nodiscard]] bool cancel_succeeded() const noexcept {
        const Phase now = phase();
        return now == cancelling || now == was_cancelled;
    }

    template <class F>
    void add_callback(F&& f) {
        mark_looked_at();  // the callback is who looks
        watch(std::forward<F>(f));
    }
    /// A callback that looks at nothing but the end.
    template <class F>
    void watch(F&& f) {
        auto node = std::make_unique<Callback>();
        node->function = std::forward<F>(f);
        Callback* head = callbacks_.load(std::memory_order_acquire);
        do {
            sync_point();
            if (head == closed()) return run(*node);
            node->next = head;
            // Release pairs with the acquire exchange in finish, which reads the node.
        } while (
            !callbacks_.compare_exchange_weak(head, node.get(), std::memory_order_release, std::memory_order_acquire));
        static_cast<void>(node.release());
    }

    /// For a pool's waiting worker: the task of `pool` that makes this ready when it is run, as the pool knows it; null
    /// where it is none of that pool's.
    virtual void* task_in(const void* pool) noexcept {
        static_cast<void>(pool);
        return nullptr;
    }

protected:
    // The phases, in order; who may leave each: pending whoever claims the call or cancels it, running and claimed the
    // claimer alone, cancelling who cancels it, the last two nobody.
    enum Phase : std::uint32_t { pending, running, claimed, cancelling, done, was_cancelled };

    FutureStateBase() = default;
    virtual ~FutureStateBase() { delete_callbacks(); }

    /// Tells those who wait, and runs the callbacks. The caller has claimed the state and written the outcome.
    void finish(Phase phase) noexcept {
        sync_point();
        // Release pairs with the acquire in phase(): who sees the end sees the outcome. seq_cst: see drop_future.
        if (word_.exchange(phase, std::memory_order_seq_cst) & waiter_bit) {
            parking::wake_all(this);
            wake_attendant();
        }
        sync_point();
        if (futures_.load(std::memory_order_seq_cst) == 0) report_if_unseen();
        Callback* newest = callbacks_.exchange(closed(), std::memory_order_acq_rel);
        Callback* oldest = nullptr;
        while (newest != nullptr) {
            Callback* const next = newest->next;
            newest->next = oldest;
            oldest = newest;
            newest = next;
        }
        while (oldest != nullptr) {
            const std::unique_ptr<Callback> callback{std::exchange(oldest, oldest->next)};
            if (!hand_over(callback->function)) run(*callback);
        }
    }
    /// Claims the right to run the call and to write its outcome, for a call that nobody else can end.
    bool claim_unstarted() noexcept { return move_phase(pending, claimed); }
    /// Claims the right to write the outcome: of a call that runs, or that nobody began.
    bool claim() noexcept { return move_phase(running, claimed) || move_phase(pending, claimed); }

    void mark_looked_at() noexcept { looked_at_.store(true, std::memory_order_relaxed); }

    /// Destroys the call and its arguments: it was cancelled and will not run.
    virtual void drop_call() noexcept {}
    /// Ends the call although it runs, if the pool can; true where the outcome will be a cancellation.
    virtual bool cancel_running() { return false; }
    /// Takes a callback to another thread, if this one may not run the user's code; the taker keeps the state alive.
    virtual bool hand_over(MoveOnlyFunction<void()>& callback) noexcept {
        static_cast<void>(callback);
        return false;
    }
    virtual void report_unseen() noexcept = 0;

    /// Before a waiter sleeps: does what makes this ready, where that takes somebody, until it is, or the deadline.
    virtual void attend(Deadline deadline) { static_cast<void>(deadline); }
    /// Tells who attends that this is ready. It has announced itself.
    virtual void wake_attendant() noexcept {}
    /// Has the end wake this thread; false where it came first.
    bool announce_waiter() noexcept {
        std::uint32_t word = word_.load(std::memory_order_acquire);
        while (!is_final(word)) {
            if (word & waiter_bit) return true;
            sync_point();
            // acq_rel: who sees that somebody waits sees what that one did before, see Engine::lie_down.
            if (word_.compare_exchange_weak(word, word | waiter_bit, std::memory_order_acq_rel)) return true;
        }
        return false;
    }

private:
    struct Callback {
        MoveOnlyFunction<void()> function;
        Callback* next = nullptr;
    };
    void report_if_unseen() noexcept {
        if (!looked_at_.exchange(true, std::memory_order_acq_rel)) report_unseen();
    }

    static constexpr std::uint32_t waiter_bit = 8;  // somebody may sleep under this; set while the phase is not final

    static Callback* closed() noexcept {
        static constinit Callback* mark = nullptr;
        return reinterpret_cast<Callback*>(&mark);  // an address that no node can have
    }
    static void run(Callback& callback) noexcept {
        try {
            callback.function();
        } catch (...) {
            report_unraisable("a future's callback threw", std::current_exception());
        }
    }
    void delete_callbacks() noexcept {
        Callback* callback = callbacks_.load(std::memory_order_relaxed);
        while (callback != nullptr && callback != closed()) delete std::exchange(callback, callback->next);
    }

    static constexpr bool is_final(std::uint32_t word) noexcept { return (word & ~waiter_bit) >= done; }
    [[nodiscard]] Phase phase() const noexcept {
        return static_cast<Phase>(word_.load(std::memory_order_acquire) & ~waiter_bit);
    }
    bool move_phase(Phase from, Phase to) noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        sync_point();
        while ((word & ~waiter_bit) == from)
            if (word_.compare_exchange_weak(word, to | (word & waiter_bit), std::memory_order_acq_rel,
                                            std::memory_order_relaxed))
                return true;
        return false;
    }
    std::atomic<std::uint32_t> word_{pending};  // a Phase, and waiter_bit
    std::atomic<std::uint32_t> owners_{1};
    std::atomic<std::uint32_t> futures_{0};
    std::atomic<bool> looked_at_{false};
    std::atomic<Callback*> callbacks_{nullptr};  // newest first; `closed()` once the end has come
};

/// A future's state with its outcome. Pools derive from it what carries the call itself: one block a task.
template <class T>
class FutureState : public FutureStateBase {
public:
    /// Makes it ready; false where it was ready, or cancelled.
    bool settle(Outcome<T> outcome) {
        if (!claim()) return false;
        try {
            outcome_ = std::move(outcome);
        } catch (...) {
            // The value's own: the call is claimed, nobody else could end it any more.
            outcome_.set_exception(std::current_exception());
        }
        finish(done);
        return true;
    }
    /// The call ended by being cancelled, though it had begun.
    bool settle_cancelled() noexcept {
        if (!claim()) return false;
        finish(was_cancelled);
        return true;
    }
    /// The giving side goes. Where no future is left to read it, the broken promise is no error that anybody misses.
    void abandon() noexcept {
        if (!claim()) return;
        // Run: should there be no memory for the error, that is the error.
        outcome_.run([]() -> T {
            throw BrokenPromiseError("the promise of this future was destroyed before it was given a result");
        });
        if (!has_futures()) mark_looked_at();
        finish(done);
    }

    /// Once ready: whether there is an exception, but a cancellation. Looks at nothing.
    [[nodiscard]] bool failed() const noexcept { return !cancelled() && outcome_.has_exception(); }
    /// Once ready and not cancelled.
    Outcome<T>& result() noexcept {
        mark_looked_at();
        return outcome_;
    }
    /// Once ready.
    std::exception_ptr exception() {
        mark_looked_at();
        return cancelled() ? std::make_exception_ptr(CancelledError()) : outcome_.exception();
    }

protected:
    /// For who has claimed it: where the outcome goes before `finish`.
    Outcome<T>& claimed_outcome() noexcept { return outcome_; }

    void report_unseen() noexcept override {
        if (outcome_.has_exception())
            report_unraisable("a call on a pool failed and nobody asked its future", outcome_.exception());
    }

private:
    Outcome<T> outcome_;
};

/// For pools: the future of a state that they made.
template <class T>
Future<T> future_of(StatePointer<FutureState<T>> state);

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI
