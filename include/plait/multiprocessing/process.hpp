// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/process_state.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/start_method.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// A function that runs in a process of its own: whatever becomes of it there, this program goes on.
///
/// Python: multiprocessing.Process. For many short calls use a Pool. `main` must begin with `freeze_support`.
///
///     void greet(const std::string& name) { std::cout << "hello " << name << '\n'; }
///
///     Process child(greet, "Bob");
///     child.start();
///     child.join();
///
/// The function is a function pointer, a captureless lambda, or a function object with a Codec; the arguments are
/// converted to its parameters' types, encoded by `start`, and decoded over there. A lambda with captures runs in a copy
/// of this program: `Process::forked`. A child by spawn ends by std::exit, its own exit handlers run; one by fork or
/// forkserver, as in Python, by _exit once the standard streams are flushed. A target that ends its thread by
/// pthread_exit ends the process with SIGABRT.
///
/// Threads: every member from any thread of the program that made it.
/// Lifetime: the destructor joins; it terminates a daemon, and any child while an exception unwinds.
class Process {
public:
    template <class F, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<F>, Process> &&
                 !std::is_same_v<std::remove_cvref_t<F>, ProcessOptions>)
    explicit Process(F&& target, Args&&... args)
        : Process(ProcessOptions{}, std::forward<F>(target), std::forward<Args>(args)...) {}

    template <class F, class... Args>
    Process(ProcessOptions options, F&& target, Args&&... args);

    /// A copy of this program that runs `target(args...)`, captures and all, and ends.
    ///
    /// Python: a Process of the "fork" context. Only the thread that starts it lives on in the copy: what other threads
    /// held locked stays locked there.
    template <class F, class... Args>
    static Process forked(F&& target, Args&&... args);

    Process(Process&&) noexcept = default;
    Process& operator=(Process&& other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~Process() {
        if (state_ != nullptr) state_->let_go();
    }

    /// Throws: UsageError the second time, or where `freeze_support` was not called; std::system_error where no process
    /// can be had, and what the arguments' Codecs throw: nothing is left behind then, and it can be tried again. Once it
    /// has started, the target and the arguments are no more held here.
    void start() { state().start(); }

    /// Waits for its end. Throws: UsageError before `start`.
    void join() { static_cast<void>(state().join(Timeout::never())); }
    /// Returns whether it ended within `timeout`.
    [[nodiscard]] bool join(Timeout timeout) { return state().join(timeout); }

    bool is_alive() { return state().is_alive(); }
    /// Its number; empty before `start`.
    std::optional<std::int64_t> pid() { return state().pid(); }
    const std::string& name() { return state().options().name; }
    bool daemon() { return state().options().daemon; }

    /// What it ended with: 0 for a target that returned, 1 for one that threw, 125 for a child that could not be what it
    /// was to be, minus the signal's number; empty while it runs, before `start`, and where the status is unknown: the
    /// host took it for itself, or somebody killed the fork server.
    std::optional<std::int64_t> exitcode();
    /// The same with more words: whether it is known, the code, the signal, a text.
    ExitStatus exit_status() { return state().exit_status(); }
    /// What the target threw, or why the child refused, carried home; null while it runs, where it threw nothing, and where
    /// the process crashed, which `exitcode` tells.
    std::exception_ptr exception() { return state().exception(); }

    /// Asks it to end (SIGTERM); does nothing after its end. Throws: UsageError before `start`.
    void terminate() { state().terminate(); }
    /// Ends it (SIGKILL); does nothing after its end.
    void kill() { state().kill(); }
    /// Lets go of what an ended process holds here: name() and daemon() are still to be had, every other call but
    /// close() throws UsageError from then on. Throws: UsageError while it runs.
    void close() { state().close(); }

    /// A handle that becomes readable at its end, to be waited for with others; it belongs to this object.
    os::NativeHandle sentinel() { return state().sentinel(); }

private:
    explicit Process(std::shared_ptr<detail::ProcessState> state) noexcept : state_{std::move(state)} {}
    detail::ProcessState& state() const {
        if (state_ == nullptr) throw UsageError("this Process was moved from: use the object that it was moved to");
        return *state_;
    }

    std::shared_ptr<detail::ProcessState> state_;
};

template <class F, class... Args>
Process::Process(ProcessOptions options, F&& target, Args&&... args) {
    using Callable = std::decay_t<F>;
    detail::check_call<Callable, Args...>();
    if constexpr (detail::call_fits<Callable, Args...>())
        state_ = std::make_shared<detail::ProcessState>(
            std::move(options),
            detail::make_process_target<false>(std::forward<F>(target), std::forward<Args>(args)...));
}

template <class F, class... Args>
Process Process::forked(F&& target, Args&&... args) {
    ProcessOptions options{.start_method = StartMethod::fork};
    const auto make = [](ProcessOptions chosen, auto&& callable, auto&&... values) {
        detail::ProcessTarget ways;
        ways.run = [callable = std::decay_t<decltype(callable)>(std::forward<decltype(callable)>(callable)),
                    arguments = std::tuple<std::decay_t<decltype(values)>...>(std::forward<decltype(values)>(
                        values)...)](Encoder&) mutable { std::apply(std::move(callable), std::move(arguments)); };
        ways.what = detail::callable_name<std::decay_t<decltype(callable)>>();
        return Process(std::make_shared<detail::ProcessState>(std::move(chosen), std::move(ways)));
    };
    if constexpr (std::is_same_v<std::remove_cvref_t<F>, ProcessOptions>) {
        options = std::forward<F>(target);
        options.start_method = StartMethod::fork;
        return make(std::move(options), std::forward<Args>(args)...);
    } else {
        return make(std::move(options), std::forward<F>(target), std::forward<Args>(args)...);
    }
}

inline std::optional<std::int64_t> Process::exitcode() {
    const ExitStatus status = state().exit_status();
    return status.known ? std::optional<std::int64_t>{status.code} : std::nullopt;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing
