// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/subprocess_options.hpp>
#include <plait/os/process.hpp>

#include <string>
#include <vector>

namespace plait::inline PLAIT_ABI::subprocess {

/// A program that has ended: what it was, how it ended, and what it wrote where that was captured.
///
/// Python: subprocess.CompletedProcess.
struct CompletedProcess {
    std::vector<std::string> args;
    /// Negative for a signal that ended it; 255 where the system did not tell, because somebody else in this program
    /// waited for it.
    int returncode = 0;
    std::string out;
    std::string err;

    /// Throws: CalledProcessError unless the code is 0.
    void check_returncode() const {
        if (returncode == 0) return;
        const std::string command = plait::detail::describe_command(args);
        const std::string end = returncode < 0 ? "was killed by " + os::signal_description(-returncode)
                                               : "ended with code " + std::to_string(returncode);
        throw CalledProcessError("command `" + command + "` " + end, command, returncode, out, err);
    }
};

}  // namespace plait::inline PLAIT_ABI::subprocess
