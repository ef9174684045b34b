// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/process/answer.hpp>
#include <plait/multiprocessing/process/this_process.hpp>
#include <plait/multiprocessing/remote_exception.hpp>
#include <plait/os/channel.hpp>
#include <plait/os/process.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What the child tells before it ends by itself: its exit code, and what the target threw, or why it refused.
struct Farewell {
    static void send(const os::Handle& control, int code, const std::exception_ptr& exception) {
        Encoder out;
        out.write(code, exception != nullptr);
        if (exception != nullptr) write_exception(out, exception);
        os::send_all(control, out.bytes(), plait::detail::Deadline{std::chrono::seconds{5}});
    }
    /// From a child that has ended: all it said is there, `begun` read before. Nothing where it was killed, or wrote
    /// something else.
    static std::optional<Farewell> receive(const os::Handle& control, std::span<const std::byte> begun = {});

    int code = 0;
    std::exception_ptr exception;
};

inline std::optional<Farewell> Farewell::receive(const os::Handle& control, std::span<const std::byte> begun) {
    std::vector<std::byte> bytes(begun.begin(), begun.end());
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

inline constexpr int refused_status = 125;

/// The one line of a process that was started as a child, and will not be one.
inline void tell_refusal(const std::string& reason) {
    plait::detail::print_error_line("plait: this process was started as a child and refuses: " + reason);
}

/// In a child that could not be what it was to be: tells why, here and to the parent, and returns the exit code.
inline int refuse(const os::Handle& control) noexcept {
    try {
        const auto reason = std::current_exception();
        tell_refusal(plait::detail::describe(reason));
        Farewell::send(control, refused_status, reason);
    } catch (...) {
        // The exit code tells it.
    }
    return refused_status;
}

/// In the child: runs `call`, which takes an Encoder for its result, tells what came of it, and returns the exit code.
template <class Call>
int run_target(const os::Handle& control, ChildPapers papers, Call&& call) {
    const bool answers = papers.answers;
    this_process().become(std::move(papers), control.get());
    if (answers) return answer_with(control, call);
    int code = 0;
    std::exception_ptr exception;
    try {
        Encoder result;
        call(result);
    } catch (...) {
        exception = std::current_exception();
        code = 1;
        plait::detail::print_error_line("plait: " + this_process().papers.name +
                                        ": an exception left the target: " + plait::detail::describe(exception));
    }
    os::flush_standard_streams();
    try {
        // The target may have closed the channel, and its number be that of a file or socket of the user's.
        if (this_process().has_control()) Farewell::send(control, code, exception);
    } catch (...) {
        // It is not to be told, then; the exit code stays what it is.
    }
    return code;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
