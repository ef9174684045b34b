// SPDX-License-Identifier: MIT
#include "support/watchdog.hpp"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

// All that follows `expire` runs in a signal handler, in a program that is broken by assumption: no allocation, no
// stream, no lock; system calls and memory of its own.

namespace support::watchdog {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int default_seconds = 240;
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr int default_seconds = 240;
#  else
constexpr int default_seconds = 120;
#  endif
#else
constexpr int default_seconds = 120;
#endif

std::array<char, 512> running_case{};
std::atomic<int> thread_to_print{0};  // the thread whose turn it is; it sets 0 when it has printed

void print(std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
        if (written <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

void print(int number) {
    std::array<char, 12> digits{};
    std::size_t first = digits.size();
    do {
        digits[--first] = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number != 0);
    print(std::string_view{digits.data() + first, digits.size() - first});
}

int to_number(std::string_view text) {
    int number = 0;
    for (const char digit : text) {
        if (digit < '0' || digit > '9') return -1;
        number = number * 10 + (digit - '0');
    }
    return text.empty() ? -1 : number;
}

/// Calls `visit` with each entry of `folder` whose name is a number.
template <class Visit>
void for_each_number_in(const char* folder, Visit visit) {
    const int directory = ::open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    struct Entry {  // what getdents64 writes; readdir would allocate
        std::uint64_t inode;
        std::int64_t offset;
        unsigned short length;
        unsigned char type;
        char name[1];
    };
    alignas(Entry) std::array<char, 4096> buffer{};
    for (long size = 0; (size = ::syscall(SYS_getdents64, directory, buffer.data(), buffer.size())) > 0;) {
        for (long at = 0; at < size;) {
            const auto* entry = reinterpret_cast<const Entry*>(buffer.data() + at);
            if (const int number = to_number(entry->name); number > 0) visit(number);
            at += entry->length;
        }
    }
    ::close(directory);
}

/// Reads the head of /proc/<id>/<file>, or of /proc/self/task/<id>/<file>.
std::string_view read_head(const char* folder, int id, const char* file, std::array<char, 512>& buffer) {
    std::array<char, 128> path{};
    std::size_t length = 0;
    const auto append = [&](std::string_view text) {
        for (const char letter : text)
            if (length + 1 < path.size()) path[length++] = letter;
    };
    std::array<char, 12> digits{};
    std::size_t first = digits.size();
    for (; id != 0; id /= 10) digits[--first] = static_cast<char>('0' + id % 10);
    append(folder);
    append({digits.data() + first, digits.size() - first});
    append("/");
    append(file);
    const int descriptor = ::open(path.data(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return {};
    const ssize_t size = ::read(descriptor, buffer.data(), buffer.size());
    ::close(descriptor);
    return {buffer.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

struct Process {
    int pid = 0;
    int parent = 0;
    char state = '?';
    std::array<char, 32> name{};
};

Process process_of(int pid) {
    std::array<char, 512> buffer{};
    const std::string_view stat = read_head("/proc/", pid, "stat", buffer);
    const std::size_t open = stat.find('(');
    const std::size_t close = stat.rfind(')');
    if (open == stat.npos || close == stat.npos || close + 4 >= stat.size()) return {};
    Process process;
    process.pid = pid;
    process.state = stat[close + 2];
    const std::string_view rest = stat.substr(close + 4);
    process.parent = to_number(rest.substr(0, rest.find(' ')));
    const std::string_view name = stat.substr(open + 1, close - open - 1);
    std::copy_n(name.begin(), (std::min)(name.size(), process.name.size() - 1), process.name.begin());
    return process;
}

/// The processes under this one, parents first.
struct Descendants {
    std::array<Process, 256> list{};
    std::size_t count = 0;

    Descendants() {
        add_children_of(::getpid());
        for (std::size_t i = 0; i < count; ++i) add_children_of(list[i].pid);
    }
    void add_children_of(int parent) {
        for_each_number_in("/proc", [&](int pid) {
            if (count == list.size()) return;
            if (const Process process = process_of(pid); process.parent == parent) list[count++] = process;
        });
    }
};

// A real-time signal that nothing else in the tests uses.
int print_stack_signal() { return SIGRTMAX - 1; }

void print_stack_of_this_thread(int) {
    const int saved = errno;
    std::array<void*, 100> frames;
    const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
    ::backtrace_symbols_fd(frames.data(), count, STDERR_FILENO);
    thread_to_print = 0;
    errno = saved;
}

void wait_for_its_turn(double seconds) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const auto elapsed = [start = now] {
        timespec later{};
        ::clock_gettime(CLOCK_MONOTONIC, &later);
        return static_cast<double>(later.tv_sec - start.tv_sec) +
               static_cast<double>(later.tv_nsec - start.tv_nsec) / 1e9;
    };
    while (thread_to_print != 0 && elapsed() < seconds) ::sched_yield();
}

void print_threads() {
    for_each_number_in("/proc/self/task", [](int thread) {
        std::array<char, 512> buffer{};
        std::string_view name = read_head("/proc/self/task/", thread, "comm", buffer);
        print("thread ");
        print(thread);
        print(" ");
        print(name.empty() ? "(ended)\n" : name);
        thread_to_print = thread;
        if (thread == ::syscall(SYS_gettid)) {
            print_stack_of_this_thread(0);
        } else if (::syscall(SYS_tgkill, ::getpid(), thread, print_stack_signal()) == 0) {
            wait_for_its_turn(2);
            if (thread_to_print != 0)
                print("(it does not answer: the signal is blocked, or it is stuck in the kernel)\n");
        }
    });
}

void expire(int) {
    print("\nDEADLINE: ");
    print(running_case.data());
    print("\n");
    print_threads();
    const Descendants descendants;
    for (std::size_t i = 0; i < descendants.count; ++i) {
        const Process& process = descendants.list[i];
        print("process ");
        print(process.pid);
        print(" ");
        print(process.name.data());
        print(", child of ");
        print(process.parent);
        print(", state ");
        print({&process.state, 1});
        print("\n");
    }
    // Also those that lead groups of their own, as a pool's workers do.
    for (std::size_t i = 0; i < descendants.count; ++i) ::kill(descendants.list[i].pid, SIGKILL);
    ::kill(0, SIGKILL);
}

int deadline_seconds() {
    const char* const wish = std::getenv("PLAIT_TEST_DEADLINE");
    return wish != nullptr && *wish != '\0' ? std::atoi(wish) : default_seconds;
}

void set_timer(int seconds) {
    itimerval timer{};
    timer.it_value.tv_sec = seconds;
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace

void install() {
    ::setpgid(0, 0);
    // The first backtrace loads a library, which a signal handler must not.
    std::array<void*, 1> frame;
    ::backtrace(frame.data(), 1);

    struct sigaction action{};
    action.sa_flags = SA_RESTART;
    action.sa_handler = expire;
    ::sigaction(SIGALRM, &action, nullptr);
    action.sa_handler = print_stack_of_this_thread;
    ::sigaction(print_stack_signal(), &action, nullptr);
}

void start(const std::string& case_name) {
    running_case.fill('\0');
    std::copy_n(case_name.begin(), (std::min)(case_name.size(), running_case.size() - 1), running_case.begin());
    set_timer(deadline_seconds());
}

void stop() { set_timer(0); }

}  // namespace support::watchdog
