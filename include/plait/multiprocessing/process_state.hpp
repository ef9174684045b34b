// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/function.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/remote_exception.hpp>
#include <plait/multiprocessing/start_method.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/child.hpp>
#include <plait/os/lifeline.hpp>
#include <plait/os/process.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// What a Process may be told before it starts.
struct ProcessOptions {
    std::string name = {};  ///< for people; Process-1, Process-2 and so on where it is empty
    bool daemon = false;    ///< does not outlive this program, however that ends; terminated by the destructor
    std::optional<StartMethod> start_method = {};  ///< `get_start_method()` where it is empty
    /// Variables that the child has over this program's own; fresh starts only.
    std::vector<std::pair<std::string, std::string>> environment = {};
};

/// How a process ended.
struct ExitStatus {
    bool known = false;     ///< false while it runs, and where the host reaped the child for itself
    std::int64_t code = 0;  ///< the exit code; minus the signal's number
    int signal = 0;         ///< the signal that ended it, or 0
    std::string text = {};  ///< for people
};

namespace detail {

/// The two ways to hand over a target; `encode` is empty for those that only a copy of this program can run.
struct ProcessTarget {
    plait::detail::MoveOnlyFunction<void(Encoder& out)> encode;
    plait::detail::MoveOnlyFunction<void()> run;
};

/// What the child tells before it ends by itself: its exit code, and what the target threw.
struct Farewell {
    static void send(const os::Handle& control, int code, const std::exception_ptr& exception) {
        Encoder out;
        out.write(code, exception != nullptr);
        if (exception != nullptr) write_exception(out, exception);
        os::send_all(control, out.bytes(), plait::detail::Deadline{std::chrono::seconds{5}});
    }
    /// From a child that has ended: all it said is there. Nothing where it was killed, or wrote something else.
    static std::optional<Farewell> receive(const os::Handle& control);

    int code = 0;
    std::exception_ptr exception;
};

/// In the child: runs `call`, tells what came of it, and returns the exit code.
template <class Call>
int run_target(const os::Handle& control, const std::string& name, bool daemon, std::int64_t parent, Call&& call) {
    if (daemon) os::end_with(parent, control);
    int code = 0;
    std::exception_ptr exception;
    try {
        call();
    } catch (...) {
        exception = std::current_exception();
        code = 1;
        plait::detail::print_error_line("plait: " + name +
                                        ": an exception left the target: " + plait::detail::describe(exception));
    }
    os::flush_standard_streams();
    Farewell::send(control, code, exception);
    return code;
}

/// The main of a process by spawn: its payload is its name, whether it is a daemon, the callable and the arguments.
inline int run_spawned_process(ChildContext& context) {
    Decoder in(context.payload);
    const auto name = in.read<std::string>();
    const bool daemon = in.read<bool>();
    return run_target(context.control, name, daemon, context.parent, [&] {
        const auto place = in.read<std::uint64_t>();
        const auto signature = in.read<std::uint64_t>();
        const auto state = in.read<std::vector<std::byte>>();
        Encoder result;
        find_entry(place, signature).call(state, in, result);
    });
}

class ProcessState {
public:
    ProcessState(ProcessOptions options, ProcessTarget target)
        : options_{std::move(options)}, target_{std::move(target)} {
        static constinit std::atomic<unsigned> counter{0};
        const unsigned number = counter.fetch_add(1, std::memory_order_relaxed) + 1;
        if (options_.name.empty()) options_.name = "Process-" + std::to_string(number);
    }
    ProcessState(const ProcessState&) = delete;
    ProcessState& operator=(const ProcessState&) = delete;
    ~ProcessState();

    void start();
    bool join(Timeout timeout);
    bool is_alive() {
        const std::scoped_lock lock{mutex_};
        check_open();
        return started_ && !child_.reap();
    }
    std::optional<std::int64_t> pid() {
        const std::scoped_lock lock{mutex_};
        check_open();
        return started_ ? std::optional<std::int64_t>{child_.pid()} : std::nullopt;
    }
    const ProcessOptions& options() const noexcept { return options_; }
    ExitStatus exit_status();
    std::exception_ptr exception();
    void terminate() { send_signal(os::polite_end, "terminate"); }
    void kill() { send_signal(os::certain_end, "kill"); }
    void close();
    os::NativeHandle sentinel() {
        const std::scoped_lock lock{mutex_};
        check_started("sentinel");
        return child_.sentinel();
    }

private:
    void start_copy();
    void start_fresh();
    void send_signal(int number, const char* what) {
        const std::scoped_lock lock{mutex_};
        check_started(what);
        child_.send_signal(number);
    }
    void check_open() const {
        if (closed_) throw UsageError("this Process was closed: read what you need of it before close()");
        if (owner_ != os::process_id())
            throw UsageError("this Process belongs to the program that made it, not to a forked copy of that");
    }
    void check_started(const char* what) const {
        check_open();
        if (!started_) throw UsageError(std::string("Process::") + what + ": it was not started; call start() first");
    }
    /// What an ended child said; read once.
    const Farewell* farewell() {
        if (!heard_) farewell_ = Farewell::receive(control_);
        heard_ = true;
        return farewell_ ? &*farewell_ : nullptr;
    }

    std::mutex mutex_;  // guards all below but the options
    ProcessOptions options_;
    ProcessTarget target_;
    const std::int64_t owner_ = os::process_id();
    const int exceptions_at_start_ = std::uncaught_exceptions();
    bool started_ = false;
    bool closed_ = false;
    bool heard_ = false;
    os::Child child_;
    os::Handle control_;
    std::optional<Farewell> farewell_;
};

inline std::optional<Farewell> Farewell::receive(const os::Handle& control) {
    std::vector<std::byte> bytes;
    std::byte part[4096];
    // Bounded: an honest child says no more, and a child's own child may hold the channel and write for ever.
    while (bytes.size() < 4 * longest_text) {
        const os::Transfer received = os::receive_some(control, part);
        if (received.count == 0) break;
        bytes.insert(bytes.end(), part, part + received.count);
    }
    try {
        Decoder in(bytes);
        Farewell farewell;
        farewell.code = in.read<int>();
        if (in.read<bool>()) farewell.exception = read_exception(in);
        return farewell;
    } catch (const CodecError&) {
        return std::nullopt;
    }
}

inline ProcessState::~ProcessState() {
    if (!started_ || closed_ || owner_ != os::process_id()) return;
    try {
        const bool unwinding = std::uncaught_exceptions() > exceptions_at_start_;
        if (options_.daemon || unwinding) {
            child_.send_signal(os::polite_end);
            if (!child_.wait(plait::detail::Deadline{std::chrono::seconds{2}})) child_.send_signal(os::certain_end);
        }
        child_.wait(plait::detail::Deadline::never());
    } catch (...) {
        plait::detail::report_unraisable("the destructor of " + options_.name, std::current_exception());
    }
}

inline void ProcessState::start() {
    const std::scoped_lock lock{mutex_};
    check_open();
    if (started_) throw UsageError("Process::start: it was started before; make a new Process for another run");
    // There is no server of forks yet: a fresh start of its own gives the child the same, in a little more time.
    if (options_.start_method.value_or(get_start_method()) == StartMethod::fork)
        start_copy();
    else
        start_fresh();
    started_ = true;
}

inline void ProcessState::start_copy() {
    os::ChannelEnds channel = os::make_channel();
    const std::int64_t parent = os::process_id();
    child_ = os::fork_child([&] {
        channel.first.reset();
        plait::detail::wait_helper() = nullptr;
        return run_target(channel.second, options_.name, options_.daemon, parent, target_.run);
    });
    control_ = std::move(channel.first);
}

inline void ProcessState::start_fresh() {
    Encoder payload;
    payload.write(options_.name, options_.daemon);
    target_.encode(payload);
    os::SpawnOptions spawn;
    for (const auto& [variable, value] : options_.environment) spawn.environment.push_back(variable + "=" + value);
    FreshChild fresh = start_fresh_child(child_main<&run_spawned_process>, payload.bytes(), {}, spawn);
    child_ = std::move(fresh.process);
    control_ = std::move(fresh.control);
}

inline bool ProcessState::join(Timeout timeout) {
    {
        const std::scoped_lock lock{mutex_};
        check_started("join");
        if (child_.reap()) return true;
        if (timeout.is_zero()) return false;
    }
    const plait::detail::Deadline deadline{timeout};
    for (;;) {
        child_.wait_for_news(deadline);  // not under the mutex: others may ask, signal and join meanwhile
        const std::scoped_lock lock{mutex_};
        if (child_.reap()) return true;
        if (deadline.has_passed()) return false;
    }
}

inline ExitStatus ProcessState::exit_status() {
    const std::scoped_lock lock{mutex_};
    check_open();
    if (!started_) return {.text = "not started"};
    if (!child_.reap()) return {.text = "running"};
    os::ExitStatus seen = child_.status();
    if (!seen.known)
        if (const Farewell* const told = farewell()) seen = {true, told->code};
    if (!seen.known) return {.text = "ended; its status was taken by another part of the program"};
    ExitStatus status{.known = true, .code = seen.code, .signal = seen.code < 0 ? static_cast<int>(-seen.code) : 0};
    status.text = status.signal != 0 ? "killed by " + os::signal_description(status.signal)
                                     : "exited with status " + std::to_string(status.code);
    return status;
}

inline std::exception_ptr ProcessState::exception() {
    const std::scoped_lock lock{mutex_};
    check_open();
    if (!started_ || !child_.reap()) return nullptr;
    const Farewell* const told = farewell();
    return told != nullptr ? told->exception : nullptr;
}

inline void ProcessState::close() {
    const std::scoped_lock lock{mutex_};
    if (closed_) return;
    check_open();
    if (started_ && !child_.reap())
        throw UsageError("Process::close: it still runs; join() it, or end it with terminate() or kill(), first");
    child_ = os::Child{};
    control_.reset();
    closed_ = true;
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing
