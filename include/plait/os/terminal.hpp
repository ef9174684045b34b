// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: what is asked of the place to which messages for a person go, and how they are written there.
//   standard_error                       its handle
//   is_terminal(handle)
//   terminal_width(handle) -> size_t     in columns, as it is now; 0 where it is not known
//   write_message(handle, text)          all of it, or as much as can be had: whoever reads it may be gone. No SIGPIPE,
//                                        nothing is thrown.

#if !defined(_WIN32)
#  include <plait/os/posix/terminal.hpp>
#endif
