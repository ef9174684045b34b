// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/report.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
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

/// In the child: runs `call`, tells what came of it, and returns the exit code.
template <class Call>
int run_target(const os::Handle& control, ChildPapers papers, Call&& call) {
    this_process().become(std::move(papers), control.get());
    int code = 0;
    std::exception_ptr exception;
    try {
        call();
    } catch (...) {
        exception = std::current_exception();
        code = 1;
        plait::detail::print_error_line("plait: " + this_process().papers.name +
                                        ": an exception left the target: " + plait::detail::describe(exception));
    }
    os::flush_standard_streams();
    Farewell::send(control, code, exception);
    return code;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
