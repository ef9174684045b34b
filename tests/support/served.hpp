// SPDX-License-Identifier: MIT
#pragma once

#include "support/deadline.hpp"
#include "support/process_state.hpp"

#include <plait/multiprocessing/fork_server.hpp>

#include <unistd.h>

#include <chrono>
#include <vector>

namespace support {

inline plait::multiprocessing::detail::ForkServer& fork_server() {
    return plait::multiprocessing::detail::ForkServer::of_this_program();
}

/// The processes that this one and its fork server started, zombies among them; the server itself, which is there for the
/// next, does not count.
inline std::vector<ProcessState> started_processes() {
    std::vector<ProcessState> started = descendants(::getpid());
    if (const auto server = fork_server().pid())
        for (const ProcessState& each : descendants(static_cast<int>(*server))) started.push_back(each);
    return started;
}
/// A server's child is reaped by that, soon.
inline bool nothing_is_left() {
    return within(std::chrono::seconds{30}, [] { return started_processes().empty(); });
}

}  // namespace support
