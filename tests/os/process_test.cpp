// SPDX-License-Identifier: MIT
#include <plait/os/process.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;

namespace os = plait::os;

namespace {

/// The wait status of a copy of this program that runs `body` and exits with what that returns.
template <class Body>
int status_of(Body body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
}

bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a process knows its number and its parent's") {
    CHECK(os::process_id() == ::getpid());
    CHECK(os::parent_process_id() == ::getppid());
}

TEST_CASE("exit_immediately runs no exit handler") {
    CHECK(WEXITSTATUS(status_of([] {
              std::atexit([] { ::_exit(9); });
              os::exit_immediately(5);
              return 1;
          })) == 5);
}

TEST_CASE("missing standard streams are opened on the null device, and others left alone") {
    CHECK(status_of([] {
              const bool second = is_open(2);
              ::close(0);
              ::close(1);
              os::open_missing_standard_streams();
              char byte = 0;
              const bool works = ::read(0, &byte, 1) == 0 && ::write(1, "x", 1) == 1 && is_open(2) == second;
              return works ? 0 : 1;
          }) == 0);
}

TEST_CASE("read_nothing_from_standard_input leaves one that is at its end, closed before or not") {
    for (const bool was_closed : {false, true})
        CHECK(status_of([&] {
                  if (was_closed) ::close(0);
                  os::read_nothing_from_standard_input();
                  char byte = 0;
                  return ::read(0, &byte, 1) == 0 && (::fcntl(0, F_GETFD) & FD_CLOEXEC) == 0 ? 0 : 1;
              }) == 0);
}

TEST_CASE("close_handles_from closes all from a number on, though the limit be below them") {
    for (const bool one_by_one : {false, true})
        CHECK(status_of([&] {
                  for (int i = 0; i < 40; ++i)
                      if (::open("/dev/null", O_RDONLY) < 0) return 2;
                  const rlimit low{20, 20};
                  if (::setrlimit(RLIMIT_NOFILE, &low) != 0) return 3;
                  one_by_one ? os::close_listed_handles_from(5) : os::close_handles_from(5);
                  for (int descriptor = 5; descriptor < 300; ++descriptor)
                      if (is_open(descriptor)) return 1;
                  return is_open(4) ? 0 : 1;
              }) == 0);
}

TEST_CASE("close_handles_from is quick where the limit is high") {
    CHECK(status_of([] {
              rlimit limit{};
              ::getrlimit(RLIMIT_NOFILE, &limit);
              limit.rlim_cur = limit.rlim_max;
              ::setrlimit(RLIMIT_NOFILE, &limit);
              const auto begin = std::chrono::steady_clock::now();
              os::close_listed_handles_from(5);
              return std::chrono::steady_clock::now() - begin < 10s ? 0 : 1;
          }) == 0);
}

TEST_CASE("a process may lead a group of its own") {
    CHECK(status_of([] {
              os::lead_process_group();
              return ::getpgrp() == ::getpid() ? 0 : 1;
          }) == 0);
}

TEST_CASE("an interrupt that is taken no notice of does nothing, and is as before in what is executed") {
    CHECK(status_of([] {
              os::take_no_notice_of_interrupt();
              ::raise(SIGINT);
              // The shell kills itself, unless it ignores the signal.
              return WTERMSIG(std::system("kill -INT $$")) == SIGINT ? 0 : 1;
          }) == 0);
}

TEST_CASE("a process that ends when asked has no handler left") {
    const int status = status_of([] {
        ::signal(SIGTERM, SIG_IGN);
        os::end_when_asked();
        ::raise(SIGTERM);
        return 0;
    });
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM));
}

TEST_CASE("signals are blocked for a scope") {
    const auto is_blocked = [](int number) {
        sigset_t mask;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        return ::sigismember(&mask, number) == 1;
    };
    CHECK_FALSE(is_blocked(SIGUSR1));
    {
        const os::BlockSignals blocked;
        CHECK(is_blocked(SIGUSR1));
        CHECK(is_blocked(SIGTERM));
    }
    CHECK_FALSE(is_blocked(SIGUSR1));
}

TEST_CASE("a signal is described by its name and in words") {
    CHECK_THAT(os::signal_description(SIGSEGV), ContainsSubstring("SIGSEGV (") && ContainsSubstring("egmentation"));
    CHECK_THAT(os::signal_description(SIGKILL), ContainsSubstring("SIGKILL"));
    CHECK_THAT(os::signal_description(SIGWINCH), ContainsSubstring("signal " + std::to_string(SIGWINCH)));
    CHECK_THAT(os::signal_description(12345), ContainsSubstring("12345"));
}

TEST_CASE("this program has no raised privileges") { CHECK_FALSE(os::has_raised_privileges()); }

TEST_CASE("a child that dies with its parent does, and knows when it is too late") {
    CHECK(status_of([] { return os::die_with_parent(1) ? 1 : 0; }) == 0);
    if (!os::children_die_with_parent) return;
    Gate gate;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t parent = ::fork();
    if (parent == 0) {
        const pid_t self = ::getpid();
        const pid_t child = ::fork();
        if (child == 0) {
            if (os::die_with_parent(self)) pass_gate(gate.path());
            ::_exit(0);
        }
        if (::write(ends[1], &child, sizeof child) < 0) ::_exit(1);
        for (;;) ::pause();
    }
    pid_t child = 0;
    const bool told = ::read(ends[0], &child, sizeof child) == static_cast<ssize_t>(sizeof child);
    ::close(ends[0]);
    ::close(ends[1]);
    const bool stands = gate.reached();
    ::kill(parent, SIGKILL);
    ::waitpid(parent, nullptr, 0);
    REQUIRE((told && stands));
    CHECK(within(30s, [&] { return !is_alive(child); }));
}

TEST_CASE("a process that minds its own children has their status") {
    CHECK(status_of([] {
              ::signal(SIGCHLD, SIG_IGN);
              os::mind_own_children();
              return WEXITSTATUS(std::system("exit 4"));
          }) == 4 << 8);
}

TEST_CASE("a terminal's signals are ignored until they are given back what they did before") {
    CHECK(WTERMSIG(status_of([] {
              ::signal(SIGHUP, SIG_IGN);
              ::signal(SIGINT, SIG_DFL);
              const os::TerminalSignals before = os::ignore_terminal_signals();
              for (const int number : {SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU}) ::raise(number);
              before.restore();
              ::raise(SIGHUP);
              ::raise(SIGINT);
              return 0;
          })) == SIGINT);
}

TEST_CASE("a process may have as many handles as its hard limit lets it") {
    CHECK(status_of([] {
              const rlimit low{20, 100};
              rlimit limit{};
              if (::setrlimit(RLIMIT_NOFILE, &low) != 0) return 1;
              os::allow_many_handles();
              ::getrlimit(RLIMIT_NOFILE, &limit);
              return limit.rlim_cur == 100 && limit.rlim_max == 100 ? 0 : 2;
          }) == 0);
}

TEST_CASE("a process leads a group of its own, in the root directory") {
    CHECK(status_of([] {
              os::lead_own_process_group();
              os::go_to_root_directory();
              char here[8] = {};
              return ::getpgrp() == ::getpid() && ::getcwd(here, sizeof here) != nullptr && here[1] == '\0' ? 0 : 1;
          }) == 0);
}

TEST_CASE("a process that is there exists, and one that was reaped does not") {
    CHECK(os::process_exists(::getpid()));
    const pid_t child = ::fork();
    if (child == 0)
        for (;;) ::pause();
    CHECK(os::process_exists(child));
    os::end_child(child);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WTERMSIG(status) == SIGKILL);
    CHECK_FALSE(os::process_exists(child));
}

TEST_CASE("a watched process is signalled and reaped by its watch, once") {
    if (!os::can_watch_processes()) {
        CHECK_FALSE(os::watch_process(::getpid()));
        return;
    }
    const pid_t child = ::fork();
    if (child == 0)
        for (;;) ::pause();
    const os::Handle watch = os::watch_process(child);
    CHECK(os::signal_watched(watch.get(), SIGKILL));
    CHECK(within(30s, [&] { return is_zombie(child); }));
    const os::ExitStatus status = os::reap_watched(watch.get()).value();
    CHECK(status.known);
    CHECK(status.code == -SIGKILL);
    CHECK_FALSE(os::signal_watched(watch.get(), SIGKILL));
    const os::ExitStatus again = os::exit_status_of_watched(watch.get());  // not every system keeps it
    CHECK((!again.known || again.code == -SIGKILL));
}

TEST_CASE("a process has the memory resident that it touched, and one that is gone has none") {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    constexpr std::size_t much = std::size_t{64} << 20;
    const pid_t child = ::fork();
    if (child == 0) {
        void* const memory = ::mmap(nullptr, 16 * much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        std::memset(memory, 1, much);
        if (::write(ends[1], "x", 1) != 1) ::_exit(1);
        for (;;) ::pause();
    }
    char byte = 0;
    const bool touched = ::read(ends[0], &byte, 1) == 1;
    ::close(ends[0]);
    ::close(ends[1]);
    const auto memory = os::resident_memory(child);
    const auto own = os::resident_memory(os::process_id());
    ::kill(child, SIGKILL);
    const bool zombie = within(30s, [&] { return is_zombie(child); });
    const auto memory_of_zombie = os::resident_memory(child);
    ::waitpid(child, nullptr, 0);
    REQUIRE((touched && zombie));
    CHECK_FALSE(os::resident_memory(child));
    if (!own) return;  // not every system tells
    CHECK(*own > 0);
    REQUIRE(memory);
    CHECK(*memory >= much);
    CHECK(*memory < 8 * much);
    CHECK(memory_of_zombie.value_or(0) == 0);
}

TEST_CASE("a process that a signal has stopped is stopped until it goes on") {
    CHECK_FALSE(os::is_stopped(::getpid()));
    const pid_t child = ::fork();
    if (child == 0)
        for (;;) ::pause();
    CHECK_FALSE(os::is_stopped(child));
    ::kill(child, SIGSTOP);
    const bool stopped = within(30s, [&] { return process_state(child)->state == 'T'; });
    const bool known = os::is_stopped(child);
    ::kill(child, SIGCONT);
    const bool goes_on = within(30s, [&] { return !os::is_stopped(child); });
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    REQUIRE(stopped);
    CHECK(known == os::resident_memory(::getpid()).has_value());  // not every system tells
    CHECK(goes_on);
    CHECK_FALSE(os::is_stopped(child));
}
