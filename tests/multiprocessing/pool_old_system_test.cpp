// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include "support/catch.hpp"
#include "support/disturbance.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/old_system.hpp"
#include "support/pools.hpp"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

// Pools on systems that know less than this one, or allow less, and of programs whose executable is gone. The test starts
// itself anew where it is so, to run a hidden case of these by its name.

using namespace std::chrono_literals;
using namespace support;
using plait::ProcessDied;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::StartMethod;

namespace {

constexpr auto hidden_case = "pools live and die as elsewhere";

}  // namespace

TEST_CASE("pools live and die as elsewhere", "[.]") {
    const char* const removed = std::getenv("PLAIT_TEST_REMOVE");
    if (removed != nullptr) std::filesystem::remove(removed);
    const Shape shape = any_shape();
    CAPTURE(shape);
    constexpr auto echo = [](const std::string& text) { return text; };
    Pool pool(shape.with({.max_tasks_per_child = 20, .termination_grace = 100ms}));
    CHECK(pool.map(square, numbers_up_to(100), 3).size() == 100);
    const std::string large(4 << 20, 'x');
    CHECK((pool.apply(echo, large) == large));
    CHECK(caught<ProcessDied>([&] { pool.apply_async(exit_with, 3).get(30s); }).value().exitcode() == 3);
    for (int i = 0; i < 5; ++i) CHECK(end_of(pool.apply_async(die_by, SIGKILL)) == "ProcessDied");
    Gate gate;
    auto running = pool.apply_async(pass_gate, gate.path());
    REQUIRE(gate.reached());
    CHECK(running.cancel());
    const auto pids = pids_of(pool);
    for (const int pid : pids) ::kill(pid, SIGKILL);
    CHECK(pool.apply_async(square, 3).get(30s) == 9);
    pool.close();
    CHECK(pool.join(30s));
    CHECK(are_gone(pids));
}

TEST_CASE("where the system knows none of the newer calls, pools live and die as elsewhere") {
    CHECK(in_a_child([] {
              if (!forget_system_calls({SYS_pidfd_open, SYS_pidfd_send_signal, SYS_close_range, SYS_clone3,
                                        SYS_membarrier, SYS_rseq, SYS_statx}))
                  return 98;
              return run_hidden_case("/proc/self/exe", hidden_case);
          }) == 0);
}

TEST_CASE("where the system forbids what a pool can do without, pools live and die as elsewhere") {
    if constexpr (plait::detail::address_sanitizer) return;  // whose search for leaks cannot do without ptrace
    CHECK(in_a_child([] {
              if (!forget_system_calls({SYS_setpriority, SYS_sched_setaffinity, SYS_sched_setscheduler, SYS_personality,
                                        SYS_ptrace, SYS_membarrier, SYS_process_vm_readv},
                                       EPERM))
                  return 98;
              return run_hidden_case("/proc/self/exe", hidden_case);
          }) == 0);
}

TEST_CASE("the pools of a program whose executable was removed live and die as elsewhere") {
    TemporaryFolder folder;
    const std::string copy = folder.file("program");
    std::filesystem::copy_file("/proc/self/exe", copy);
    CHECK(in_a_child([&] {
              ::setenv("PLAIT_TEST_REMOVE", copy.c_str(), 1);
              return run_hidden_case(copy.c_str(), hidden_case);
          }) == 0);
    CHECK_FALSE(std::filesystem::exists(copy));
}

TEST_CASE("where there is no /proc and no /dev/shm a pool works, or says why it cannot") {
    const auto start_method = any_start_method();
    // 97: the system lets us hide nothing.
    const int code = in_a_child([&] {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 97;
        for (const char* const folder : {"/proc", "/dev/shm"})
            if (::mount("none", folder, "tmpfs", MS_RDONLY, nullptr) != 0) return 97;
        try {
            Pool pool(PoolOptions{.processes = 2, .start_method = start_method});
            if (pool.map(square, numbers_up_to(4), 1).back() != 9) return 1;
            if (end_of(pool.apply_async(die_by, SIGKILL)) != "ProcessDied") return 2;
            return pool.apply_async(square, 3).get(30s) == 9 ? 0 : 3;
        } catch (const std::exception& error) {
            return std::string_view{error.what()}.empty() ? 4 : 0;
        }
    });
    CHECK((code == 0 || code == 97));
}
