// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: naming types without RTTI.
//   current_exception_type()  -> const char*   inside a catch block: the exact type's mangled name, or null, which it
//                                              always is on Windows
//   readable_type(name)       -> std::string   as a programmer writes it

#if defined(_WIN32)
#  include <plait/os/windows/exception_type.hpp>
#else
#  include <plait/os/posix/exception_type.hpp>
#endif
