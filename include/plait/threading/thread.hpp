// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/report.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/thread.hpp>
#include <plait/threading/detail/bound_call.hpp>
#include <plait/threading/event.hpp>
#include <plait/threading/thread_info.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::threading {

/// How a Thread is made.
struct ThreadOptions {
    /// Empty for "Thread-1" and so on. The operating system's thread has it too, cut to what that can hold.
    std::string name{};
    /// Whether ~Thread lets it run on alone instead of joining it; then nobody waits for it at the program's end.
    bool daemon = false;
};

/// What is told of an exception that leaves a thread's target.
using ExceptHook = void (*)(const ThreadInfo& thread, std::exception_ptr exception);

namespace detail {

inline void print_thread_exception(const ThreadInfo& thread, std::exception_ptr exception) {
    print_error_line("plait: exception in thread " + thread.name() + ": " + describe(exception));
}

PLAIT_VISIBLE inline std::atomic<ExceptHook>& except_hook() noexcept {
    static constinit std::atomic<ExceptHook> hook{&print_thread_exception};
    return hook;
}

/// A thread's target with its arguments; both are destroyed in the thread, before it counts as ended.
class ThreadTarget {
public:
    ThreadTarget() = default;
    ThreadTarget(const ThreadTarget&) = delete;
    ThreadTarget& operator=(const ThreadTarget&) = delete;
    virtual ~ThreadTarget() = default;
    virtual void run(const StopToken& stop) = 0;
};

template <class Call>
class ThreadTargetOf final : public ThreadTarget {
public:
    template <class... Args>
    explicit ThreadTargetOf(Args&&... args) : call_(std::forward<Args>(args)...) {}
    void run(const StopToken& stop) override { static_cast<void>(call_(stop)); }

private:
    Call call_;
};

/// What a Thread and its thread share.
struct ThreadState : ThreadRecord {
    using ThreadRecord::ThreadRecord;

    std::unique_ptr<ThreadTarget> target;  // the Thread's until it is started, then the thread's
    StopSource stop;
    std::exception_ptr exception;  // the thread's until `ended`, then nobody writes it
    std::mutex join_mutex;         // guards `handle`
    std::thread handle;
    std::int64_t process = 0;  // whose thread it is, not that of a fork's child; written before the thread begins
};

/// Not noexcept: what unwinds the stack for pthread_exit may leave it.
void run_thread(const std::shared_ptr<ThreadState>& state);

}  // namespace detail

/// Who is told of exceptions that leave a thread's target: the hook that is set now.
///
/// Python: threading.excepthook. The default prints one line on stderr with the thread's name and the text.
[[nodiscard]] inline ExceptHook excepthook() noexcept {
    // Acquire pairs with the release in set_excepthook: the hook may use what was written before it was set.
    return detail::except_hook().load(std::memory_order_acquire);
}
/// Sets it; null gives back the default. Returns the one before. Threads: it is called on the thread that failed, by
/// several at once.
inline ExceptHook set_excepthook(ExceptHook hook) noexcept {
    return detail::except_hook().exchange(hook != nullptr ? hook : &detail::print_thread_exception,
                                          std::memory_order_acq_rel);
}

/// Runs a callable in a thread of its own.
///
/// Python: threading.Thread. For many short calls use ThreadPool; for a result, its `apply_async`.
///
///     Thread worker(ThreadOptions{.name = "worker"}, download, url, std::ref(result));
///     worker.start();
///     if (!worker.join(5s)) worker.request_stop();
///
/// The target and its arguments are stored by value (std::ref for a reference) and moved into the call. If it can only
/// be called with a StopToken (or std::stop_token) before the arguments, it gets the one that `request_stop` stops. An
/// exception that leaves it goes to `excepthook` and is kept in `exception()`; the program goes on. It may end itself by
/// pthread_exit, where the compiler's runtime bears that.
/// Threads: every member but moves and destruction from any thread.
/// Lifetime: the destructor joins, of a daemon detaches. Destroyed by its own thread, it detaches.
class Thread {
public:
    template <class F, class... Args>
        requires(!std::is_same_v<std::decay_t<F>, ThreadOptions> && !std::is_same_v<std::decay_t<F>, Thread> &&
                 detail::CallableLater<F, Args...>)
    explicit Thread(F&& target, Args&&... args)
        : Thread{ThreadOptions{}, std::forward<F>(target), std::forward<Args>(args)...} {}
    template <class F, class... Args>
        requires detail::CallableLater<F, Args...>
    Thread(ThreadOptions options, F&& target, Args&&... args)
        : state_{std::make_shared<detail::ThreadState>(
              options.name.empty() ? detail::ThreadRegistry::instance().next_thread_name() : std::move(options.name),
              options.daemon)} {
        using Target = detail::ThreadTargetOf<detail::BoundCallOf<F, Args...>>;
        state_->target = std::make_unique<Target>(std::forward<F>(target), std::forward<Args>(args)...);
    }
    Thread(Thread&&) noexcept = default;
    Thread& operator=(Thread other) noexcept {
        state_.swap(other.state_);
        return *this;
    }
    ~Thread() {
        if (state_) end();
    }

    /// Starts it. Throws: UsageError the second time; std::system_error where the system gives no thread, after which
    /// it can be tried again.
    void start();
    /// Waits for its end. Throws: UsageError before `start`, and in the thread itself.
    void join() { static_cast<void>(join(Timeout::never())); }
    /// Waits for `timeout` at most; returns whether it has ended.
    [[nodiscard]] bool join(Timeout timeout);

    /// Stops the StopToken that the target was given; it is up to the target to end. False where that was done before.
    bool request_stop() noexcept { return state_ != nullptr && state_->stop.request_stop(); }
    [[nodiscard]] StopToken stop_token() const { return state().stop.get_token(); }

    const std::string& name() const { return state().name; }
    bool daemon() const { return state().daemon; }
    /// As of ThreadInfo.
    std::uint64_t ident() const { return info().ident(); }
    std::uint64_t native_id() const { return info().native_id(); }
    /// Whether it was started and has not ended.
    bool is_alive() const { return info().is_alive(); }
    /// What left the target, once it has ended; else null.
    std::exception_ptr exception() const { return state().ended.is_set() ? state().exception : std::exception_ptr{}; }
    /// What current_thread() gives in it.
    [[nodiscard]] ThreadInfo info() const {
        static_cast<void>(state());
        return ThreadInfo{state_};
    }

private:
    /// Whether the calling thread is the one that this started.
    [[nodiscard]] static bool is_own(const detail::ThreadState& state) noexcept {
        const std::uint64_t ident = state.ident.load(std::memory_order_relaxed);
        return ident != 0 && ident == detail::own_ident();
    }
    [[nodiscard]] detail::ThreadState& state() const {
        if (!state_) throw UsageError("this Thread was moved from: use the one that it was moved to");
        return *state_;
    }
    void end() noexcept;
    /// Waits for the last steps of a thread that has ended, or lets them be.
    static void close(detail::ThreadState& state, bool detach);

    std::shared_ptr<detail::ThreadState> state_;
};

inline void Thread::start() {
    detail::ThreadState& state = this->state();
    const std::scoped_lock lock{state.join_mutex};
    if (state.ident.load(std::memory_order_relaxed) != 0)
        throw UsageError("a Thread can be started once: make another one");
    auto& registry = detail::ThreadRegistry::instance();
    state.process = os::current_process_id();
    registry.add(state_);
    try {
        state.handle = std::thread{[kept = state_] { detail::run_thread(kept); }};
    } catch (...) {
        registry.remove(state);
        state.ident.store(0, std::memory_order_relaxed);
        throw;
    }
}

inline bool Thread::join(Timeout timeout) {
    detail::ThreadState& state = this->state();
    if (state.ident.load(std::memory_order_relaxed) == 0)
        throw UsageError("join of a Thread that was not started: call start() first");
    if (is_own(state)) throw UsageError("a thread that joins itself would wait for ever: let another thread join it");
    if (!state.ended.wait(timeout)) return false;
    close(state, false);
    return true;
}

inline void Thread::end() noexcept {
    detail::ThreadState& state = *state_;
    if (state.ident.load(std::memory_order_relaxed) == 0) return;
    const bool own = is_own(state);
    if (!state.daemon && !own) state.ended.wait();
    close(state, state.daemon || own);
}

inline void Thread::close(detail::ThreadState& state, bool detach) {
    if (state.process != os::current_process_id()) {
        // A thread of the parent, which forked: not to be touched, and another may have held the mutex.
        ::new (static_cast<void*>(&state.handle)) std::thread;
        return;
    }
    const std::scoped_lock lock{state.join_mutex};
    if (!state.handle.joinable()) return;
    if (detach)
        state.handle.detach();
    else
        state.handle.join();
}

namespace detail {

/// Rethrows, from a handler, what is no C++ exception: the unwinding of pthread_exit, which glibc lets nobody stop.
inline std::exception_ptr caught_exception() {
    std::exception_ptr exception = std::current_exception();
    if (!exception) throw;
    return exception;
}

/// Says that a thread has ended, however it did.
struct EndOfThread {
    ThreadState& state;
    ~EndOfThread() {
        // In this order: the child of a fork in between finds it among the living, or ended.
        state.ended.set();
        ThreadRegistry::instance().remove(state);
    }
};

inline void run_thread(const std::shared_ptr<ThreadState>& state) {
    // First of the thread-locals, so last to go: their destructors can still ask who they are.
    own_record().record = state;
    own_ident() = state->ident.load(std::memory_order_relaxed);
    const EndOfThread end{*state};
    os::set_thread_name(state->name);
    state->begin();
    try {
        const std::unique_ptr<ThreadTarget> target = std::move(state->target);
        target->run(state->stop.get_token());
    } catch (...) {
        state->exception = caught_exception();
    }
    if (state->exception) {
        try {
            excepthook()(current_thread(), state->exception);
        } catch (...) {
            const std::exception_ptr thrown = caught_exception();
            report_unraisable("threading's excepthook threw, told of an exception in thread " + state->name, thrown);
        }
    }
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::threading
