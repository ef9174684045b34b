// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/surroundings.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace plait::inline PLAIT_ABI::os {

namespace detail {

inline constexpr std::array all_limit_names{RLIMIT_CPU,      RLIMIT_FSIZE, RLIMIT_DATA,   RLIMIT_STACK,
                                            RLIMIT_CORE,     RLIMIT_RSS,   RLIMIT_NPROC,  RLIMIT_NOFILE,
                                            RLIMIT_MEMLOCK,  RLIMIT_AS,    RLIMIT_LOCKS,  RLIMIT_SIGPENDING,
                                            RLIMIT_MSGQUEUE, RLIMIT_NICE,  RLIMIT_RTPRIO, RLIMIT_RTTIME};

/// None where there is no such file. Throws: std::system_error for want of a descriptor: nothing may be concluded then.
inline Handle open_system_file(const char* path, int flags) {
    Handle file = above_standard_streams(::open(path, flags | O_CLOEXEC));
    if (!file && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) throw_system_error("open in /proc");
    return file;
}

/// The whole of such a file; empty where there is none.
inline std::string read_system_file(const char* path) {
    const Handle file = open_system_file(path, O_RDONLY);
    std::array<char, 4096> buffer;
    std::string text;
    for (;;) {
        const ssize_t count = file ? ::read(file.get(), buffer.data(), buffer.size()) : 0;
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(count));
    }
}

inline std::string_view line_of(std::string_view status, std::string_view name) {
    const auto at = status.find(name);
    return at == status.npos ? std::string_view{} : status.substr(at, status.find('\n', at + 1) - at);
}

inline void apply_processors(const Surroundings& wanted) {
    ::cpu_set_t now;
    ::cpu_set_t given;
    CPU_ZERO(&now);
    static_assert(sizeof given == sizeof wanted.processors);
    std::memcpy(&given, wanted.processors.data(), sizeof given);
    if (CPU_COUNT(&given) == 0) return;
    if (::sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &given) != 0) return;
    if (::sched_setaffinity(0, sizeof given, &given) != 0) throw_system_error("sched_setaffinity");
}

}  // namespace detail

inline std::string own_status() { return detail::read_system_file("/proc/thread-self/status"); }

inline Surroundings Surroundings::current(std::string_view status) {
    Surroundings now = detail::basic_surroundings(detail::all_limit_names);
    ::cpu_set_t processors;
    CPU_ZERO(&processors);
    // A machine with more than 1024 of them says so by an error: then they are as the server's.
    if (::sched_getaffinity(0, sizeof processors, &processors) == 0)
        std::memcpy(now.processors.data(), &processors, sizeof processors);
    if (const auto line = detail::line_of(status, "\nUmask:"); !line.empty()) {
        now.file_mask = static_cast<std::uint32_t>(std::strtoul(std::string(line.substr(7)).c_str(), nullptr, 8));
    } else {
        const ::mode_t mask = ::umask(077);  // for an instant: an old kernel, or no /proc
        ::umask(mask);
        now.file_mask = mask;
    }
    return now;
}

inline void Surroundings::apply_limits() const { detail::apply_limits(*this, detail::all_limit_names); }

inline std::string current_standing(std::string_view status) {
    std::string standing;
    for (const char* const name : {"\nUid:", "\nGid:", "\nGroups:", "\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapBnd:",
                                   "\nCapAmb:", "\nNoNewPrivs:", "\nSeccomp:", "\nSeccomp_filters:"})
        standing += detail::line_of(status, name);
    standing += "\nLabel: " + detail::read_system_file("/proc/thread-self/attr/current");
    standing += "\nControl group: " + detail::read_system_file("/proc/thread-self/cgroup");
    standing += "\nSession: " + std::to_string(::getsid(0));
    const Handle namespaces = detail::open_system_file("/proc/thread-self/ns", O_PATH | O_DIRECTORY);
    const auto add = [&](const char* path, int from) {
        struct ::stat file{};
        if (::fstatat(from, path, &file, 0) != 0) return;
        standing.append("\n").append(path).append(" ");
        standing.append(std::to_string(file.st_dev)).append(" ").append(std::to_string(file.st_ino));
    };
    add("/", AT_FDCWD);
    for (const char* const space :
         {"cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts"})
        if (namespaces) add(space, namespaces.get());
    return standing;
}

inline Handle open_working_directory() {
    // A path only: a directory that may not be read can be worked in.
    Handle directory = above_standard_streams(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) throw_system_error("open of the working directory");
    return directory;
}

}  // namespace plait::inline PLAIT_ABI::os
