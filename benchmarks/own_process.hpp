// SPDX-License-Identifier: MIT
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <type_traits>

namespace benchmark {

/// What `measure()` gives, called in a child of this program: so no contender inherits the memory of those before it.
template <class Measure>
auto in_own_process(Measure measure) {
    using Result = decltype(measure());
    static_assert(std::is_trivially_copyable_v<Result>);
    int answer[2];
    if (pipe(answer) != 0) std::abort();
    const pid_t child = fork();
    if (child == 0) {
        const Result result = measure();
        _exit(write(answer[1], &result, sizeof result) == sizeof result ? 0 : 1);
    }
    close(answer[1]);
    Result result{};
    const bool answered = child > 0 && read(answer[0], &result, sizeof result) == sizeof result;
    close(answer[0]);
    int status = -1;
    if (child > 0) waitpid(child, &status, 0);
    if (!answered || status != 0) {
        std::fprintf(stderr, "a contender did not end well\n");
        std::abort();
    }
    return result;
}

}  // namespace benchmark
