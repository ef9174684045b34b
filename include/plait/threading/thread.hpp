// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/report.hpp>
#include <plait/core/stop_token.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/exception_type.hpp>
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

/// "std::runtime_error: " of what is one; nothing where the system does not tell types.
inline std::string type_before_text(const std::exception_ptr& exception) {
    if (!exception) return {};
    try {
        std::rethrow_exception(exception);
    } catch (...) {
        const char* const type = os::current_exception_type();
        return type != nullptr ? os::readable_type(type) + ": " : std::string{};
    }
}

inline void print_thread_exception(const ThreadInfo& thread, std::exception_ptr exception) {
    print_error_line("plait: exception in thread " + thread.name() + ": " + type_before_text(exception) +
                     describe(exception));
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
    std::mutex join_mutex;         // guards `handle`; held by who waits for the thread's end without a limit
    std::thread handle;
    std::uint32_t generation = 0;  // the registry's when it was started: a child of a fork has another
};

/// Throws: as Thread::start.
void start_thread(const std::shared_ptr<ThreadState>& state);

/// Waits for the very end of a thread that was started, or lets it run on alone.
enum class Ending { join, detach };
void end_thread(ThreadState& state, Ending how);

/// Calls `function()`; what leaves it is put into `kept`, and then told to the hook.
/// Not noexcept: what unwinds the stack for pthread_exit may leave it.
template <class Function>
void call_reported(std::exception_ptr& kept, Function function);

void run_thread(const std::shared_ptr<ThreadState>& state);

}  // namespace detail

/// Who is told of exceptions that leave a thread's target: the hook that is set now.
///
/// Python: threading.excepthook. The default prints one line on stderr: the thread's name, the exception's type (where the
/// system tells it) and its text.
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
/// Lifetime: the destructor requests a stop and joins, as std::jthread's; of a daemon it only detaches, also where its own
/// thread destroys it. The thread has ended once its thread-locals are destroyed too.
/// Fork: in the child the parent's other threads count as ended. A child of a program that has used neither a Thread nor
/// `current_thread` nor a Timer is told of nothing: there no primitive may be used in which another thread just slept.
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
    void start() &;
    void start() && = delete;  // name it: a temporary Thread would be joined at once
    /// Waits for its end. Throws: UsageError before `start`, and in the thread itself.
    void join();
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
    /// The state of a thread that the calling one may join.
    [[nodiscard]] detail::ThreadState& joinable_state() const;
    void end() noexcept;

    std::shared_ptr<detail::ThreadState> state_;
};

inline void Thread::start() & {
    static_cast<void>(state());
    detail::start_thread(state_);
}

inline detail::ThreadState& Thread::joinable_state() const {
    detail::ThreadState& state = this->state();
    if (state.ident.load(std::memory_order_relaxed) == 0)
        throw UsageError("join of a Thread that was not started: call start() first");
    if (is_own(state)) throw UsageError("a thread that joins itself would wait for ever: let another thread join it");
    return state;
}

inline void Thread::join() { detail::end_thread(joinable_state(), detail::Ending::join); }

inline bool Thread::join(Timeout timeout) {
    detail::ThreadState& state = joinable_state();
    if (!timeout.is_never() && !state.ended.wait(timeout)) return false;
    detail::end_thread(state, detail::Ending::join);
    return true;
}

inline void Thread::end() noexcept {
    detail::ThreadState& state = *state_;
    if (state.ident.load(std::memory_order_relaxed) == 0) return;
    if (state.daemon || is_own(state)) return detail::end_thread(state, detail::Ending::detach);
    // Not of one that has ended: in the child of a fork those of the parent have, whose callbacks are none of ours.
    if (!state.ended.is_set()) state.stop.request_stop();
    detail::end_thread(state, detail::Ending::join);
}

namespace detail {

inline void start_thread(const std::shared_ptr<ThreadState>& state) {
    const auto refuse_second = [&] {
        if (state->ident.load(std::memory_order_relaxed) != 0)
            throw UsageError("a Thread can be started once: make another one");
    };
    refuse_second();  // first without the mutex, which a join may hold for long
    sync_point();
    const std::scoped_lock lock{state->join_mutex};
    refuse_second();
    auto& registry = ThreadRegistry::instance();
    state->generation = registry.generation();
    state->begun.clear();  // it may have been tried before
    registry.add(state);
    try {
        state->handle = std::thread{[kept = state] { run_thread(kept); }};
    } catch (...) {
        registry.remove(*state);
        state->ident.store(0, std::memory_order_relaxed);
        state->begun.set();  // somebody may have found it among the living, and wait for its number
        throw;
    }
}

inline void end_thread(ThreadState& state, Ending how) {
    if (state.generation != ThreadRegistry::instance().generation()) {
        // A thread of the parent, which forked: not to be touched, and another may have held the mutex.
        if (how == Ending::join) state.ended.wait();
        ::new (static_cast<void*>(&state.handle)) std::thread;
        return;
    }
    // Several may join: the first waits for the system's thread, once, the others for the mutex.
    sync_point();
    const std::scoped_lock lock{state.join_mutex};
    if (!state.handle.joinable()) return;
    if (how == Ending::detach)
        state.handle.detach();
    else
        state.handle.join();
}

/// Rethrows, from a handler, what is no C++ exception: the unwinding of pthread_exit, which glibc lets nobody stop.
inline std::exception_ptr caught_exception() {
    std::exception_ptr exception = std::current_exception();
    if (!exception) throw;
    return exception;
}

template <class Function>
void call_reported(std::exception_ptr& kept, Function function) {
    try {
        function();
        return;
    } catch (...) {
        kept = caught_exception();
    }
    try {
        excepthook()(current_thread(), kept);
    } catch (...) {
        const std::exception_ptr thrown = caught_exception();
        report_unraisable("threading's excepthook threw, told of an exception in thread " + current_thread().name(),
                          thrown);
    }
}

inline void run_thread(const std::shared_ptr<ThreadState>& state) {
    // First of the thread-locals, so last to go: their destructors can still ask who they are.
    OwnRecord& own = own_record();
    own.record = state;
    own.ends = true;
    own_ident() = state->ident.load(std::memory_order_relaxed);
    os::set_thread_name(state->name);
    state->begin();
    call_reported(state->exception, [&] {
        const std::unique_ptr<ThreadTarget> target = std::move(state->target);
        target->run(state->stop.get_token());
    });
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::threading
