// SPDX-License-Identifier: MIT
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

// Functions that do in a process of their own what nobody wants in the test's, and how to look at what comes of it.

namespace support {

/// Ends by the signal itself, whatever a sanitizer would have made of it.
inline int die_by(int number) {
    ::signal(number, SIG_DFL);
    ::raise(number);
    return 0;
}
inline int exit_with(int code) { ::_exit(code); }
inline int call_abort(int) {
    ::signal(SIGABRT, SIG_DFL);
    std::abort();
}
inline int write_to_forbidden_memory(int) {
    ::signal(SIGSEGV, SIG_DFL);
    *static_cast<volatile int*>(::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) = 1;
    return 0;
}

inline int run_for_ever(int) {
    for (;;) ::pause();
}
inline int run_for_ever_and_ignore_requests(int) {
    ::signal(SIGTERM, SIG_IGN);
    for (;;) ::pause();
}

inline int own_pid(int) { return ::getpid(); }

/// The exception of type `E` that `function` throws, or nothing; one of another type goes on.
template <class E, class Function>
std::optional<E> caught(Function function) {
    try {
        function();
    } catch (const E& error) {
        return error;
    }
    return std::nullopt;
}

}  // namespace support
