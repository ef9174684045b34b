// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/process/answer.hpp>
#include <plait/multiprocessing/process/farewell.hpp>
#include <plait/multiprocessing/process_state.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/start_method.hpp>
#include <plait/os/child.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// What a call of `isolated` may be told.
struct IsolatedOptions {
    Timeout timeout = Timeout::never();  ///< from the start of its process; a call that runs longer is killed
    /// Bytes that its process may have resident; one that has more is killed. Looked at every 10 ms, where the system
    /// tells: on Linux.
    std::optional<std::size_t> memory_limit = {};
    /// Between asking a call that ran too long to end (SIGTERM) and ending it (SIGKILL); and how long its process may take
    /// to end once it has given its result.
    Timeout termination_grace = std::chrono::seconds{1};
    std::optional<StartMethod> start_method = {};  ///< `get_start_method()` where it is empty
    std::string name = {};                         ///< of the process, for people
};

namespace detail {

/// One call in a process of its own, from its start to its end.
class IsolatedCall {
public:
    /// Starts it.
    IsolatedCall(IsolatedOptions options, ProcessTarget target);
    IsolatedCall(const IsolatedCall&) = delete;
    IsolatedCall& operator=(const IsolatedCall&) = delete;
    /// Its process goes with it, whatever was thrown meanwhile.
    ~IsolatedCall();

    /// Waits for its end, or sees to it. The encoded value; throws what the call threw, ProcessDied, TaskTimeoutError.
    Decoder wait();

private:
    /// Why we end it: nobody does; it ran too long; it has too much memory; a signal stopped it; it closed its channel, or
    /// wrote to it.
    enum class Ending { no, timeout, memory, stopped, misbehaved };

    void look();
    void look_at_state();
    void end(Ending why, int signal);
    void wait_for_news();
    /// Of one that has ended: what it left running goes with it.
    void end_group();
    [[noreturn]] void throw_death();

    const IsolatedOptions options_;
    const std::string_view what_;
    const std::shared_ptr<ProcessState> process_;
    std::int64_t pid_ = 0;
    const os::Handle* control_ = nullptr;
    Answer answer_;
    bool ended_ = false;
    Ending ending_ = Ending::no;
    std::size_t memory_ = 0;  // bytes, when they were last looked at
    plait::detail::Deadline limit_ = plait::detail::Deadline::never();
    plait::detail::Deadline look_at_ = plait::detail::Deadline::never();
    plait::detail::Deadline kill_at_ =
        plait::detail::Deadline::never();  // of one that is asked to end, or has answered
    plait::detail::Deadline suspect_at_ = plait::detail::Deadline::never();     // of one that cannot answer any more
    plait::detail::Deadline stopped_until_ = plait::detail::Deadline::never();  // of one that a signal has stopped
};

/// The sentences for what cannot be called so: handles go there, as to a Process, and mere bytes come back.
template <class F, class... Args>
constexpr void check_isolated() {
    check_call<F, Args...>();
    static_assert(
        !carries_handles<typename CallTraits<F, Args...>::Result>(),
        "plait: a lock, queue, connection or its like cannot be the result of an isolated call: make it here, "
        "and pass it as an argument");
}

template <class Result>
Result run_isolated(IsolatedOptions options, ProcessTarget target) {
    IsolatedCall call(std::move(options), std::move(target));
    [[maybe_unused]] Decoder in = call.wait();
    if constexpr (!std::is_void_v<Result>) {
        Result result = in.read<Result>();
        if (in.remaining() != 0) throw CodecError("cannot decode an isolated call's result: bytes are left over");
        return result;
    }
}

}  // namespace detail

/// Calls `f(args...)` in a fresh process, and waits for what comes of it: for the call that may crash.
///
/// What can be called, and with what, is as for `Process`; the result is what a Codec takes. For many calls use a Pool,
/// whose processes stay. `main` must begin with `freeze_support`.
///
///     try {
///         Document document = isolated(parse, bytes);
///     } catch (const ProcessDied& death) {
///         std::cerr << death.what();  // process 4711 was killed by SIGSEGV (…) while it ran …
///     }
///
/// A process that ends without an answer, that a signal stops for a second, or that closes its end of the channel is a
/// ProcessDied. Its process group ends with it, so nothing that the call left running stays; nor does it outlive this
/// program.
///
/// Throws: what the call threw, as its own type where that can be made again, else RemoteError; ProcessDied;
/// TaskTimeoutError; UsageError where `freeze_support` was not called, or for a memory limit where the system does not tell;
/// std::system_error where no process can be had.
/// Threads: any, any number at once.
template <class F, class... Args>
auto isolated(IsolatedOptions options, F&& f, Args&&... args) ->
    typename detail::CallTraits<std::decay_t<F>, Args...>::Result {
    using Callable = std::decay_t<F>;
    detail::check_isolated<Callable, Args...>();
    if constexpr (detail::call_fits<Callable, Args...>())
        return detail::run_isolated<typename detail::CallTraits<Callable, Args...>::Result>(
            std::move(options), detail::make_process_target<true>(std::forward<F>(f), std::forward<Args>(args)...));
}
template <class F, class... Args>
    requires(!std::is_same_v<std::remove_cvref_t<F>, IsolatedOptions>)
auto isolated(F&& f, Args&&... args) {
    return isolated(IsolatedOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
}

namespace detail {

inline IsolatedCall::IsolatedCall(IsolatedOptions options, ProcessTarget target)
    : options_{std::move(options)},
      what_{target.what},
      process_{std::make_shared<ProcessState>(
          ProcessOptions{.name = options_.name, .daemon = true, .start_method = options_.start_method},
          std::move(target))} {
    if (options_.memory_limit && !os::resident_memory(os::process_id()))
        throw UsageError("isolated: this system does not tell how much memory a process has; call it without a limit");
    process_->start();
    pid_ = *process_->pid();
    control_ = &process_->answer_channel();
    limit_ = plait::detail::Deadline{options_.timeout};
}

inline IsolatedCall::~IsolatedCall() {
    if (ended_) return;
    try {
        os::signal_process_group(pid_, os::certain_end);
        process_->wait(Timeout::never());
        end_group();
    } catch (...) {
        plait::detail::report_unraisable("the end of an isolated call", std::current_exception());
    }
}

inline Decoder IsolatedCall::wait() {
    for (;;) {
        look();
        if (ended_) break;
        wait_for_news();
    }
    end_group();
    if (ending_ != Ending::no || !answer_.is_complete()) throw_death();
    return answer_.value();
}

inline void IsolatedCall::look() {
    using plait::detail::Deadline;
    answer_.read(*control_);
    ended_ = process_->wait(std::chrono::seconds{0});
    if (ended_) return answer_.read(*control_);  // all that it ever said is there by now
    if (ending_ != Ending::no || answer_.is_complete()) {
        if (kill_at_.is_never()) kill_at_ = Deadline{options_.termination_grace};
        if (!kill_at_.has_passed()) return;
        os::signal_process_group(pid_, os::certain_end);
        kill_at_ = Deadline{std::chrono::seconds{1}};
        return;
    }
    if (answer_.is_closed() || answer_.is_foreign()) {
        // Most likely it is about to end, refused or killed.
        if (suspect_at_.is_never()) suspect_at_ = Deadline{std::chrono::milliseconds{500}};
        if (suspect_at_.has_passed()) return end(Ending::misbehaved, os::certain_end);
    }
    if (limit_.has_passed()) return end(Ending::timeout, os::polite_end);
    if (look_at_.is_never() || look_at_.has_passed()) look_at_state();
}

inline void IsolatedCall::look_at_state() {
    using plait::detail::Deadline;
    look_at_ = Deadline{std::chrono::milliseconds{options_.memory_limit ? 10 : 200}};
    memory_ = os::resident_memory(pid_).value_or(0);
    if (options_.memory_limit && memory_ > *options_.memory_limit) return end(Ending::memory, os::certain_end);
    // A second, for who stops a whole program and has it go on: not all of its processes hear that at once.
    if (!os::is_stopped(pid_))
        stopped_until_ = Deadline::never();
    else if (stopped_until_.is_never())
        stopped_until_ = Deadline{std::chrono::seconds{1}};
    else if (stopped_until_.has_passed())
        end(Ending::stopped, os::certain_end);
}

inline void IsolatedCall::end(Ending why, int signal) {
    ending_ = why;
    os::signal_process_group(pid_, signal);
    kill_at_ = plait::detail::Deadline{options_.termination_grace};
}

inline void IsolatedCall::wait_for_news() {
    using plait::detail::Deadline;
    const bool reads = !answer_.is_complete() && !answer_.is_closed() && !answer_.is_foreign();
    std::array items{os::PollItem{reads ? control_->get() : os::Handle::none, os::readable},
                     os::PollItem{process_->sentinel(), os::readable}};
    Deadline next = kill_at_;
    if (ending_ == Ending::no && !answer_.is_complete())
        for (const Deadline each : {limit_, look_at_, suspect_at_})
            if (each < next) next = each;
    // Where the system has no watch for processes, the process's own children can keep its end from being told.
    const Deadline soon{std::chrono::milliseconds{50}};
    if (!os::can_watch_processes() && soon < next) next = soon;
    static_cast<void>(os::poll(items, next));
    // Gone but for a debugger, perhaps, or for its reaping: this does not return at once then.
    if (items[1].is_ready()) static_cast<void>(process_->wait(std::chrono::milliseconds{1}));
}

inline void IsolatedCall::end_group() {
    // Known when it was reaped. While a group has members its number is given to no process: no other group is met.
    static_cast<void>(process_->exit_status());
    if (!os::process_exists(pid_)) os::signal_process_group(pid_, os::certain_end);
}

inline void IsolatedCall::throw_death() {
    const ExitStatus status = process_->exit_status();
    const std::string process = "process " + std::to_string(pid_);
    const std::string call = "an isolated call of " + std::string(what_);
    if (ending_ == Ending::timeout) {
        char limit[32];
        std::snprintf(limit, sizeof limit, "%g s", std::chrono::duration<double>(options_.timeout.duration()).count());
        throw TaskTimeoutError(call + " ran longer than its limit of " + limit + "; " + process + " was killed with it",
                               pid_, 0);
    }
    if (ending_ == Ending::no && answer_.is_foreign())
        if (const auto refusal = Farewell::receive(*control_, answer_.begun()); refusal && refusal->exception)
            std::rethrow_exception(refusal->exception);
    const auto mebibytes = [](std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
    std::string text = process + " ";
    if (status.signal != 0)
        text += "was killed by " + os::signal_description(status.signal);
    else
        text += status.text;
    text += " while it ran " + call;
    if (ending_ == Ending::memory)
        text += "; it had " + mebibytes(memory_) + " of memory, more than its limit of " +
                mebibytes(*options_.memory_limit);
    else if (ending_ == Ending::stopped)
        text += "; a signal had stopped it";
    else if (ending_ == Ending::misbehaved || answer_.is_foreign())
        text += "; it had closed its channel to the program, or written to it";
    else if (status.code == -os::certain_end)
        text += "; plait did not send that: perhaps the kernel was out of memory, the process had " +
                mebibytes(memory_) + " when last looked at";
    throw ProcessDied(text, pid_, status.code);
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing
