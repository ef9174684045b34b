// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "table.hpp"

namespace benchmark {

/// A script beside this file that takes its turns with the other contenders: it is told a round, a line on its standard
/// input, and answers with the nanoseconds that one operation took, or with several figures.
class PythonPeer {
public:
    PythonPeer(const std::string& script, std::vector<std::string> arguments,
               const std::string& interpreter = "python3") {
        const std::string here = __FILE__;
        const std::size_t slash = here.rfind('/');
        arguments.insert(arguments.begin(), (slash == std::string::npos ? "" : here.substr(0, slash + 1)) + script);
        arguments.insert(arguments.begin(), interpreter);
        int there[2];
        int back[2];
        if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0) std::abort();
        child_ = start(arguments, there[0], back[1]);
        close(there[0]);
        close(back[1]);
        to_ = fdopen(there[1], "w");
        from_ = fdopen(back[0], "r");
        if (child_ < 0 || to_ == nullptr || from_ == nullptr) std::abort();
    }
    PythonPeer(const PythonPeer&) = delete;
    PythonPeer& operator=(const PythonPeer&) = delete;
    ~PythonPeer() {
        std::fputs("end\n", to_);  // not the end of the file: a forked child may hold this end of the pipe too
        std::fclose(to_);
        waitpid(child_, nullptr, 0);
        std::fclose(from_);
    }

    double operator()(const std::string& round) const { return values(round, 1)[0]; }
    /// The `count` figures that it answers with.
    [[nodiscard]] std::vector<double> values(const std::string& round, std::size_t count) const {
        std::vector<double> figures(count);
        std::fprintf(to_, "%s\n", round.c_str());
        std::fflush(to_);
        for (double& figure : figures)
            if (std::fscanf(from_, "%lf", &figure) != 1) {
                std::fprintf(stderr, "the Python peer did not do \"%s\"\n", round.c_str());
                std::abort();
            }
        return figures;
    }

    static bool is_installed() {
        static const bool found = runs("python3", "");
        return found;
    }
    /// The first Python that has a module, the user's or the system's; empty where none has it.
    static std::string interpreter_with(const std::string& module) {
        for (const char* interpreter : {"python3", "/usr/bin/python3"})
            if (runs(interpreter, "import " + module)) return interpreter;
        return {};
    }

private:
    static bool runs(const std::string& interpreter, const std::string& program) {
        const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
        const pid_t child = start({interpreter, "-c", program}, nowhere, nowhere, nowhere);
        if (nowhere >= 0) close(nowhere);
        int status = -1;
        return child > 0 && waitpid(child, &status, 0) == child && status == 0;
    }
    /// The child, or -1.
    static pid_t start(std::vector<std::string> arguments, int input, int output, int errors = STDERR_FILENO) {
        std::vector<char*> pointers;
        for (std::string& argument : arguments) pointers.push_back(argument.data());
        pointers.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
        pid_t child = -1;
        if (posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), environ) != 0) child = -1;
        posix_spawn_file_actions_destroy(&actions);
        return child;
    }

    pid_t child_;
    std::FILE* to_;
    std::FILE* from_;
};

}  // namespace benchmark
