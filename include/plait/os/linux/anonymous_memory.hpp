// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/memory.hpp>

#include <sys/mman.h>

namespace plait::inline PLAIT_ABI::os {

inline Handle make_anonymous_memory() {
    Handle handle = above_standard_streams(::memfd_create("plait", MFD_CLOEXEC));
    if (!handle) throw_system_error("memfd_create");
    return handle;
}

}  // namespace plait::inline PLAIT_ABI::os
