// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/process.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

inline bool has_raised_privileges() noexcept { return ::getauxval(AT_SECURE) != 0; }

/// In doubt it was.
inline bool was_raised_at_start() noexcept {
    if (!has_raised_privileges()) return false;
    // Capabilities, or a security module's doing. Else the ids may have differed in who started it already.
    if (::getuid() == ::geteuid() && ::getgid() == ::getegid()) return true;
    struct ::stat file{};
    if (::stat("/proc/self/exe", &file) != 0 || (file.st_mode & (S_ISUID | S_ISGID)) != 0) return true;
    return ::getxattr("/proc/self/exe", "security.capability", nullptr, 0) >= 0 ||
           (errno != ENODATA && errno != ENOTSUP);
}

inline Handle watch_process(std::int64_t pid) noexcept {
    return above_standard_streams(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
}

/// Whether that process could be signalled: for want of the right to it is an error of its own.
inline bool signal_watched(NativeHandle watch, int number) {
    if (::syscall(SYS_pidfd_send_signal, watch, number, nullptr, 0) == 0) return true;
    if (errno != ESRCH) throw_system_error("pidfd_send_signal");
    return false;
}

/// From kernels that keep it (6.15 and later), once somebody has reaped that process.
inline ExitStatus exit_status_of_watched(NativeHandle watch) noexcept {
    struct Info {  // the kernel's struct pidfd_info, as of its first version
        std::uint64_t mask, control_group;
        std::uint32_t pid, thread_group, parent, ids[8];
        std::int32_t exit_code;
    };
    static_assert(sizeof(Info) == 64);
    constexpr std::uint64_t exit_wanted = 1U << 3;
    Info info{};
    info.mask = exit_wanted;
    if (::ioctl(watch, _IOWR(0xFF, 11, Info), &info) != 0 || (info.mask & exit_wanted) == 0) return {};
    return exit_status_of(info.exit_code);
}

/// Whether there was one to ask.
inline bool wait_watched(NativeHandle watch, ::siginfo_t& info, int more_options) noexcept {
    int result = 0;
    do
        result =
            ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(watch), &info, WEXITED | WNOHANG | more_options);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

inline std::optional<ExitStatus> reap_watched(NativeHandle watch) noexcept {
    ::siginfo_t info{};
    if (!wait_watched(watch, info, 0))
        return exit_status_of_watched(watch);  // the host reaped it, or has no such child
    if (info.si_pid == 0) return std::nullopt;
    return ExitStatus{true, info.si_code == CLD_EXITED ? std::int64_t{info.si_status} : -std::int64_t{info.si_status}};
}

inline bool is_held(NativeHandle watch) noexcept {
    ::siginfo_t info{};
    return wait_watched(watch, info, WNOWAIT) && info.si_pid == 0;
}

/// An old kernel, or a filter of system calls, may know none of it, or not all.
inline bool can_watch_processes() noexcept {
    static const bool can = [] {
        const auto is_missing = [](int error) { return error == ENOSYS || error == EPERM || error == EACCES; };
        const Handle self = watch_process(::getpid());
        if (!self) return !is_missing(errno);  // no descriptor left: ask for one later
        ::siginfo_t info{};
        const bool waits = wait_watched(self.get(), info, 0) || errno == ECHILD;
        return waits && (::syscall(SYS_pidfd_send_signal, self.get(), 0, nullptr, 0) == 0 || !is_missing(errno));
    }();
    return can;
}

/// The beginning of what the system tells of a process under that name, as a text; empty where there is none.
template <std::size_t size>
const char* read_process_file(std::int64_t pid, const char* name, char (&text)[size]) noexcept {
    std::snprintf(text, size, "/proc/%lld/%s", static_cast<long long>(pid), name);
    const Handle file = above_standard_streams(::open(text, O_RDONLY | O_CLOEXEC));
    ssize_t count = 0;
    do count = file ? ::read(file.get(), text, size - 1) : 0;
    while (count < 0 && errno == EINTR);
    text[(std::max)(count, ssize_t{0})] = '\0';  // an error: it ended between
    return text;
}

inline std::optional<std::size_t> resident_memory(std::int64_t pid) noexcept {
    char text[96];
    char* rest = nullptr;
    std::strtoull(read_process_file(pid, "statm", text), &rest, 10);  // "size resident …", in pages
    if (rest == text) return std::nullopt;
    return static_cast<std::size_t>(std::strtoull(rest, nullptr, 10)) *
           static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

inline bool is_stopped(std::int64_t pid) noexcept {
    char text[96];
    // "pid (name) state …", where the name, of 15 bytes at most, may hold anything.
    const char* const end_of_name = std::strrchr(read_process_file(pid, "stat", text), ')');
    return end_of_name != nullptr && std::strncmp(end_of_name, ") T", 3) == 0;
}

inline constexpr bool children_die_with_parent = true;

inline bool die_with_parent(std::int64_t pid) noexcept {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    return ::getppid() == static_cast<pid_t>(pid);  // asked after: a parent that died between is seen here
}

inline void wake_with_parent() noexcept { ::prctl(PR_SET_PDEATHSIG, SIGCONT); }

inline void adopt_orphans() noexcept { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

/// Whether /proc tells of this process's own namespace: another's numbers mean others here.
inline bool has_own_proc() noexcept {
    char text[24];
    const ssize_t size = ::readlink("/proc/self", text, sizeof text - 1);
    if (size <= 0) return false;
    text[size] = 0;
    return std::strtol(text, nullptr, 10) == ::getpid();
}

/// Appends the children of a thread.
inline void append_children(const std::string& thread, std::vector<std::int64_t>& pids) {
    const Handle list{::open((thread + "/children").c_str(), O_RDONLY | O_CLOEXEC)};
    char text[512];
    std::int64_t pid = 0;
    for (;;) {
        const ssize_t count = list ? ::read(list.get(), text, sizeof text) : 0;
        if (count <= 0) return;
        for (const char digit : std::string_view{text, static_cast<std::size_t>(count)}) {
            if (digit != ' ')
                pid = 10 * pid + (digit - '0');
            else
                pids.push_back(std::exchange(pid, 0));
        }
    }
}

inline std::vector<std::int64_t> children_of_this_thread() {
    std::vector<std::int64_t> pids;
    if (has_own_proc()) append_children("/proc/thread-self", pids);
    return pids;
}

inline std::vector<std::int64_t> descendants_of(std::int64_t pid) {
    std::vector<std::int64_t> pids;
    if (!has_own_proc()) return pids;
    pids.push_back(pid);
    for (std::size_t i = 0; i < pids.size(); ++i) {
        const std::string threads = "/proc/" + std::to_string(pids[i]) + "/task";
        DIR* const folder = ::opendir(threads.c_str());
        if (folder == nullptr) continue;
        while (const dirent* const entry = ::readdir(folder))
            if (entry->d_name[0] != '.') append_children(threads + "/" + entry->d_name, pids);
        ::closedir(folder);
    }
    pids.erase(pids.begin());
    return pids;
}

inline void close_handles_from(NativeHandle first) noexcept {
    if (::syscall(SYS_close_range, first, ~0U, 0) != 0) close_listed_handles_from(first);
}

}  // namespace plait::inline PLAIT_ABI::os
