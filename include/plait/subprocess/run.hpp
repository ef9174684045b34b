// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/subprocess_options.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/byte_stream.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/process.hpp>
#include <plait/os/program.hpp>
#include <plait/os/system_error.hpp>
#include <plait/subprocess/completed_process.hpp>

#include <chrono>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::subprocess {

using plait::CalledProcessError;
using plait::Command;
using plait::DEVNULL;
using plait::EnvironmentView;
using plait::INHERIT;
using plait::PIPE;
using plait::STANDARD_OUTPUT;
using plait::StandardStream;
using plait::TimeoutExpired;

/// How `run` runs a program; in braces, what differs from the default. Python: the keyword arguments of subprocess.run.
struct RunOptions {
    std::optional<std::string_view> input = std::nullopt;  ///< given by a pipe, as its standard input
    bool capture_output = false;                           ///< its standard output and standard error
    bool check = false;                                    ///< CalledProcessError for another code than 0
    Timeout timeout = Timeout::never();                    ///< after which it is killed: TimeoutExpired
    StandardStream standard_input = INHERIT;
    StandardStream standard_output = INHERIT;  ///< PIPE: captured
    StandardStream standard_error = INHERIT;
    EnvironmentView environment{};         ///< all of it; this program's where that is {}
    EnvironmentView extra_environment{};   ///< over that, for variables of the same name
    std::string_view working_directory{};  ///< also where a program named by a relative path is; empty: this program's
    bool start_new_session = false;        ///< away from the terminal, at the head of its own process group
    bool start_new_process_group = false;  ///< at the head of it, in this session
};

namespace detail {

using namespace plait::detail;

/// A running program, which ends with the object.
class Run {
public:
    Run(const Command& command, const RunOptions& options)
        : plan_{command, subprocess_options(options)},
          input_{options.input.value_or(std::string_view{})},
          deadline_{options.timeout},
          program_{os::start_program(plan_)} {}
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() { os::end_program(program_.child); }

    CompletedProcess to_end(Timeout timeout);

private:
    static SubprocessOptions subprocess_options(const RunOptions& options);
    // The pipes are written and read in turns, as they let: a program may fill one while it does not read another.
    bool exchange();
    void write_input();
    static void read_output(os::Handle& pipe, std::string& text);

    const ProgramPlan plan_;
    std::string_view input_;  // what has not been written of it
    const Deadline deadline_;
    os::StartedProgram program_;
    std::string out_;
    std::string err_;
};

inline SubprocessOptions Run::subprocess_options(const RunOptions& options) {
    if (options.input && options.standard_input != INHERIT)
        throw std::invalid_argument("plait: give a program its .input or a .standard_input, not both");
    if (options.capture_output && (options.standard_output != INHERIT || options.standard_error != INHERIT))
        throw std::invalid_argument(
            "plait: .capture_output makes pipes of both outputs; leave .standard_output and .standard_error out, or "
            "say "
            "PIPE there");
    return {.standard_input = options.input ? PIPE : options.standard_input,
            .standard_output = options.capture_output ? PIPE : options.standard_output,
            .standard_error = options.capture_output ? PIPE : options.standard_error,
            .environment = options.environment,
            .extra_environment = options.extra_environment,
            .working_directory = options.working_directory,
            .start_new_session = options.start_new_session,
            .start_new_process_group = options.start_new_process_group};
}

inline CompletedProcess Run::to_end(Timeout timeout) {
    if (!exchange() || !program_.child.wait(deadline_)) {
        os::end_program(program_.child);
        const std::string command = describe_command(plan_.words);
        char seconds[32];
        std::snprintf(seconds, sizeof seconds, "%g", std::chrono::duration<double>(timeout.duration()).count());
        throw TimeoutExpired("command `" + command + "` ran longer than " + seconds + " s", command, std::move(out_),
                             std::move(err_));
    }
    const os::ExitStatus status = program_.child.status();
    return {plan_.words, status.known ? static_cast<int>(status.code) : unknown_returncode, std::move(out_),
            std::move(err_)};
}

inline bool Run::exchange() {
    while (program_.input || program_.output || program_.error) {
        os::PollItem items[] = {{program_.input.get(), os::writable},
                                {program_.output.get(), os::readable},
                                {program_.error.get(), os::readable}};
        // Asked also where there is always something to read.
        if (!os::poll(items, deadline_) || deadline_.has_passed()) return false;
        if (items[0].is_ready()) write_input();
        if (items[1].is_ready()) read_output(program_.output, out_);
        if (items[2].is_ready()) read_output(program_.error, err_);
    }
    return true;
}

inline void Run::write_input() {
    const os::Flow written = os::write_bytes(program_.input.get(), input_);
    input_.remove_prefix(written.count);
    // Who does not read all of it has no need of it.
    if (written.error != 0 || input_.empty()) program_.input.reset();
}

inline void Run::read_output(os::Handle& pipe, std::string& text) {
    char buffer[32 * 1024];
    const os::Flow read = os::read_bytes(pipe.get(), buffer);
    if (read.error != 0) os::throw_system_error("read", read.error);
    text.append(buffer, read.count);
    if (read.count == 0 && !read.would_block) pipe.reset();
}

struct RunFunction {
    CompletedProcess operator()(const Command& command, const RunOptions& options = {}) const {
        CompletedProcess completed = Run{command, options}.to_end(options.timeout);
        if (options.check) completed.check_returncode();
        return completed;
    }
};

}  // namespace detail

/// Runs a program to its end.
///
///     auto log = subprocess::run({"git", "log", "-1"}, {.capture_output = true, .check = true, .timeout = 10s});
///     std::string first_line = log.out.substr(0, log.out.find('\n'));
///     subprocess::run({"sh", "-c", "sort | uniq -c"}, {.input = "b\na\nb\n"});
///
/// What is captured is read, and the input written, as the program goes on, whatever their sizes. It has ended when its
/// pipes are closed and it is gone: children of its own that hold them are waited for too. In a coroutine, which must not
/// block its loop, use asyncio::create_subprocess_exec. Python: subprocess.run.
/// Throws: std::system_error where it cannot be started, which names what is missing; TimeoutExpired, once it is killed,
/// with what it had written (its own children live on); CalledProcessError if `check`; std::invalid_argument.
/// Threads: any. It starts none, and touches no signal handler.
inline constexpr detail::RunFunction run{};

}  // namespace plait::inline PLAIT_ABI::subprocess
