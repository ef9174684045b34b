// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>

namespace support {

/// While it lives, this process can open that many descriptors more.
class DescriptorLimit {
public:
    explicit DescriptorLimit(unsigned more) {
        // The limit is on numbers, and the lowest free one is what the next descriptor gets.
        const int free = ::fcntl(0, F_DUPFD_CLOEXEC, 3);
        ::close(free);
        if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) throw std::runtime_error("getrlimit");
        rlimit tight = before_;
        tight.rlim_cur = static_cast<rlim_t>(free) + more;
        if (::setrlimit(RLIMIT_NOFILE, &tight) != 0) throw std::runtime_error("setrlimit");
    }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;
    ~DescriptorLimit() { lift(); }

    void lift() noexcept { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

}  // namespace support
