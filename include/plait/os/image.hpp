// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: `executable_image()`, the program's executable as it lies in memory.
//   base                          where it was loaded; another start of the same file may load it elsewhere
//   contains(address, size)       whether that lies in one of its segments
//   contains_code(address)        whether that lies in an executable one
//   identity                      16 bytes that differ between any two builds

#if !defined(_WIN32)
#  include <plait/os/posix/image.hpp>
#endif
