// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>
#include <plait/core/timer_wheel.hpp>
#include <plait/os/thread.hpp>
#include <plait/threading/detail/bound_call.hpp>
#include <plait/threading/thread.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

/// One timer: its place in the wheel, how far it has come, and, in a class below this, what it calls. Its users are its
/// Timer and, from its firing on, the call; the last of them deletes it.
class TimerState : public TimerNode {
public:
    enum class Phase : std::uint8_t {
        fresh,      // not started
        pending,    // in the wheel, or its time is never
        firing,     // its call has a thread, or is about to get one
        over,       // the call has ended
        cancelled,  // it will never fire
    };

    virtual ~TimerState() = default;
    /// Calls what it is there to call, and destroys that.
    virtual void call(const StopToken& stop) = 0;

    [[nodiscard]] Phase phase() const noexcept {
        // Acquire pairs with the release in TimerThread::set_phase: who sees the end sees what the call did.
        return phase_.load(std::memory_order_acquire);
    }

protected:
    TimerState() = default;

private:
    friend class TimerThread;
    void on_time() noexcept final;

    std::atomic<Phase> phase_{Phase::fresh};  // written by the timers' mutex's owner
    // The rest is guarded by that mutex.
    std::uint8_t users_ : 2 = 1;
    bool started_ : 1 = false;
    bool awaited_ : 1 = false;                              // somebody may sleep until it is over
    std::uint32_t generation_ = 0;                          // the TimerThread's, when it was started
    std::unique_ptr<std::shared_ptr<ThreadState>> thread_;  // its call's; written before that begins
};

/// The pending timers of this program, and the thread that waits for them.
///
/// The thread is started with the first timer, is never joined, and sleeps until the earliest deadline: one that is added
/// wakes it only if it comes before that, one that is cancelled never does. It gives each call a thread of its own. Its
/// object is never destroyed, for timers may outlive the static objects.
///
/// In the child of a fork there is no such thread, and another may have held the mutex: everything is made anew, and the
/// parent's timers, known by their generation, are those of nobody.
class TimerThread {
public:
    PLAIT_VISIBLE static TimerThread& instance() {
        static TimerThread* const timers = new TimerThread;
        return *timers;
    }

    /// Throws: UsageError the second time; std::system_error where there is no thread to wait for it.
    void start(TimerState& timer, Timeout interval);
    bool cancel(TimerState& timer) noexcept;
    /// Waits until it is over or cancelled, and its thread has ended; returns whether that is so. Throws: UsageError
    /// before `start`.
    bool join(TimerState& timer, Timeout timeout);
    /// Its Timer goes.
    void abandon(TimerState& timer) noexcept;
    /// Whether it was started and is not over.
    [[nodiscard]] bool is_alive(const TimerState& timer) const noexcept {
        return timer.phase() != Phase::fresh && !is_done(timer);
    }
    [[nodiscard]] bool is_done(const TimerState& timer) const noexcept;

private:
    using Phase = TimerState::Phase;
    friend class TimerState;

    TimerThread() {
        // Before the first fork can come: see there.
        static_cast<void>(ThreadRegistry::instance());
        os::call_in_forked_children([] { instance().forget_timers_of_parent(); });
    }
    void forget_timers_of_parent() noexcept;

    static Nanoseconds now() noexcept {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(Deadline::Clock::now().time_since_epoch()).count();
    }
    /// The timer that the calling thread is calling.
    static const TimerState*& calling() noexcept {
        static constinit thread_local const TimerState* timer = nullptr;
        return timer;
    }
    static void set_phase(TimerState& timer, Phase phase) noexcept {
        // Release pairs with the acquire in TimerState::phase.
        timer.phase_.store(phase, std::memory_order_release);
    }
    /// Sets a phase that a join waits for. Returns where its waiters sleep, or null: they are woken once the mutex is
    /// free, when the timer may be gone.
    [[nodiscard]] static const void* finish(TimerState& timer, Phase phase) noexcept {
        const void* const joiners = timer.awaited_ ? &timer.phase_ : nullptr;
        set_phase(timer, phase);
        return joiners;
    }

    /// Whether the calling thread is that of a call that is over.
    [[nodiscard]] static bool is_own_thread(const TimerState& timer) noexcept {
        return timer.thread_ != nullptr && (*timer.thread_)->ident.load(std::memory_order_relaxed) == own_ident();
    }

    void ensure_running();
    void run(std::shared_ptr<ThreadRecord> self);
    void sleep(std::unique_lock<std::mutex>& lock, Nanoseconds until);
    /// Called by the wheel, and so with the mutex locked; it is free while this works.
    void fire(TimerState& timer) noexcept;
    /// Gives the call a thread; false where there is none to be had.
    [[nodiscard]] bool call_in_thread(TimerState& timer, std::uint64_t number) noexcept;
    /// In the thread of the call.
    void call(TimerState& timer, const StopToken& stop);
    void end_call(TimerState& timer) noexcept;
    /// One user less; the mutex is locked before, and free after it.
    static void leave(TimerState& timer, std::unique_lock<std::mutex>& lock) noexcept;

    std::mutex mutex_;  // guards everything below
    std::condition_variable earlier_;
    TimerWheel wheel_;
    Nanoseconds sleeps_until_ = awake;
    std::uint32_t generation_ = 1;
    bool running_ = false;
    std::uint64_t calls_ = 0;

    static constexpr Nanoseconds awake = INT64_MIN;
};

/// The call of a timer; `Call` is a BoundCall.
template <class Call>
class TimerStateOf final : public TimerState {
public:
    template <class... Args>
    explicit TimerStateOf(Args&&... args) : call_(std::forward<Args>(args)...) {}
    ~TimerStateOf() override {
        if (phase() != Phase::over) call_.~Call();
    }

private:
    void call(const StopToken& stop) override {
        // Destroyed where it ran, before the timer is over.
        struct Destroyer {
            Call& call;
            ~Destroyer() { call.~Call(); }
        } const destroyer{call_};
        static_cast<void>(call_(stop));
    }

    union {
        Call call_;
    };
};

inline void TimerState::on_time() noexcept { TimerThread::instance().fire(*this); }

inline void TimerThread::start(TimerState& timer, Timeout interval) {
    const Nanoseconds begin = now();
    const Nanoseconds length = interval.duration().count();
    const Nanoseconds deadline = length < TimerWheel::never - begin ? begin + length : TimerWheel::never;

    sync_point();
    std::unique_lock lock{mutex_};
    if (timer.started_) throw UsageError("a Timer can be started once: make another one");
    if (timer.phase() == Phase::cancelled) {
        timer.started_ = true;
        return;
    }
    if (!running_) ensure_running();
    timer.started_ = true;
    timer.generation_ = generation_;
    set_phase(timer, Phase::pending);
    if (deadline == TimerWheel::never) return;
    wheel_.add(timer, deadline);
    if (deadline >= sleeps_until_) return;
    sleeps_until_ = awake;  // one wake is enough for all that come before it has run
    lock.unlock();
    sync_point();
    earlier_.notify_one();
}

inline bool TimerThread::cancel(TimerState& timer) noexcept {
    sync_point();
    std::unique_lock lock{mutex_};
    const Phase phase = timer.phase();
    if (phase == Phase::cancelled) return true;
    if (phase != Phase::fresh && phase != Phase::pending) return false;
    if (timer.is_timed() && timer.generation_ == generation_) wheel_.remove(timer);
    const void* const joiners = finish(timer, Phase::cancelled);
    lock.unlock();
    sync_point();
    if (joiners != nullptr) parking::wake_all(joiners);
    return true;
}

inline bool TimerThread::is_done(const TimerState& timer) const noexcept {
    // Needs no mutex: a timer's generation is written before its phase, and ours while there is one thread.
    const Phase phase = timer.phase();
    if (phase == Phase::over || phase == Phase::cancelled) return true;
    // One of the parent's, except the call that forked: that goes on here.
    return phase != Phase::fresh && timer.generation_ != generation_ && calling() != &timer;
}

inline bool TimerThread::join(TimerState& timer, Timeout timeout) {
    if (calling() == &timer) throw UsageError("a Timer's function that joins its timer would wait for ever");
    const Deadline deadline{timeout};
    {
        std::unique_lock lock{mutex_};
        if (!timer.started_ && timer.phase() != Phase::cancelled)
            throw UsageError("join of a Timer that was not started: call start() first");
        if (!is_done(timer)) {
            if (timeout.is_zero()) return false;
            timer.awaited_ = true;
            lock.unlock();
            const auto not_yet = [&] {
                const Phase phase = timer.phase();
                return phase == Phase::pending || phase == Phase::firing;
            };
            sync_point();
            while (not_yet())
                if (parking::sleep(&timer.phase_, deadline, not_yet) == parking::Result::timed_out && not_yet())
                    return false;
        }
    }
    if (timer.phase() != Phase::over || timer.thread_ == nullptr) return true;
    // What is left is the rest of its thread: the destructors of its thread-locals.
    if (is_own_thread(timer)) throw UsageError("the thread of a Timer's call that joins its timer would wait for ever");
    ThreadState& thread = **timer.thread_;
    if (!thread.ended.wait(deadline.left())) return false;
    end_thread(thread, Ending::join);
    return true;
}

inline void TimerThread::abandon(TimerState& timer) noexcept {
    // No call begins any more, and who cancelled it has set the phase last of all.
    if (timer.phase() == Phase::fresh || timer.phase() == Phase::cancelled) return delete &timer;
    sync_point();
    std::unique_lock lock{mutex_};
    const Phase phase = timer.phase();
    if (phase == Phase::pending) {
        if (timer.is_timed() && timer.generation_ == generation_) wheel_.remove(timer);
        set_phase(timer, Phase::cancelled);
    } else if (calling() != &timer) {
        lock.unlock();
        // A thread-local that the call left behind may own the timer.
        if (phase != Phase::over || !is_own_thread(timer)) static_cast<void>(join(timer, Timeout::never()));
        lock.lock();
        // A call that runs in the parent of this fork stays its user: nobody knows what it is in the midst of.
    }
    leave(timer, lock);
}

inline void TimerThread::leave(TimerState& timer, std::unique_lock<std::mutex>& lock) noexcept {
    const bool last = --timer.users_ == 0;
    lock.unlock();
    sync_point();
    if (!last) return;
    if (timer.thread_ != nullptr) end_thread(**timer.thread_, Ending::detach);
    delete &timer;
}

inline void TimerThread::ensure_running() {
    // What it needs is allocated here, where there is somebody to tell that there is none.
    auto record = std::make_shared<ThreadRecord>("plait-timer", true);
    auto& registry = ThreadRegistry::instance();
    registry.add(record);  // for its number
    registry.remove(*record);
    std::thread{[this, record = std::move(record)] { run(record); }}.detach();
    running_ = true;
}

inline void TimerThread::run(std::shared_ptr<ThreadRecord> self) {
    own_ident() = self->ident.load(std::memory_order_relaxed);
    self->begin();
    os::set_thread_name(self->name);
    own_record().record = std::move(self);

    std::unique_lock lock{mutex_};
    const std::uint32_t generation = generation_;
    for (;;) {
        wheel_.expire(now());
        // A call that ran here forked, and this is the child: its timers have a thread of their own.
        if (generation_ != generation) return;
        sleep(lock, wheel_.next_deadline());
        sleeps_until_ = awake;
    }
}

inline void TimerThread::sleep(std::unique_lock<std::mutex>& lock, Nanoseconds until) {
    sleeps_until_ = until;
    sync_point();
    if (until == TimerWheel::never) return earlier_.wait(lock);
    auto time =
        Deadline::Clock::time_point{std::chrono::ceil<Deadline::Clock::duration>(std::chrono::nanoseconds{until})};
    if constexpr (!waits_follow_steady_clock) {
        // This wait follows the wall clock, which may be set back meanwhile: look again at least every second.
        time = (std::min)(time, Deadline::Clock::now() + std::chrono::seconds{1});
    }
    earlier_.wait_until(lock, time);
}

inline void TimerThread::fire(TimerState& timer) noexcept {
    set_phase(timer, Phase::firing);
    ++timer.users_;
    const std::uint64_t number = ++calls_;
    mutex_.unlock();
    sync_point();
    if (!call_in_thread(timer, number)) call(timer, StopToken{});
    sync_point();
    mutex_.lock();
}

inline bool TimerThread::call_in_thread(TimerState& timer, std::uint64_t number) noexcept {
    class Target final : public ThreadTarget {
    public:
        Target(TimerThread& timers, TimerState& called) : timers_{timers}, called_{called} {}
        void run(const StopToken& stop) override { timers_.call(called_, stop); }

    private:
        TimerThread& timers_;
        TimerState& called_;
    };
    try {
        // Kept here too: the timer may be gone before start_thread returns.
        const auto thread = std::make_shared<ThreadState>("Timer-" + std::to_string(number), true);
        thread->target = std::make_unique<Target>(*this, timer);
        timer.thread_ = std::make_unique<std::shared_ptr<ThreadState>>(thread);
        start_thread(thread);
        return true;
    } catch (...) {
        timer.thread_ = nullptr;
        return false;
    }
}

inline void TimerThread::call(TimerState& timer, const StopToken& stop) {
    struct EndOfCall {
        TimerThread& timers;
        TimerState& timer;
        ~EndOfCall() { timers.end_call(timer); }
    } const end{*this, timer};
    calling() = &timer;
    std::exception_ptr kept;
    call_reported(kept, [&] { timer.call(stop); });
}

inline void TimerThread::end_call(TimerState& timer) noexcept {
    calling() = nullptr;
    sync_point();
    std::unique_lock lock{mutex_};
    const void* const joiners = finish(timer, Phase::over);
    leave(timer, lock);
    if (joiners != nullptr) parking::wake_all(joiners);
}

inline void TimerThread::forget_timers_of_parent() noexcept {
    // Dropped, not destroyed: a mutex that a thread of the parent holds may not be, nor what its threads wait on.
    ::new (static_cast<void*>(&mutex_)) std::mutex;
    ::new (static_cast<void*>(&earlier_)) std::condition_variable;
    ::new (static_cast<void*>(&wheel_)) TimerWheel;
    sleeps_until_ = awake;
    running_ = false;
    ++generation_;
}

}  // namespace plait::inline PLAIT_ABI::threading::detail
