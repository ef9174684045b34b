// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: what a process has from the one that made it, so that a child made by a server can have it from the program.
//   Surroundings              as plain bytes: umask, nice value, process group, limits, processors, signals
//     current(status)         the calling thread's
//     are_within(others)      whether a process that began with `others` needs no right to more to have them
//     apply()                 makes them this process's own, all but the signal mask; throws std::system_error
//     apply_signal_mask()     last, for a signal may be waiting
//   current_standing(status)  a text of what no process can be given afterwards: credentials, filters, control group,
//                             root, namespaces, session. A server of another standing cannot make the children.
//   own_status()              what the system tells of the calling thread in one go, for the two
//   open_working_directory() -> Handle, enter_directory(handle)
//   environment_block(over)   NAME=value, each ended by a zero byte; those of `over` in place of the program's own
//   replace_environment(block)
//   standard_stream_is_inherited(n), replace_standard_stream(n, handle)

#if !defined(_WIN32)
#  include <plait/os/posix/surroundings.hpp>
#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
#    include <plait/os/linux/surroundings.hpp>
#  else
#    include <plait/os/posix/surroundings_fallback.hpp>
#  endif
#endif
