// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/memory.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>

namespace plait::inline PLAIT_ABI::os {

inline Handle make_anonymous_memory() {
    static constinit std::atomic<unsigned> counter{0};
    for (;;) {
        // The name lives for the two calls only, opens nothing that is there already, and is this user's alone.
        char name[64];
        std::snprintf(name, sizeof name, "/plait-%ld-%u", static_cast<long>(::getpid()),
                      counter.fetch_add(1, std::memory_order_relaxed));
        Handle handle = above_standard_streams(::shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (handle) {
            ::shm_unlink(name);
            return handle;
        }
        if (errno != EEXIST) throw_system_error("shm_open");
    }
}

inline constexpr bool gives_memory_back = false;

/// POSIX has no call for that: what was used once stays until its last holder goes, to be used again.
inline void release_memory(const Handle&, std::uint64_t, std::uint64_t) noexcept {}

}  // namespace plait::inline PLAIT_ABI::os
