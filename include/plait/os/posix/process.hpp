// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/system_error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace plait::inline PLAIT_ABI::os {

/// How a process ended; the code as Python tells it: negative for a signal.
struct ExitStatus {
    bool known = false;
    std::int64_t code = 0;
};

inline ExitStatus exit_status_of(int wait_status) noexcept {
    if (WIFSIGNALED(wait_status)) return {true, -std::int64_t{WTERMSIG(wait_status)}};
    return {true, WEXITSTATUS(wait_status)};
}

inline std::int64_t process_id() noexcept { return ::getpid(); }
inline std::int64_t parent_process_id() noexcept { return ::getppid(); }

PLAIT_VISIBLE inline std::string& program_name() {
    // Never destroyed: a child may be started while static objects are being destroyed.
    static std::string* const name = new std::string("plait-child");
    return *name;
}
inline void remember_program(const char* name) {
    if (name != nullptr) program_name() = name;
}
/// Names the running file itself, also after it was renamed or deleted.
inline const char* executable_path() noexcept { return "/proc/self/exe"; }

[[noreturn]] inline void exit_immediately(int code) noexcept { ::_exit(code); }

inline void open_missing_standard_streams() noexcept {
    for (int standard = 0; standard <= 2; ++standard)
        // open gives the lowest free number: this one, for those below it are open by now.
        if (::fcntl(standard, F_GETFD) < 0) static_cast<void>(::open("/dev/null", standard == 0 ? O_RDONLY : O_WRONLY));
}
inline void read_nothing_from_standard_input() noexcept {
    const Handle null = above_standard_streams(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (null) ::dup2(null.get(), 0);
}

/// Closes what is open from `first` on, as the system lists it: the limit may be a billion.
inline void close_listed_handles_from(NativeHandle first) noexcept {
    NativeHandle last = static_cast<NativeHandle>(::sysconf(_SC_OPEN_MAX)) - 1;
    ::close(first);  // so that there is a number for the list, whatever the limit
    if (DIR* const open = ::opendir("/dev/fd"); open != nullptr) {
        last = Handle::none;
        while (const dirent* const entry = ::readdir(open)) last = (std::max)(last, std::atoi(entry->d_name));
        ::closedir(open);
    }
    for (NativeHandle handle = first; handle <= last; ++handle) ::close(handle);
}

inline void lead_process_group() noexcept { ::setpgid(0, 0); }

inline void lead_own_process_group() noexcept {
    if (::getpgrp() != 0) lead_process_group();
}

inline void allow_many_handles() noexcept {
    struct ::rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

inline bool process_exists(std::int64_t pid) noexcept {
    return ::kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH;
}

inline void end_child(std::int64_t pid) noexcept { ::kill(static_cast<pid_t>(pid), SIGKILL); }

inline void go_to_root_directory() noexcept {
    if (::chdir("/") != 0) return;  // then it stays where it was, which harms nobody
}

struct SignalMask {
    sigset_t native;

    static SignalMask current() noexcept {
        SignalMask mask;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask.native);
        return mask;
    }
    static SignalMask none() noexcept {
        SignalMask mask;
        ::sigemptyset(&mask.native);
        return mask;
    }
    void apply() const noexcept { ::pthread_sigmask(SIG_SETMASK, &native, nullptr); }
};

/// What the signals of a terminal did before they were ignored.
class TerminalSignals {
public:
    TerminalSignals() noexcept {
        struct ::sigaction ignore{};
        ignore.sa_handler = SIG_IGN;
        ::sigemptyset(&ignore.sa_mask);
        for (std::size_t i = 0; i < numbers.size(); ++i) ::sigaction(numbers[i], &ignore, &before_[i]);
    }
    /// Blocks them and no others.
    static SignalMask mask() noexcept {
        SignalMask all = SignalMask::none();
        for (const int number : numbers) ::sigaddset(&all.native, number);
        return all;
    }
    void restore() const noexcept {
        for (std::size_t i = 0; i < numbers.size(); ++i) ::sigaction(numbers[i], &before_[i], nullptr);
    }

private:
    static constexpr std::array<int, 6> numbers{SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU};
    std::array<struct ::sigaction, 6> before_{};
};
inline TerminalSignals ignore_terminal_signals() noexcept { return {}; }

inline void take_no_notice_of_interrupt() noexcept {
    // A handler and not SIG_IGN, which what this process executes would inherit; one that is there already it shall.
    struct ::sigaction action{};
    if (::sigaction(SIGINT, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) return;
    action = {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, nullptr);
}

inline void end_when_asked() noexcept { ::signal(SIGTERM, SIG_DFL); }

inline void mind_own_children() noexcept { ::signal(SIGCHLD, SIG_DFL); }

/// Around the start of a thread of ours: signals go to the program's own threads.
class BlockSignals {
public:
    BlockSignals() noexcept : before_{SignalMask::current()} {
        SignalMask all;
        ::sigfillset(&all.native);
        all.apply();
    }
    ~BlockSignals() { before_.apply(); }
    BlockSignals(const BlockSignals&) = delete;
    BlockSignals& operator=(const BlockSignals&) = delete;

private:
    SignalMask before_;
};

inline std::string signal_description(int number) {
    const struct {
        int number;
        const char* name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"},
        {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},
        {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"}, {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
        {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"},
    };
    std::string name = "signal " + std::to_string(number);
    for (const auto& entry : names)
        if (entry.number == number) name = entry.name;
    const char* const text = ::strsignal(number);
    return text != nullptr ? name + " (" + text + ")" : name;
}

}  // namespace plait::inline PLAIT_ABI::os
