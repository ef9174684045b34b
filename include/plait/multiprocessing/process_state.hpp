// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/fork_server.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/process/farewell.hpp>
#include <plait/multiprocessing/process/options.hpp>
#include <plait/multiprocessing/process/registry.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/start_method.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/process.hpp>
#include <plait/os/surroundings.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

/// The two ways to hand over a target; `encode` is empty for those that only a copy of this program can run.
struct ProcessTarget {
    plait::detail::MoveOnlyFunction<void(Encoder& out)> encode;
    plait::detail::MoveOnlyFunction<void(Encoder& result)> run;
    std::string_view what;  ///< for people; of static storage
    bool answers = false;   ///< what comes of it goes home: see process/answer.hpp
};

/// The ways to run `callable(args...)`, which `check_call` found fit; `answers`: its result is for who started it.
template <bool answers, class F, class... Args>
ProcessTarget make_process_target(F&& callable, Args&&... args) {
    using Callable = std::decay_t<F>;
    using Traits = CallTraits<Callable, Args...>;
    using Travel = typename Traits::Travel;
    // Both ways share what was given: converted once, now, so that later changes of the caller do not count.
    struct Given {
        Callable callable;
        Travel arguments;
    };
    auto given = std::make_shared<Given>(Given{std::forward<F>(callable), Travel(std::forward<Args>(args)...)});
    ProcessTarget ways;
    ways.encode = [given](Encoder& out) {
        out.write(name_callable<Travel>(given->callable));
        std::apply([&](const auto&... values) { out.write(values...); }, given->arguments);
    };
    ways.run = [given]([[maybe_unused]] Encoder& result) {
        if constexpr (answers && !std::is_void_v<typename Traits::Result>)
            result.write(std::apply(given->callable, std::move(given->arguments)));
        else
            std::apply(given->callable, std::move(given->arguments));
    };
    ways.what = callable_name<Callable>();
    ways.answers = answers;
    return ways;
}

/// The main of a process by spawn: its payload is its papers, the callable and the arguments.
inline int run_spawned_process(ChildContext& context) {
    Decoder in(context.payload);
    auto papers = in.read<ChildPapers>();
    if (papers.daemon) os::end_with_parent(context.parent, context.control);
    const int code = run_target(context.control, std::move(papers), [&](Encoder& result) {
        const Incoming luggage(std::move(context.handles));
        in.carry(luggage);
        const auto callable = in.read<CallableName>();
        call_by_name(callable, in, result);
    });
    // Open for life: exit handlers may ask for the parent. And the target may have given its number to another file.
    static_cast<void>(context.control.release());
    return code;
}

/// What a Process and what tells of it share.
class ProcessState : public std::enable_shared_from_this<ProcessState> {
public:
    ProcessState(ProcessOptions options, ProcessTarget target);
    ProcessState(const ProcessState&) = delete;
    ProcessState& operator=(const ProcessState&) = delete;
    ~ProcessState() = default;

    void start();
    bool join(Timeout timeout) {
        static_cast<void>(lock_started("join"));
        return wait(timeout);
    }
    /// The same for who may come too late: true before its start and once it is closed.
    bool wait(Timeout timeout);
    bool is_alive() {
        const auto lock = lock_open();
        return started() && !child_->reap();
    }
    std::optional<std::int64_t> pid() {
        const auto lock = lock_open();
        return started() ? std::optional<std::int64_t>{child_->pid()} : std::nullopt;
    }
    const ProcessOptions& options() const noexcept { return options_; }
    ExitStatus exit_status();
    std::exception_ptr exception();
    void terminate() { send_signal(os::polite_end, "terminate"); }
    void kill() { send_signal(os::certain_end, "kill"); }
    void close();
    os::NativeHandle sentinel() {
        const auto lock = lock_started("sentinel");
        return child_->sentinel();
    }
    /// The channel to a child that answers, which nobody else reads from then on.
    const os::Handle& answer_channel() {
        const auto lock = lock_started("answer_channel");
        heard_ = true;
        return control_;
    }
    /// The same as `terminate` and `kill` for who may come too late.
    void signal_if_there(int number) {
        check_owner();
        const std::scoped_lock lock{mutex_};
        if (started() && !closed_) child_->send_signal(number);
    }

    /// Its Process goes: waits for it, and ends it first if it is a daemon, or an exception unwinds.
    void let_go() noexcept;
    /// Its number if it is a running child of this program.
    std::optional<std::int64_t> pid_if_alive() {
        if (!is_owned()) return std::nullopt;
        const std::scoped_lock lock{mutex_};
        if (!started() || closed_ || child_->reap()) return std::nullopt;
        return child_->pid();
    }
    /// In a forked copy of the program: what it holds is the program's.
    void close_handles_in_copy() noexcept {
        // Not the pointer: a thread of the program that waited holds another, and is not here to let go.
        if (child_ != nullptr) *child_ = os::Child{};
        control_.reset();
    }

private:
    enum class Phase { made, starting, started };
    struct Begun {
        os::Child child;
        os::Handle control;
    };

    Begun start_copy();
    Begun start_fresh();
    Begun start_served();
    [[nodiscard]] std::vector<std::string> environment() const {
        std::vector<std::string> entries;
        for (const auto& [variable, value] : options_.environment) entries.push_back(variable + "=" + value);
        return entries;
    }
    [[nodiscard]] ChildPapers papers() const {
        return {options_.name,    numbers_,        this_process().papers.name,
                os::process_id(), options_.daemon, target_.answers};
    }

    void send_signal(int number, const char* what) {
        const auto lock = lock_started(what);
        child_->send_signal(number);
    }
    [[nodiscard]] bool is_owned() const noexcept { return owner_ == os::process_id(); }
    [[nodiscard]] bool started() const noexcept { return phase_ == Phase::started; }
    /// Before anything is locked: in a forked copy a mutex may be held by a thread that is not there.
    void check_owner() const {
        if (!is_owned())
            throw UsageError("this Process belongs to the program that made it, not to a forked copy of that");
    }
    std::unique_lock<std::mutex> lock_open() {
        check_owner();
        std::unique_lock lock{mutex_};
        if (closed_) throw UsageError("this Process was closed: read what you need of it before close()");
        return lock;
    }
    std::unique_lock<std::mutex> lock_started(const char* what) {
        auto lock = lock_open();
        if (!started()) throw UsageError(std::string("Process::") + what + ": it was not started; call start() first");
        return lock;
    }
    /// What an ended child said; read once.
    const Farewell* farewell() {
        if (!heard_) farewell_ = Farewell::receive(control_);
        heard_ = true;
        return farewell_ ? &*farewell_ : nullptr;
    }

    const std::string numbers_ = this_process().next_numbers();
    const ProcessOptions options_;
    const std::int64_t owner_ = os::process_id();
    const int exceptions_at_start_ = std::uncaught_exceptions();

    std::mutex mutex_;  // guards all below; the handles change under the registry's too
    ProcessTarget target_;
    const std::string_view what_ = target_.what;
    Phase phase_ = Phase::made;
    bool closed_ = false;
    bool heard_ = false;
    std::shared_ptr<os::Child> child_;  // shared with those that wait for it, while another thread may close()
    os::Handle control_;
    std::optional<Farewell> farewell_;
};

inline ProcessState::ProcessState(ProcessOptions options, ProcessTarget target)
    : options_{checked(std::move(options), numbers_)}, target_{std::move(target)} {}

inline void ProcessState::start() {
    {
        const auto lock = lock_open();
        if (phase_ != Phase::made)
            throw UsageError("Process::start: it was started before; make a new Process for another run");
        phase_ = Phase::starting;
    }
    // Not under the mutex: the arguments' Codecs, and their destructors at the end, are the user's.
    ProcessTarget handed_over;
    ProcessRegistry& registry = ProcessRegistry::of_this_program();
    try {
        registry.add(weak_from_this());
        auto child = std::make_shared<os::Child>();  // now: once there is a process nothing may fail
        Begun begun;
        switch (options_.start_method.value_or(get_start_method())) {
            case StartMethod::fork:
                begun = start_copy();
                break;
            case StartMethod::spawn:
                begun = start_fresh();
                break;
            case StartMethod::forkserver:
                begun = start_served();
                break;
        }
        *child = std::move(begun.child);
        const std::scoped_lock lock{registry.mutex(), mutex_};
        child_ = std::move(child);
        control_ = std::move(begun.control);
        phase_ = Phase::started;
        handed_over = std::move(target_);
    } catch (...) {
        const std::scoped_lock lock{mutex_};
        phase_ = Phase::made;
        throw;
    }
}

/// The server that kills a daemon which this program makes itself: a stopped one cannot see to its own end, and the
/// system does not wake one that has changed its user meanwhile.
inline ForkServer* guard_of(const ProcessOptions& options) {
    if (!options.daemon || !ForkServer::can_be() || !os::can_watch_processes()) return nullptr;
    ForkServer& server = ForkServer::of_this_program();
    server.prepare();
    return &server;
}

/// Has `guard`, if it is one, kill `daemon`. Where that fails nothing is left behind.
inline void guard_or_end(ForkServer* guard, os::Child& daemon) {
    if (guard == nullptr) return;
    try {
        guard->guard(daemon);
    } catch (...) {
        daemon.send_signal(os::certain_end);
        daemon.wait(plait::detail::Deadline::never());
        throw;
    }
}

inline ProcessState::Begun ProcessState::start_copy() {
    ForkServer* const guard = guard_of(options_);
    os::ChannelEnds channel = os::make_channel();
    const std::int64_t parent = os::process_id();
    ChildPapers its_papers = papers();
    ForkServer& server = ForkServer::of_this_program();
    ProcessRegistry& registry = ProcessRegistry::of_this_program();
    const auto body = [&] {
        try {
            channel.first.reset();
            for (const auto& state : registry.all_locked()) state->close_handles_in_copy();
            plait::detail::wait_helper() = nullptr;
            if (!options_.environment.empty()) os::replace_environment(os::environment_block(environment()));
            if (options_.daemon) os::end_with_parent(parent, channel.second);
            return run_target(channel.second, std::move(its_papers), target_.run);
        } catch (...) {
            return refuse(channel.second);
        }
    };
    Begun begun;
    os::flush_standard_streams();  // not under the locks: it may wait, and run stream buffers of the user's
    {
        const auto server_is_held = server.try_hold();
        const std::scoped_lock lock{registry.mutex()};
        begun.child = os::fork_flushed_child([&] {
            if (server_is_held) server.forget_in_copy();
            return body();
        });
    }
    begun.control = std::move(channel.first);
    guard_or_end(guard, begun.child);
    return begun;
}

inline ProcessState::Begun ProcessState::start_fresh() {
    check_fresh_start();
    ForkServer* const guard = guard_of(options_);
    Outgoing luggage;
    Encoder payload;
    payload.carry(luggage);
    payload.write(papers());
    target_.encode(payload);
    os::SpawnOptions spawn;
    spawn.environment = environment();
    FreshChild fresh = start_fresh_child(child_main<&run_spawned_process>, payload.bytes(), luggage.handles(), spawn);
    guard_or_end(guard, fresh.process);
    return {std::move(fresh.process), std::move(fresh.control)};
}

inline ProcessState::Begun ProcessState::start_served() {
    ServedProcess served = ForkServer::of_this_program().start(papers(), environment(), target_.encode);
    return {std::move(served.process), std::move(served.control)};
}

inline bool ProcessState::wait(Timeout timeout) {
    if (!is_owned()) return true;
    std::shared_ptr<os::Child> child;
    {
        const std::scoped_lock lock{mutex_};
        if (!started() || closed_ || child_->reap()) return true;
        if (timeout.is_zero()) return false;
        child = child_;
    }
    const plait::detail::Deadline deadline{timeout};
    for (;;) {
        child->wait_for_news(deadline);  // not under the mutex: others may ask, signal, join and close meanwhile
        const std::scoped_lock lock{mutex_};
        if (closed_ || child->reap()) return true;
        if (deadline.has_passed()) return false;
    }
}

inline ExitStatus ProcessState::exit_status() {
    const auto lock = lock_open();
    if (!started()) return {.text = "not started"};
    if (!child_->reap()) return {.text = "running"};
    os::ExitStatus seen = child_->status();
    if (!seen.known)
        if (const Farewell* const told = farewell()) seen = {true, told->code};
    if (!seen.known)
        return {.text = "ended; its status was taken by another part of the program, or went with a server"};
    ExitStatus status{.known = true, .code = seen.code, .signal = seen.code < 0 ? static_cast<int>(-seen.code) : 0};
    status.text = status.signal != 0
                      ? "killed by " + os::signal_description(status.signal) + " while it ran " + std::string(what_)
                      : "exited with status " + std::to_string(status.code);
    return status;
}

inline std::exception_ptr ProcessState::exception() {
    const auto lock = lock_open();
    if (!started() || !child_->reap()) return nullptr;
    const Farewell* const told = farewell();
    return told != nullptr ? told->exception : nullptr;
}

inline void ProcessState::close() {
    check_owner();
    const std::scoped_lock lock{ProcessRegistry::of_this_program().mutex(), mutex_};
    if (closed_) return;
    if (started() && !child_->reap())
        throw UsageError("Process::close: it still runs; join() it, or end it with terminate() or kill(), first");
    child_.reset();
    control_.reset();
    closed_ = true;
}

inline void ProcessState::let_go() noexcept {
    if (!is_owned()) return;
    try {
        if (!pid_if_alive()) return;
        if (options_.daemon || std::uncaught_exceptions() > exceptions_at_start_) {
            terminate();
            if (!join(std::chrono::seconds{2})) kill();
        }
        join(Timeout::never());
    } catch (...) {
        plait::detail::report_unraisable("the destructor of " + options_.name, std::current_exception());
    }
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing
