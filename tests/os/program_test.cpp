// SPDX-License-Identifier: MIT
#include <plait/os/program.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/forked_child.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/os/byte_stream.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
using namespace plait;
using plait::detail::Deadline;

namespace {

os::StartedProgram start(const Command& command, const SubprocessOptions& options = {}) {
    return os::start_program(plait::detail::ProgramPlan{command, options});
}

std::string read_to_end(const os::Handle& pipe) {
    std::string text;
    char buffer[4096];
    for (;;) {
        static_cast<void>(os::wait_readable(pipe.get(), Deadline{30s}));
        const os::Flow flow = os::read_bytes(pipe.get(), buffer);
        if (flow.error != 0 || (flow.count == 0 && !flow.would_block)) return text;
        text.append(buffer, flow.count);
    }
}

/// What a program writes to its standard output, once it has ended.
std::string output_of(const Command& command, SubprocessOptions options = {}) {
    options.standard_output = PIPE;
    os::StartedProgram program = start(command, options);
    const std::string text = read_to_end(program.output);
    return program.child.wait(Deadline{30s}) ? text : "it has not ended";
}

std::string content_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

void write_script(const std::string& path, mode_t mode) {
    std::ofstream{path} << "#!/bin/sh\necho \"$@\"\n";
    ::chmod(path.c_str(), mode);
}

/// The text of a start that failed, if nothing is left of it.
std::string failure_of(const Command& command, int expected, const SubprocessOptions& options = {}) {
    const auto open = open_descriptors();
    const auto error = caught<std::system_error>([&] { start(command, options); });
    if (!error) return "it was started";
    if (error->code() != std::error_code(expected, std::system_category())) return "another error";
    if (open_descriptors() != open) return "descriptors are left";
    if (::waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD) return "a child is left";
    return error->what();
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a program gets its words as they are, and its end is its child's") {
    CHECK(output_of({"printf", "%s|", "a b", "", "'\"$x\\", "*"}) == "a b||'\"$x\\|*|");
    os::StartedProgram program = start({"sh", "-c", "exit 7"});
    CHECK(program.child.wait(Deadline{30s}));
    CHECK(program.child.status().code == 7);
    CHECK_FALSE(program.input);
}

TEST_CASE("a program that is missing, or may not be executed, is an error that names it, and leaves nothing") {
    const TemporaryFolder folder;
    write_script(folder.file("plain"), 0644);
    CHECK(contains(failure_of({"no-such-program"}, ENOENT, {.standard_output = PIPE}), "'no-such-program'"));
    CHECK(contains(failure_of({folder.file("missing")}, ENOENT), folder.file("missing")));
    CHECK(contains(failure_of({folder.file("plain")}, EACCES), folder.file("plain")));
    CHECK(contains(failure_of({folder.file("")}, EACCES), "posix_spawnp"));
}

TEST_CASE("a working directory that is missing, or none, is an error that names it") {
    const TemporaryFolder folder;
    write_script(folder.file("plain"), 0644);
    const std::string missing = folder.file("missing");
    const std::string plain = folder.file("plain");
    CHECK(contains(failure_of({"ls"}, ENOENT, {.working_directory = missing}), "chdir to '" + missing + "'"));
    CHECK(contains(failure_of({"ls"}, ENOTDIR, {.working_directory = plain}), "chdir to '" + plain + "'"));
    CHECK(contains(failure_of({"no-such-program"}, ENOENT, {.working_directory = "/"}), "'no-such-program'"));
}

TEST_CASE("a stream's handle that is not open is an error, and so is a want of descriptors") {
    const os::Handle spare = os::duplicate(0);
    const int closed = spare.get() + 1000;
    CHECK_FALSE(failure_of({"ls"}, EBADF, {.standard_output = closed}).empty());
    CHECK(contains(failure_of({"ls"}, EBADF, {.standard_output = closed}), "fcntl"));
    static_cast<void>(os::can_watch_processes());
    for (unsigned more = 0; more < 3; ++more) {
        const auto open = open_descriptors();
        {
            const DescriptorLimit limit{more};
            CHECK_THROWS_AS(start({"ls"}, {.standard_input = PIPE, .standard_output = PIPE, .standard_error = PIPE}),
                            std::system_error);
        }
        CHECK((open_descriptors() == open));
    }
    CHECK(children().empty());
}

TEST_CASE("a relative path of a program is relative to its working directory") {
    const TemporaryFolder folder;
    write_script(folder.file("tool"), 0755);
    const std::string directory = folder.file("");
    CHECK(output_of({"./tool", "x"}, {.working_directory = directory}) == "x\n");
}

TEST_CASE("an environment that is given is all there is, and an extra one comes over it") {
    const std::vector<std::string> none;
    CHECK(output_of({"/usr/bin/env"}, {.environment = none}).empty());
    CHECK(output_of({"/usr/bin/env"}, {.environment = {"A=1", "AB=2"}, .extra_environment = {"A=3"}}) == "AB=2\nA=3\n");
    ::setenv("PLAIT_TEST_NAME", "here", 1);
    CHECK(contains(output_of({"env"}), "PLAIT_TEST_NAME=here\n"));
    const std::string over = output_of({"env"}, {.extra_environment = {"PLAIT_TEST_NAME=there"}});
    CHECK(contains(over, "PLAIT_TEST_NAME=there\n"));
    CHECK_FALSE(contains(over, "PLAIT_TEST_NAME=here\n"));
    ::unsetenv("PLAIT_TEST_NAME");
}

TEST_CASE("streams may be handles, also this program's own the other way round") {
    const TemporaryFolder folder;
    ForkedChild host{[&] {
        const int output = ::open(folder.file("1").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        const int error = ::open(folder.file("2").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ::dup2(output, 1);
        ::dup2(error, 2);
        const char* const text = "echo out; echo err >&2";
        start({"sh", "-c", text}).child.wait(Deadline{30s});
        start({"sh", "-c", text}, {.standard_output = 2, .standard_error = 1}).child.wait(Deadline{30s});
        start({"sh", "-c", text}, {.standard_output = output, .standard_error = STANDARD_OUTPUT})
            .child.wait(Deadline{30s});
        start({"sh", "-c", text}, {.standard_error = STANDARD_OUTPUT}).child.wait(Deadline{30s});
        start({"sh", "-c", text}, {.standard_output = DEVNULL, .standard_error = DEVNULL}).child.wait(Deadline{30s});
        return 0;
    }};
    CHECK(host.join() == 0);
    CHECK(content_of(folder.file("1")) == "out\nerr\nout\nerr\nout\nerr\n");
    CHECK(content_of(folder.file("2")) == "err\nout\n");
}

TEST_CASE("standard streams that are closed here, or no program's to inherit, are the null device there") {
    const auto are_null = [](unsigned closed) {
        for (int number = 0; number <= 2; ++number)
            if ((closed >> number & 1U) != 0) ::close(number);
        if (closed == 7) static_cast<void>(::open("/dev/zero", O_RDWR | O_CLOEXEC));  // as number 0
        const std::string links = output_of({"readlink", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"});
        std::istringstream lines{links};
        bool right = true;
        for (int number = 0; number <= 2; ++number) {
            std::string line;
            right = std::getline(lines, line) && right;
            const bool is_null = line == "/dev/null";
            if (number == 1)
                right = right && line.starts_with("pipe:");
            else if ((closed >> number & 1U) != 0)
                right = right && is_null;
        }
        return right ? 0 : 1;
    };
    for (unsigned closed = 0; closed < 8; ++closed) {
        INFO(closed);
        ForkedChild host{[&] { return are_null(closed); }};
        CHECK(host.join() == 0);
    }
}

TEST_CASE("a program has no handle of this one but its standard streams, whatever is open here") {
    if (!os::spawn_closes_other_handles || !os::can_watch_processes()) return;
    const auto list = [] { return output_of({"ls", "/proc/self/fd"}); };
    const std::string before = list();
    std::vector<os::Handle> open;
    for (int i = 0; i < 25; ++i) {
        open.emplace_back(::open("/dev/null", O_RDONLY));
        open.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    CHECK(list() == before);
    CHECK(before == "0\n1\n2\n3\n");  // the last is the listing's own
}

TEST_CASE("programs that are started at once hold no pipe of each other") {
    std::atomic<int> ended = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 5; ++round) {
                os::StartedProgram kept = start({"cat"}, {.standard_input = PIPE, .standard_output = PIPE});
                os::StartedProgram ending = start({"cat"}, {.standard_input = PIPE, .standard_output = PIPE});
                ending.input.reset();
                if (ending.child.wait(Deadline{30s}) && read_to_end(ending.output).empty()) ++ended;
                os::end_program(kept.child);
                os::end_program(ending.child);
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(ended == 20);
}

TEST_CASE("a program starts with no signal blocked, and ignores what this one ignores, but for three") {
    ForkedChild host{[] {
        const os::BlockSignals blocked;
        for (const int number : {SIGPIPE, SIGXFSZ, SIGCHLD, SIGUSR1}) ::signal(number, SIG_IGN);
        const std::string found = output_of({"grep", "-E", "SigBlk|SigIgn", "/proc/self/status"});
        const std::size_t at = found.find("SigIgn:");
        const auto ignored = std::strtoull(found.c_str() + at + 7, nullptr, 16);
        const auto bit = [](int number) { return 1ULL << (number - 1); };
        const bool none_blocked = contains(found, "SigBlk:\t0000000000000000");
        const bool right =
            (ignored & (bit(SIGPIPE) | bit(SIGXFSZ) | bit(SIGCHLD))) == 0 && (ignored & bit(SIGUSR1)) != 0;
        return at != std::string::npos && none_blocked && right ? 0 : 1;
    }};
    CHECK(host.join() == 0);
}

TEST_CASE("a program stays in this session and group, or leads one of its own") {
    const auto with = [](const SubprocessOptions& options, auto look) {
        os::StartedProgram program = start({"cat"}, options);
        const auto pid = static_cast<pid_t>(program.child.pid());
        const auto found = look(pid) == pid;
        program.input.reset();
        return program.child.wait(Deadline{30s}) && found;
    };
    CHECK_FALSE(with({.standard_input = PIPE}, ::getpgid));
    CHECK(with({.standard_input = PIPE, .start_new_process_group = true}, ::getpgid));
    CHECK_FALSE(with({.standard_input = PIPE, .start_new_process_group = true}, ::getsid));
    CHECK(with({.standard_input = PIPE, .start_new_session = true}, ::getsid));
    CHECK(with({.standard_input = PIPE, .start_new_session = true, .start_new_process_group = true}, ::getpgid));
}

TEST_CASE("a program is killed and reaped, stopped or not, and a second time nothing happens") {
    os::StartedProgram program = start({"sh", "-c", "trap '' TERM; kill -STOP $$"});
    const auto pid = static_cast<int>(program.child.pid());
    REQUIRE(within(30s, [&] { return process_state(pid).value_or(ProcessState{}).state == 'T'; }));
    os::end_program(program.child);
    CHECK_FALSE(process_state(pid));
    CHECK(program.child.status().code == -SIGKILL);
    os::end_program(program.child);
    os::Child none;
    os::end_program(none);
}
