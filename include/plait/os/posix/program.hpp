// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/subprocess_options.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/child.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/process.hpp>
#include <plait/os/surroundings.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

struct StartedProgram {
    Child child;
    Handle input;
    Handle output;
    Handle error;
};

namespace detail {

inline void check_error(const char* call, int error) {
    if (error != 0) throw_system_error(call, error);
}

/// What the child does to its handles, before it executes the program.
class SpawnActions {
public:
    SpawnActions() { check_error("posix_spawn_file_actions_init", ::posix_spawn_file_actions_init(&native)); }
    SpawnActions(const SpawnActions&) = delete;
    SpawnActions& operator=(const SpawnActions&) = delete;
    ~SpawnActions() { ::posix_spawn_file_actions_destroy(&native); }

    void copy_handle(NativeHandle from, NativeHandle to) {
        check_error("posix_spawn_file_actions_adddup2", ::posix_spawn_file_actions_adddup2(&native, from, to));
    }
    void enter(const std::string& directory) {
        check_error("posix_spawn_file_actions_addchdir_np",
                    ::posix_spawn_file_actions_addchdir_np(&native, directory.c_str()));
    }
    void close_others_from(NativeHandle first) {
        check_error("posix_spawn_file_actions_addclosefrom_np", close_others_at_spawn(native, first));
    }

    posix_spawn_file_actions_t native;
};

/// Signals, session and process group.
class SpawnAttributes {
public:
    explicit SpawnAttributes(const ProgramPlan& plan) {
        check_error("posix_spawnattr_init", ::posix_spawnattr_init(&native));
        // A thread of this library's blocks all signals, and who writes to pipes may ignore SIGPIPE: not the program's
        // concern. One that began with SIGCHLD ignored could wait for no child of its own.
        const SignalMask mask = SignalMask::none();
        SignalMask defaults = SignalMask::none();
        for (const int number : {SIGPIPE, SIGXFSZ, SIGCHLD}) ::sigaddset(&defaults.native, number);
        ::posix_spawnattr_setsigmask(&native, &mask.native);
        ::posix_spawnattr_setsigdefault(&native, &defaults.native);
        ::posix_spawnattr_setpgroup(&native, 0);
        const auto flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                           (plan.start_new_session ? POSIX_SPAWN_SETSID : 0) |
                           (plan.start_new_process_group && !plan.start_new_session ? POSIX_SPAWN_SETPGROUP : 0);
        ::posix_spawnattr_setflags(&native, static_cast<short>(flags));
    }
    SpawnAttributes(const SpawnAttributes&) = delete;
    SpawnAttributes& operator=(const SpawnAttributes&) = delete;
    ~SpawnAttributes() { ::posix_spawnattr_destroy(&native); }

    posix_spawnattr_t native;
};

/// Texts as the system calls want them.
class TextPointers {
public:
    void add(const std::string& text) { pointers_.push_back(const_cast<char*>(text.c_str())); }
    void add(char* text) { pointers_.push_back(text); }
    char* const* ended() {
        pointers_.push_back(nullptr);
        return pointers_.data();
    }

private:
    std::vector<char*> pointers_;
};

inline TextPointers environment_of(const ProgramPlan& plan) {
    TextPointers entries;
    const auto is_replaced = [&](std::string_view entry) {
        const std::string_view name = entry.substr(0, entry.find('=') + 1);
        const auto names_it = [&](const std::string& other) { return other.starts_with(name); };
        return !name.empty() && std::any_of(plan.extra_environment.begin(), plan.extra_environment.end(), names_it);
    };
    if (plan.environment) {
        for (const std::string& entry : *plan.environment)
            if (!is_replaced(entry)) entries.add(entry);
    } else {
        for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry)
            if (!is_replaced(*entry)) entries.add(*entry);
    }
    for (const std::string& entry : plan.extra_environment) entries.add(entry);
    return entries;
}

[[noreturn]] inline void throw_start_error(const ProgramPlan& plan, int error) {
    const std::string program = "'" + plan.words.front() + "'";
    if (const std::string& directory = plan.working_directory; !directory.empty()) {
        struct ::stat status{};
        int cause = ::stat(directory.c_str(), &status) != 0 ? errno : 0;
        if (cause == 0 && !S_ISDIR(status.st_mode)) cause = ENOTDIR;
        if (cause == 0 && ::access(directory.c_str(), X_OK) != 0) cause = errno;
        if (cause != 0) throw_system_error("chdir to '" + directory + "', to start " + program + " there", cause);
    }
    throw_system_error("posix_spawnp of " + program, error);
}

/// A program's standard streams, while it is being started: its ends of them.
class ProgramStreams {
public:
    ProgramStreams(const ProgramPlan& plan, SpawnActions& actions, StartedProgram& started) {
        Handle* const ours[] = {&started.input, &started.output, &started.error};
        for (int number = 0; number <= 2; ++number) {
            const auto index = static_cast<std::size_t>(number);
            const StandardStream& stream = plan.streams[index];
            switch (stream.kind()) {
                case StandardStream::Kind::inherited:
                    if (!standard_stream_is_inherited(number)) theirs_[index] = null_device();
                    break;
                case StandardStream::Kind::null_device:
                    theirs_[index] = null_device();
                    break;
                case StandardStream::Kind::pipe:
                    theirs_[index] = make_pipe(number == 0, *ours[index]);
                    break;
                case StandardStream::Kind::handle:
                    theirs_[index] = duplicate(stream.handle());
                    break;
                // By then it is wherever the standard output goes, for these are done in turn.
                case StandardStream::Kind::standard_output:
                    actions.copy_handle(1, number);
                    break;
            }
            // All of them lie above the standard numbers, so that none is overwritten before it is copied.
            if (theirs_[index]) actions.copy_handle(theirs_[index].get(), number);
        }
    }

private:
    static Handle null_device() {
        Handle device = above_standard_streams(::open("/dev/null", O_RDWR | O_CLOEXEC));
        if (!device) throw_system_error("open of /dev/null");
        return device;
    }
    /// Returns the program's end.
    static Handle make_pipe(bool to_program, Handle& ours) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw_system_error("pipe2");
        Handle read = above_standard_streams(ends[0]);
        Handle write = above_standard_streams(ends[1]);
        if (!read || !write) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
        ours = std::move(to_program ? write : read);
        if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) throw_system_error("fcntl(F_SETFL)");
        return std::move(to_program ? read : write);
    }

    std::array<Handle, 3> theirs_;
};

}  // namespace detail

inline StartedProgram start_program(const detail::ProgramPlan& plan) {
    StartedProgram started;
    detail::SpawnActions actions;
    const detail::SpawnAttributes attributes{plan};
    const detail::ProgramStreams streams{plan, actions, started};
    Lifeline lifeline;
    NativeHandle first_closed = first_inherited;
    if (!can_watch_processes()) {
        lifeline = make_lifeline();
        // Above the number that it gets: a copy onto itself would keep close-on-exec.
        lifeline.write = Handle{::fcntl(lifeline.write.get(), F_DUPFD_CLOEXEC, first_inherited + 1)};
        if (!lifeline.write) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
        actions.copy_handle(lifeline.write.get(), first_closed++);
    }
    if (!plan.working_directory.empty()) actions.enter(plan.working_directory);
    actions.close_others_from(first_closed);
    detail::TextPointers words;
    for (const std::string& word : plan.words) words.add(word);
    detail::TextPointers environment = detail::environment_of(plan);
    pid_t pid = 0;
    const int error = ::posix_spawnp(&pid, plan.words.front().c_str(), &actions.native, &attributes.native,
                                     words.ended(), environment.ended());
    if (error != 0) detail::throw_start_error(plan, error);
    started.child = lifeline.read ? adopt_child(pid, std::move(lifeline.read)) : adopt_child(pid);
    return started;
}

inline void end_program(Child& child) noexcept {
    if (child.pid() == 0) return;
    try {
        child.send_signal(SIGKILL);
        child.wait(detail::Deadline::never());
    } catch (const std::system_error&) {
        // It has taken the rights of another user: it ends by itself, and cannot be waited for here.
    }
}

}  // namespace plait::inline PLAIT_ABI::os
