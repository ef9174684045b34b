// SPDX-License-Identifier: MIT
#pragma once

#include "support/forked_child.hpp"
#include "support/process_state.hpp"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace support {

/// The processes that run in the session that `leader` leads or led: all that ever came from it, whoever is their parent
/// by now, unless they chose a session of their own. Of zombies only those that one of the others has to reap.
inline std::vector<ProcessState> processes_of_session(int leader) {
    std::vector<ProcessState> found;
    DIR* const processes = ::opendir("/proc");
    if (processes == nullptr) return found;
    while (const dirent* const entry = ::readdir(processes)) {
        const int pid = std::atoi(entry->d_name);
        if (pid <= 0 || ::getsid(pid) != leader) continue;
        if (const auto process = process_state(pid)) found.push_back(*process);
    }
    ::closedir(processes);
    std::vector<ProcessState> kept;
    for (const ProcessState& process : found) {
        const bool is_dead = process.state == 'Z' || process.state == 'X';
        const auto is_parent = [&](const ProcessState& other) { return other.pid == process.parent; };
        if (!is_dead || std::any_of(found.begin(), found.end(), is_parent)) kept.push_back(process);
    }
    return kept;
}

/// A copy of this process that leads a session of its own, so that whatever it leaves behind can be found.
///
///     Program program{[&] { const Pool pool(2); return 0; }};
///     CHECK(program.child.join() == 0);
///     CHECK(within(30s, [&] { return program.rest().empty(); }));
///
/// It goes with this process, and what it left goes with the object.
struct Program {
    template <class Body>
    explicit Program(Body body)
        : child{[body] {
              // The test framework's handlers would say in each process of the program what only one has to.
              for (const int number : {SIGSEGV, SIGTERM, SIGABRT, SIGBUS, SIGILL, SIGFPE}) ::signal(number, SIG_DFL);
              ::setsid();
              ::prctl(PR_SET_PDEATHSIG, SIGKILL);
              return body();
          }} {}

    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    ~Program() {
        child.kill();
        for (const ProcessState& process : rest()) ::kill(process.pid, SIGKILL);
    }

    /// What came from it and still runs, itself apart.
    [[nodiscard]] std::vector<ProcessState> rest() const {
        std::vector<ProcessState> all = processes_of_session(child.pid());
        std::erase_if(all, [&](const ProcessState& process) { return process.pid == child.pid(); });
        return all;
    }

    ForkedChild child;
};

}  // namespace support
