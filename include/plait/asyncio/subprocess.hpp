// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/outside_scope.hpp>
#include <plait/asyncio/detail/subprocess_state.hpp>
#include <plait/asyncio/gather.hpp>
#include <plait/asyncio/stream_reader.hpp>
#include <plait/asyncio/stream_writer.hpp>
#include <plait/asyncio/wait_for.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/subprocess_options.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/lifeline.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

using plait::Command;
using plait::DEVNULL;
using plait::EnvironmentView;
using plait::INHERIT;
using plait::PIPE;
using plait::STANDARD_OUTPUT;
using plait::StandardStream;
using plait::SubprocessOptions;

namespace detail {

struct CreateSubprocess;

}  // namespace detail

/// What a program wrote, where that was a pipe.
struct SubprocessOutput {
    std::string out;
    std::string err;
};

/// Another program, running as a child of this one.
///
///     auto child = co_await create_subprocess_exec({"sort"}, {.standard_input = PIPE, .standard_output = PIPE});
///     auto sorted = co_await child.communicate("pear\nfig\n");
///     if (child.returncode() != 0) throw std::runtime_error("sort failed");
///
/// Python: asyncio.subprocess.Process. To run one from an ordinary function use subprocess::run; for a function of this
/// program, multiprocessing::Process.
/// Lifetime: a program that still runs when its Subprocess goes, or its loop closes, is killed, and reaped; children of its
/// own are not. Copies of its streams live on, and have to give what it wrote before.
/// Threads: from its loop's only.
class [[nodiscard("the program is killed where its Subprocess is dropped")]] Subprocess {
public:
    Subprocess(Subprocess&&) noexcept = default;
    Subprocess& operator=(Subprocess&& other) noexcept {
        Subprocess taken{std::move(other)};
        state_.swap(taken.state_);
        return *this;
    }
    ~Subprocess() {
        if (state_) state_->disown();
    }

    std::int64_t pid() const { return state().pid(); }
    /// Negative for a signal; empty while it runs, as far as the loop has seen; 255 where the system did not tell, because
    /// something else in this program waited for it.
    std::optional<int> returncode() const { return state().returncode(); }

    /// Waits for its end, and gives its code; any number of tasks at once. Who lets it write to a pipe reads that
    /// meanwhile, or it may wait for ever: `communicate` does.
    ///
    /// Cancel: changes nothing.
    Coroutine<int> wait() const { return wait_for_end(shared_state()); }
    /// Gives it `input` by its pipe, which is then closed, reads what it writes to its pipes to their ends, and waits for
    /// its end: all at once, whatever the sizes. Where it closes its input before, the rest is dropped.
    ///
    /// Children of its own that hold the pipes are waited for too.
    /// Cancel: the program goes on. Nothing that was read is lost: another `communicate` gives it, with the rest.
    /// Throws: UsageError for an input where `.standard_input` is no PIPE, or is closed.
    Coroutine<SubprocessOutput> communicate(std::string_view input = {}) const {
        return exchange(shared_state(), std::string{input});
    }

    /// Sends a signal; nothing happens once it has ended, and no other process can be met.
    ///
    /// Throws: std::system_error where that is not allowed.
    void send_signal(int number) const { state().send_signal(number); }
    /// Asks it to end, by SIGTERM, which it may ignore.
    void terminate() const { send_signal(os::polite_end); }
    /// Asks it to end, kills it where it has not ended after `grace`, waits for its end and gives its code.
    ///
    /// Cancel: it was asked, and is not killed.
    Coroutine<int> terminate(Timeout grace) const { return end_within(shared_state(), grace); }
    void kill() const { send_signal(os::certain_end); }

    /// Its end of each pipe. Throws: UsageError where the stream is no PIPE.
    StreamWriter standard_input() const { return piped(state().input, "input"); }
    StreamReader standard_output() const { return piped(state().output, "output"); }
    StreamReader standard_error() const { return piped(state().error, "error"); }

private:
    friend struct detail::CreateSubprocess;
    using State = detail::SubprocessState;
    using SharedState = std::shared_ptr<State>;

    explicit Subprocess(const SharedState& state) noexcept : state_{state} {}
    const SharedState& shared_state() const {
        if (!state_) throw UsageError("this Subprocess was moved from, and names no program");
        return state_;
    }
    State& state() const { return *shared_state(); }
    template <class Stream>
    static Stream piped(const std::optional<Stream>& stream, const char* name) {
        if (!stream)
            throw UsageError(std::string{"the program's standard "} + name + " is no pipe: start it with .standard_" +
                             name + " = PIPE");
        return *stream;
    }

    static Coroutine<int> wait_for_end(SharedState state);
    static Coroutine<int> end_within(SharedState state, Timeout grace);
    static Coroutine<SubprocessOutput> exchange(SharedState state, std::string input);
    static Coroutine<void> wait_until_sent(std::optional<StreamWriter> to);
    static Coroutine<void> collect(std::optional<StreamReader> from, std::string& to);

    SharedState state_;
};

inline Coroutine<int> Subprocess::wait_for_end(SharedState state) {
    state->check_loop();
    const detail::OutsideScope working{detail::SubprocessState::end_is_told()};
    co_await state->ended().wait();
    co_return *state->returncode();
}

inline Coroutine<int> Subprocess::end_within(SharedState state, Timeout grace) {
    state->check_loop();
    state->send_signal(os::polite_end);
    try {
        co_await wait_for(state->ended().wait(), grace);
    } catch (const TimeoutError&) {
        state->send_signal(os::certain_end);
    }
    const detail::OutsideScope dying{detail::SubprocessState::end_is_told()};
    co_await state->ended().wait();
    co_return *state->returncode();
}

inline Coroutine<SubprocessOutput> Subprocess::exchange(SharedState state, std::string input) {
    state->check_loop();
    const detail::OutsideScope working{detail::SubprocessState::end_is_told()};
    if (!input.empty()) piped(state->input, "input").write(input);
    if (state->input) state->input->close();  // once that is sent
    input = std::string{};
    co_await gather(wait_until_sent(state->input), collect(state->output, state->output_text),
                    collect(state->error, state->error_text));
    co_await state->ended().wait();
    SubprocessOutput output{std::move(state->output_text), std::move(state->error_text)};
    co_return output;
}

inline Coroutine<void> Subprocess::wait_until_sent(std::optional<StreamWriter> to) {
    if (!to) co_return;
    try {
        co_await to->wait_closed();
    } catch (const std::system_error& error) {
        // Who closes its input has no need of the rest.
        if (error.code() != std::errc::broken_pipe) throw;
    }
}

inline Coroutine<void> Subprocess::collect(std::optional<StreamReader> from, std::string& to) {
    if (!from) co_return;
    std::string rest = co_await from->read();
    if (to.empty())
        to = std::move(rest);
    else
        to += rest;
}

namespace detail {

struct CreateSubprocess {
    static Coroutine<Subprocess> start(plait::detail::ProgramPlan plan, std::size_t limit) {
        const auto state = std::make_shared<SubprocessState>();
        Subprocess child{state};
        state->start(state, plan, limit);
        co_return child;
    }
    static Coroutine<Subprocess> planned(const Command& command, const SubprocessOptions& options) {
        return start(plait::detail::ProgramPlan{command, options}, checked_stream_limit(options.limit));
    }
};

struct CreateSubprocessExec {
    Coroutine<Subprocess> operator()(const Command& command, const SubprocessOptions& options = {}) const {
        return CreateSubprocess::planned(command, options);
    }
    /// As Python writes it, where there are no options.
    template <class... Words>
        requires(sizeof...(Words) > 1 && (std::convertible_to<const Words&, std::string_view> && ...))
    Coroutine<Subprocess> operator()(const Words&... words) const {
        return CreateSubprocess::planned(Command(words...), {});
    }
};

struct CreateSubprocessShell {
    Coroutine<Subprocess> operator()(std::string_view text, const SubprocessOptions& options = {}) const {
        return CreateSubprocess::planned({"/bin/sh", "-c", text}, options);
    }
};

}  // namespace detail

/// Starts a program.
///
///     auto child = co_await create_subprocess_exec({"make", "-j4"}, {.working_directory = "build"});
///     int code = co_await child.wait();
///
/// The texts are copied by the call; the program is started where that is awaited, with an empty signal mask. Python:
/// asyncio.create_subprocess_exec, with its keyword arguments as SubprocessOptions.
/// Throws: std::system_error, where it is awaited: there is no such program or directory, or it may not be executed, and
/// the text says which; std::invalid_argument, at the call, for what no program can be given.
inline constexpr detail::CreateSubprocessExec create_subprocess_exec{};

/// The same for a command that /bin/sh reads. What comes from elsewhere is no part of its text: a shell would obey it.
///
///     auto child = co_await create_subprocess_shell("ls *.txt | wc -l", {.standard_output = PIPE});
///
/// Python: asyncio.create_subprocess_shell.
inline constexpr detail::CreateSubprocessShell create_subprocess_shell{};

}  // namespace plait::inline PLAIT_ABI::asyncio
