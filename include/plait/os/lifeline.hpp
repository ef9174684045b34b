// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: end_with_parent(parent, channel) starts a thread that kills this process once its parent is gone: by the
// parent's own end, where the system tells of it, or by the end of `channel`, whose other end the parent holds. Both, for
// a fork of the parent may hold the other end, and not every system tells of a process's end. end_with_program(watch,
// channel) does the same for a program that is not the parent: the watch began while it surely lived, or is none.
// polite_end, certain_end: the signals that ask a process to end, and end it.

#if !defined(_WIN32)
#  include <plait/os/posix/lifeline.hpp>
#endif
