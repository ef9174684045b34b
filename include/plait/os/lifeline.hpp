// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: end_with(parent, channel) starts a thread that kills this process once its parent is gone: by the parent's
// own end, where the system tells of it, or by the end of `channel`, whose other end the parent holds. Both, for a fork
// of the parent may hold the other end, and not every system tells of a process's end. polite_end, certain_end: the
// signals that ask a process to end, and end it.

#if !defined(_WIN32)
#  include <plait/os/posix/lifeline.hpp>
#endif
