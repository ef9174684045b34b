// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/parking.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/process.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

/// Forks; the child runs `body` and never comes back. Returns the child's pid.
///
/// The child is a copy of this thread alone: what other threads held locked stays locked there, but for the C library's
/// own locks and plait's, which are made anew.
///
/// For who holds locks: the caller has flushed the standard streams before it took them. That may
/// wait for whoever reads a pipe, and run stream buffers of the user's.
template <class Body>
pid_t fork_flushed_process(Body&& body) {
    const pid_t pid = ::fork();
    if (pid < 0) throw_system_error("fork");
    if (pid > 0) return pid;
    int code = 1;
    try {
        detail::parking::reset_after_fork();
        code = body();
    } catch (...) {
        code = 1;
    }
    exit_immediately(code);
}

/// The same, and flushes the standard streams, so that the child prints nothing of theirs again.
template <class Body>
pid_t fork_process(Body&& body) {
    flush_standard_streams();
    return fork_flushed_process(std::forward<Body>(body));
}

/// What a fresh child gets besides its command line.
struct SpawnOptions {
    std::vector<std::string> environment;     ///< NAME=value, each over the parent's own
    const SignalMask* signal_mask = nullptr;  ///< instead of the calling thread's
    bool flushes = true;                      ///< the standard streams; not for who holds locks
};

inline constexpr NativeHandle first_inherited = 3;

/// Starts this program's executable anew, with `arguments` behind its name, and `inherited` as handles 3, 4 and so on. What
/// else is open here and not close-on-exec is not open there, if `spawn_closes_other_handles`.
inline pid_t spawn_process(std::span<const std::string> arguments, std::span<const NativeHandle> inherited,
                           const SpawnOptions& options) {
    std::vector<std::string> environment = options.environment;
    const auto overridden = [&](const std::string& entry) {
        const auto name = entry.substr(0, entry.find('=') + 1);
        for (const std::string& own : options.environment)
            if (own.compare(0, name.size(), name) == 0) return true;
        return false;
    };
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry)
        if (!overridden(*entry)) environment.emplace_back(*entry);
    std::vector<std::string> strings{program_name()};
    strings.insert(strings.end(), arguments.begin(), arguments.end());
    const auto pointers = [](std::vector<std::string>& texts) {
        std::vector<char*> result;
        for (std::string& text : texts) result.push_back(text.data());
        result.push_back(nullptr);
        return result;
    };

    // Moved up first: no number may be overwritten before it is copied, and a copy onto itself would keep close-on-exec.
    std::vector<Handle> moved;
    const auto end = static_cast<int>(first_inherited + inherited.size());
    for (const NativeHandle native : inherited) {
        moved.emplace_back(::fcntl(native, F_DUPFD_CLOEXEC, end));
        if (!moved.back()) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
    }

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    for (std::size_t i = 0; i < moved.size(); ++i)
        ::posix_spawn_file_actions_adddup2(&actions, moved[i].get(), first_inherited + static_cast<int>(i));
    int error = close_others_at_spawn(actions, end);
    if (options.signal_mask != nullptr) {
        ::posix_spawnattr_setsigmask(&attributes, &options.signal_mask->native);
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    }
    if (options.flushes) flush_standard_streams();
    pid_t pid = 0;
    if (error == 0)
        error = ::posix_spawn(&pid, executable_path(), &actions, &attributes, pointers(strings).data(),
                              pointers(environment).data());
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw_system_error("posix_spawn of this executable", error);
    return pid;
}

}  // namespace plait::inline PLAIT_ABI::os
