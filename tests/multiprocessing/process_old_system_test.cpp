// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/old_system.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

// Systems that know no watches for processes and the like, and executables that are gone from where they were. The test
// starts itself anew where it is so, to run a hidden case of these by its name.

using namespace std::chrono_literals;
using namespace support;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace {

constexpr auto hidden_case = "processes live and die as elsewhere";

/// Runs the hidden case in a fresh start of `executable`.
int run_hidden_case(const char* executable) { return support::run_hidden_case(executable, hidden_case); }

}  // namespace

TEST_CASE("processes live and die as elsewhere", "[.]") {
    const char* const removed = std::getenv("PLAIT_TEST_REMOVE");
    const char* const moved = std::getenv("PLAIT_TEST_MOVE");
    if (moved != nullptr && std::filesystem::exists(moved))
        std::filesystem::rename(moved, removed);
    else if (removed != nullptr && moved == nullptr)
        std::filesystem::remove(removed);
    const auto start_method = any_start_method();
    Process child(ProcessOptions{.start_method = start_method}, run_exit_with, 3);
    child.start();
    child.join();
    CHECK(child.exitcode() == 3);
    Gate gate;
    Process daemon(ProcessOptions{.daemon = true, .start_method = start_method}, stand_at, gate.path());
    daemon.start();
    REQUIRE(gate.reached());
    CHECK(daemon.is_alive());
    CHECK_FALSE(daemon.join(20ms));
    daemon.kill();
    CHECK(daemon.join(30s));
    CHECK(daemon.exitcode() == -SIGKILL);
    daemon.kill();
}

TEST_CASE("where the system has no watches for processes, processes live and die as elsewhere") {
    CHECK(in_a_child([] {
              if (!forget_system_calls({SYS_pidfd_open, SYS_pidfd_send_signal, SYS_close_range, SYS_clone3})) return 98;
              return run_hidden_case("/proc/self/exe");
          }) == 0);
}

TEST_CASE("a program whose executable was removed goes on to start processes") {
    TemporaryFolder folder;
    const std::string copy = folder.file("program");
    std::filesystem::copy_file("/proc/self/exe", copy);
    CHECK(in_a_child([&] {
              ::setenv("PLAIT_TEST_REMOVE", copy.c_str(), 1);
              return run_hidden_case(copy.c_str());
          }) == 0);
    CHECK_FALSE(std::filesystem::exists(copy));
}

TEST_CASE("a program whose executable was replaced by another starts itself, and not that") {
    TemporaryFolder folder;
    const std::string copy = folder.file("program");
    const std::string other = folder.file("other");
    std::filesystem::copy_file("/proc/self/exe", copy);
    std::filesystem::copy_file("/bin/false", other);
    CHECK(in_a_child([&] {
              ::setenv("PLAIT_TEST_REMOVE", copy.c_str(), 1);
              ::setenv("PLAIT_TEST_MOVE", other.c_str(), 1);
              return run_hidden_case(copy.c_str());
          }) == 0);
    CHECK_FALSE(std::filesystem::exists(other));
}
