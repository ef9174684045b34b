// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#if defined(__GLIBC__)
#  include <pthread.h>

namespace support {

/// While it lives the system gives this program no new thread: each would need a stack that no address space holds.
class NoThreads {
public:
    NoThreads() {
        ::pthread_getattr_default_np(&attributes_);
        ::pthread_attr_getstacksize(&attributes_, &size_);
        set(std::size_t{1} << (sizeof(void*) == 8 ? 56 : 31));
    }
    NoThreads(const NoThreads&) = delete;
    NoThreads& operator=(const NoThreads&) = delete;
    ~NoThreads() {
        set(size_);
        ::pthread_attr_destroy(&attributes_);
    }

private:
    void set(std::size_t size) {
        ::pthread_attr_setstacksize(&attributes_, size);
        ::pthread_setattr_default_np(&attributes_);
    }
    pthread_attr_t attributes_{};
    std::size_t size_ = 0;
};

}  // namespace support
#endif
