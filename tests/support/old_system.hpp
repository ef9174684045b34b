// SPDX-License-Identifier: MIT
#pragma once

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>
#include <vector>

// Systems that know less than this one, or allow less. A test starts itself anew where it is so, to run a hidden case.

namespace support {

/// From now on these system calls fail by `error` in this process and in what it starts: where there are none of them, by
/// ENOSYS.
inline bool forget_system_calls(std::initializer_list<long> numbers, int error = ENOSYS) {
    std::vector<sock_filter> filter{{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)}};
    for (const long number : numbers) {
        filter.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<unsigned>(number)});
        filter.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)});
    }
    filter.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
    sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

/// Runs the hidden case `name` in a fresh start of `executable`; returns only where that cannot be.
inline int run_hidden_case(const char* executable, const char* name) {
    ::execl(executable, executable, name, static_cast<char*>(nullptr));
    return 99;
}

}  // namespace support
