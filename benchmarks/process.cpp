// SPDX-License-Identifier: MIT
//
// What does a process cost that does nothing, and does it matter how large the program is that starts it?

#include <plait/multiprocessing/freeze_support.hpp>
#include <plait/multiprocessing/process.hpp>

#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>

#include "table.hpp"

namespace {

namespace mp = plait::multiprocessing;

template <class One>
double each(std::size_t full, One one) {
    const std::size_t count = benchmark::scaled(full);
    return benchmark::nanoseconds([&] {
               for (std::size_t i = 0; i < count; ++i) one();
           }) /
           static_cast<double>(count);
}

void wait_for(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) std::abort();
}

void fork_and_wait() {
    const pid_t child = fork();
    if (child < 0) std::abort();
    if (child == 0) _exit(0);
    wait_for(child);
}

constexpr const char* end_at_once = "--end-at-once";

void spawn_and_wait(const char* program) {
    std::string name = program;
    std::string argument = end_at_once;
    char* const arguments[] = {name.data(), argument.data(), nullptr};
    pid_t child = 0;
    if (posix_spawn(&child, program, nullptr, nullptr, arguments, environ) != 0) std::abort();
    wait_for(child);
}

void start_and_join(mp::Process process) {
    process.start();
    process.join();
    if (process.exitcode() != 0) std::abort();
}

void do_nothing() {}

void start_and_join_by(mp::StartMethod method) {
    start_and_join(mp::Process(mp::ProcessOptions{.start_method = method}, do_nothing));
}

void measure(const std::string& parent, std::size_t processes) {
    benchmark::Table table{"D1: start and join an empty child, " + parent, benchmark::us,
                           "fork at most 180 µs from a small program; spawn 800 µs; fork server 500 µs from any"};
    table.bare("fork, waitpid", [=] { return each(processes, fork_and_wait); });
    table.peer("posix_spawn of /bin/true, waitpid",
               [=] { return each(processes, [] { spawn_and_wait("/bin/true"); }); });
    table.peer("posix_spawn of this program, waitpid",
               [=] { return each(processes, [] { spawn_and_wait("/proc/self/exe"); }); });
    table.plait("Process::forked", [=] { return each(processes, [] { start_and_join(mp::Process::forked([] {})); }); });
    table.plait("Process by spawn", [=] { return each(processes, [] { start_and_join_by(mp::StartMethod::spawn); }); });
    table.plait("Process by the default, forkserver",
                [=] { return each(processes, [] { start_and_join_by(mp::StartMethod::forkserver); }); });
    table.run();
}

/// Memory in small pages, each of them used: what a fork has to copy the table of.
class Ballast {
public:
    explicit Ballast(std::size_t size) : size_{size} {
        memory_ = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory_ == MAP_FAILED) std::abort();
        madvise(memory_, size, MADV_NOHUGEPAGE);
        for (std::size_t i = 0; i < size; i += 4096) static_cast<volatile char*>(memory_)[i] = 1;
    }
    Ballast(const Ballast&) = delete;
    Ballast& operator=(const Ballast&) = delete;
    ~Ballast() { munmap(memory_, size_); }

private:
    std::size_t size_;
    void* memory_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && argv[1] == std::string_view{end_at_once}) return 0;
    mp::freeze_support(argc, argv);

    measure("from a small program", 100);
    const Ballast ballast{benchmark::scaled(std::size_t{1} << 30)};
    measure("from a program with 1 GiB in use", 10);
}
