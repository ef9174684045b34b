// SPDX-License-Identifier: MIT
//
// What does it cost to run a program and have its output?

#include <plait/asyncio/run.hpp>
#include <plait/asyncio/subprocess.hpp>
#include <plait/subprocess/run.hpp>

#ifdef BENCHMARK_BOOST_PROCESS
#  include <boost/process/args.hpp>
#  include <boost/process/child.hpp>
#  include <boost/process/io.hpp>
#  include <boost/process/pipe.hpp>
#endif

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "python_peer.hpp"
#include "table.hpp"

namespace {

namespace aio = plait::asyncio;

constexpr const char* program = "/bin/echo";
constexpr const char* word = "hello";

std::size_t count() { return benchmark::scaled(200); }

void check(bool holds) {
    if (holds) return;
    std::fprintf(stderr, "a child did not say what it should\n");
    std::abort();
}
void check_output(std::string_view output, int status) { check(output == "hello\n" && status == 0); }

template <class One>
double each(One one) {
    return benchmark::nanoseconds([&] {
               for (std::size_t i = 0; i < count(); ++i) one();
           }) /
           static_cast<double>(count());
}

/// The least that there is.
void by_posix_spawn() {
    int output[2];
    check(pipe2(output, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    std::string name = program;
    std::string argument = word;
    char* const arguments[] = {name.data(), argument.data(), nullptr};
    pid_t child = -1;
    check(posix_spawn(&child, program, &actions, nullptr, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(output[1]);
    std::array<char, 4096> buffer;
    std::size_t size = 0;
    while (const ssize_t more = read(output[0], buffer.data() + size, buffer.size() - size)) {
        check(more > 0);
        size += static_cast<std::size_t>(more);
    }
    close(output[0]);
    int status = -1;
    check(waitpid(child, &status, 0) == child);
    check_output({buffer.data(), size}, status);
}

/// What C has for it: by way of a shell.
void by_popen() {
    std::FILE* const output = popen("/bin/echo hello", "re");
    check(output != nullptr);
    std::array<char, 4096> buffer;
    const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), output);
    check_output({buffer.data(), size}, pclose(output));
}

#ifdef BENCHMARK_BOOST_PROCESS
void by_boost() {
    namespace bp = boost::process;
    bp::ipstream stream;
    bp::child child(program, bp::args = {word}, bp::std_out > stream);
    std::string output;
    for (std::string line; std::getline(stream, line);) output += line + '\n';
    child.wait();
    check_output(output, child.exit_code());
}
#endif

void by_run() {
    const auto done = plait::subprocess::run({program, word}, {.capture_output = true});
    check_output(done.out, done.returncode);
}

aio::Coroutine<void> by_loop() {
    for (std::size_t i = 0; i < count(); ++i) {
        auto child = co_await aio::create_subprocess_exec({program, word}, {.standard_output = aio::PIPE});
        const auto output = co_await child.communicate();
        check_output(output.out, child.returncode().value_or(-1));
    }
}

}  // namespace

int main() {
    using benchmark::PythonPeer;
    benchmark::Table table{"D5: run /bin/echo, have its output and its exit status", benchmark::us,
                           "at most 1.03 of posix_spawn, read, waitpid"};
    table.bare("posix_spawn, read, waitpid", [] { return each(by_posix_spawn); });
    table.peer("popen, fread, pclose", [] { return each(by_popen); });
#ifdef BENCHMARK_BOOST_PROCESS
    table.peer("boost::process::child, ipstream", [] { return each(by_boost); });
#else
    benchmark::missing("Boost.Process");
#endif
    const std::string rounds = ' ' + std::to_string(count());
    const std::string with_uvloop = PythonPeer::interpreter_with("uvloop");
    if (with_uvloop.empty()) benchmark::missing("uvloop");
    if (!with_uvloop.empty() || PythonPeer::is_installed()) {
        static const PythonPeer peer{"spawn_peer.py", {}, with_uvloop.empty() ? "python3" : with_uvloop};
        table.peer("Python: subprocess.run", [=] { return peer("subprocess" + rounds); });
        table.peer("asyncio: create_subprocess_exec", [=] { return peer("asyncio" + rounds); });
        if (!with_uvloop.empty()) table.peer("uvloop: create_subprocess_exec", [=] { return peer("uvloop" + rounds); });
    } else {
        benchmark::missing("python3");
    }
    table.plait("subprocess::run", [] { return each(by_run); });
    table.plait("create_subprocess_exec, communicate",
                [] { return benchmark::nanoseconds([] { aio::run(by_loop()); }) / static_cast<double>(count()); });
    table.run();
}
