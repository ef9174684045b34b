// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process_info.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/disturbance.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"
#include "support/served.hpp"

#include <plait/multiprocessing/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
using plait::UsageError;
using plait::multiprocessing::active_children;
using plait::multiprocessing::current_process;
using plait::multiprocessing::parent_process;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessInfo;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace {

/// What a process tells of itself and its parent.
std::string family() {
    const ProcessInfo self = current_process();
    const auto parent = parent_process();
    std::string text = self.name() + (self.daemon() ? " (daemon)" : "") + (self.is_alive() ? "" : " (dead)");
    if (self.pid() != ::getpid()) text += " (another)";
    if (parent)
        text += " of " + parent->name() + " " + std::to_string(parent->pid()) + (parent->is_alive() ? "" : " (dead)");
    return text;
}
void tell_of_family(const std::string& file) { std::ofstream{file} << family(); }

void tell_of_deep_family(const std::string& file, StartMethod method) {
    Process inner(ProcessOptions{.start_method = method}, tell_of_family, file);
    inner.start();
    inner.join();
    std::ofstream{file, std::ios::app} << ", " << family() << ", children " << active_children().size();
}

}  // namespace

TEST_CASE("the program is the main process, and has no parent that it knows") {
    CHECK(family() == "MainProcess");
    CHECK_THROWS_AS(current_process().join(), UsageError);
    CHECK_THROWS_AS(current_process().terminate(), UsageError);
}

TEST_CASE("a child knows its own name and its parent, whoever made it") {
    TemporaryFolder folder;
    Process child(ProcessOptions{.name = "worker", .daemon = true, .start_method = any_start_method()}, tell_of_family,
                  folder.file("told"));
    child.start();
    child.join();
    CHECK(contents(folder.file("told")) == "worker (daemon) of MainProcess " + std::to_string(::getpid()));
}

TEST_CASE("a child's children are named after it") {
    TemporaryFolder folder;
    const auto start_method = any_start_method();
    Process child(ProcessOptions{.start_method = start_method}, tell_of_deep_family, folder.file("told"), start_method);
    child.start();
    child.join();
    const std::string name = child.name();
    CHECK(contents(folder.file("told")) == name + ":1 of " + name + " " + std::to_string(*child.pid()) + ", " + name +
                                               " of MainProcess " + std::to_string(::getpid()) + ", children 0");
}

TEST_CASE("the active children are those that run, and asking reaps the others") {
    CHECK(active_children().empty());
    Gate gate;
    const auto start_method = any_start_method();
    Process unstarted(do_nothing);
    Process ended(ProcessOptions{.start_method = start_method}, do_nothing);
    Process running(ProcessOptions{.name = "running", .start_method = start_method}, stand_at, gate.path());
    ended.start();
    running.start();
    REQUIRE(gate.reached());
    REQUIRE(within(30s, [] { return active_children().size() == 1; }));
    CHECK(within(30s, [&] { return !process_state(static_cast<int>(*ended.pid())); }));
    const ProcessInfo info = active_children().front();
    CHECK(info.name() == "running");
    CHECK(info.pid() == running.pid());
    CHECK_FALSE(info.daemon());
    CHECK(info.is_alive());
    CHECK_FALSE(info.join(10ms));
    gate.open();
    info.join();
    CHECK_FALSE(info.is_alive());
    CHECK(running.exitcode() == 0);
    CHECK(active_children().empty());
}

TEST_CASE("an active child can be ended by who finds it, and told of after its Process is gone") {
    std::optional<ProcessInfo> info;
    {
        Gate gate;
        Process child(stand_at, gate.path());
        child.start();
        REQUIRE(gate.reached());
        info = active_children().front();
        info->terminate();
        CHECK(info->join(30s));
        CHECK(child.exitcode() == -SIGTERM);
    }
    CHECK_FALSE(info->is_alive());
    CHECK(info->join(0s));
    CHECK(info->pid() > 0);
    info->kill();
    const ProcessInfo copy = *info;
    CHECK(copy.name() == info->name());
}

TEST_CASE("a child can wait for its parent's end") {
    const auto start_method = any_start_method();
    TemporaryFolder folder;
    Gate gate;
    const pid_t program = ::fork();
    if (program == 0) {
        Process child(
            ProcessOptions{.start_method = start_method},
            [](const std::string& path, const std::string& file) {
                const auto parent = parent_process();
                const bool alive = parent->is_alive() && !parent->join(1ms);
                pass_gate(path);
                const bool ended = parent->join(30s) && !parent->is_alive() && !parent_process()->is_alive();
                std::ofstream{file} << alive << ended << std::flush;
            },
            gate.path(), folder.file("told"));
        child.start();
        for (;;) ::pause();
    }
    const bool reached = gate.reached();
    ::kill(program, SIGKILL);
    ::waitpid(program, nullptr, 0);
    gate.open();
    CHECK(reached);
    CHECK(within(30s, [&] { return contents(folder.file("told")) == "11"; }));
}

TEST_CASE("a forked copy of the program has none of its children") {
    Gate gate;
    Process child(stand_at, gate.path());
    child.start();
    REQUIRE(gate.reached());
    CHECK(in_a_child([] { return active_children().empty() ? 0 : 1; }) == 0);
    Process copy = Process::forked([] {
        if (!active_children().empty()) exit_with(3);
    });
    copy.start();
    copy.join();
    CHECK(copy.exitcode() == 0);
    CHECK(active_children().size() == 1);
    gate.open();
}

TEST_CASE("what tells of a child takes no harm from its owner's close, and does nothing to it then") {
    Gate gate;
    Process child(stand_at, gate.path());
    child.start();
    REQUIRE(gate.reached());
    const ProcessInfo info = active_children().front();
    gate.open();
    child.join();
    child.close();
    CHECK_FALSE(info.is_alive());
    CHECK(info.join(0s));
    CHECK_NOTHROW(info.terminate());
    CHECK_NOTHROW(info.kill());
}

TEST_CASE("an exit handler of a child may still ask for the parent, and be told the truth") {
    TemporaryFolder folder;
    Process child(
        ProcessOptions{.start_method = StartMethod::spawn},
        [](const std::string& file) {
            static std::optional<ProcessInfo> kept;
            static std::string told;
            kept = parent_process();
            told = file;
            std::atexit([] { std::ofstream{told} << kept->is_alive() << parent_process()->is_alive(); });
        },
        folder.file("told"));
    child.start();
    child.join();
    CHECK(child.exitcode() == 0);
    CHECK(contents(folder.file("told")) == "11");
}
