// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: another program as a child.
//   start_program(plan) -> StartedProgram{child, input, output, error}   the last three: this program's ends of the pipes,
//                                 where there are any; they do not block
//     It starts with an empty signal mask, and with SIGPIPE, SIGXFSZ and SIGCHLD at their defaults; other signals that are
//     ignored here are ignored there. A standard stream of this program that is closed, or that no program is to inherit,
//     is the null device there. What else is open here, and would be inherited, is not open there, if
//     `spawn_closes_other_handles`.
//     Throws: std::system_error, whose text names the program or its working directory; nothing is left then.
//   end_program(child)             kills and reaps it, if it still runs; one that may not be killed is left

#if !defined(_WIN32)
#  include <plait/os/posix/program.hpp>
#endif
