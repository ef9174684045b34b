// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/memory.hpp>

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

namespace plait::inline PLAIT_ABI::os {

inline Handle make_anonymous_memory() {
    Handle handle = above_standard_streams(::memfd_create("plait", MFD_CLOEXEC));
    if (!handle) throw_system_error("memfd_create");
    return handle;
}

/// Whether release_memory does more than nothing.
inline constexpr bool gives_memory_back = true;

inline void release_memory(const Handle& handle, std::uint64_t offset, std::uint64_t size) noexcept {
    const int error = errno;
    while (::fallocate(handle.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(size)) != 0 &&
           errno == EINTR) {
    }
    errno = error;
}

}  // namespace plait::inline PLAIT_ABI::os
