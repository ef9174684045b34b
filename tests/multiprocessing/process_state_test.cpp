// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process_state.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"
#include "support/served.hpp"

#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/process_info.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

// What a process is given, and what is left when it cannot be had.

using namespace std::chrono_literals;
using namespace support;
using plait::CodecError;
using plait::UsageError;
using plait::multiprocessing::active_children;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace {

struct StubbornArgument {
    bool refuses_to_go = false;
};

}  // namespace

template <>
struct plait::multiprocessing::Codec<StubbornArgument> {
    static void encode(Encoder& out, const StubbornArgument& value) {
        if (value.refuses_to_go) throw CodecError("it refuses to go");
        out.write(true);
    }
    static StubbornArgument decode(Decoder&) { throw CodecError("it refuses to arrive"); }
};

namespace {

void take_argument(const StubbornArgument&) {}

}  // namespace

TEST_CASE("arguments that cannot be encoded fail start, and leave nothing behind") {
    Process child(take_argument, StubbornArgument{true});
    CHECK_THROWS_AS(child.start(), CodecError);
    CHECK_FALSE(child.pid());
    CHECK(nothing_is_left());
    CHECK_THROWS_AS(child.join(), UsageError);
}

TEST_CASE("arguments that cannot be decoded are an exception of the process") {
    Process child(take_argument, StubbornArgument{});
    child.start();
    child.join();
    CHECK(child.exitcode() == 1);
    CHECK_THROWS_AS(std::rethrow_exception(child.exception()), CodecError);
}

TEST_CASE("a start that fails leaves nothing behind, and can be tried again") {
    const auto start_method = any_start_method();
    Process first(ProcessOptions{.start_method = start_method}, do_nothing);  // a server is there from now on
    first.start();
    first.join();
    first.close();
    Process child(ProcessOptions{.start_method = start_method}, do_nothing);
    const auto open = open_descriptors();
    for (unsigned more = 0; more < 2; ++more) {
        int error = 0;
        {
            DescriptorLimit limit{more};
            try {
                child.start();
            } catch (const std::system_error& failed) {
                limit.lift();
                error = failed.code().value();
            }
        }
        CHECK(error == EMFILE);
        CHECK((open_descriptors() == open));
        CHECK(nothing_is_left());
    }
    child.start();
    child.join();
    CHECK(child.exitcode() == 0);
}

TEST_CASE("a fresh process has the standard streams and its channel, and nothing else that was open here") {
    TemporaryFolder folder;
    constexpr auto list = [](const std::string& file) {
        const auto open = open_descriptors();
        std::ofstream{file} << open.size();
    };
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn);
    const auto count = [&] {
        Process child(ProcessOptions{.start_method = start_method}, list, folder.file("out"));
        child.start();
        child.join();
        return contents(folder.file("out"));
    };
    Gate gate;
    Process other(ProcessOptions{.start_method = start_method}, stand_at, gate.path());  // whose channels are its own
    other.start();
    REQUIRE(gate.reached());
    const std::string before = count();
    std::vector<int> opened;
    for (int i = 0; i < 50; ++i) opened.push_back(::open("/dev/null", i % 2 == 0 ? O_RDONLY : O_RDONLY | O_CLOEXEC));
    CHECK(count() == before);
    for (const int descriptor : opened) ::close(descriptor);
    gate.open();
    // And what freeze_support_test.cpp has this program open before its main.
    const int own = plait::os::spawn_closes_other_handles ? 1 : 0;
    CHECK(before == std::to_string(3 + plait::os::inherited_handles() + own));
}

TEST_CASE("a copy of the program runs none of its exit handlers, and prints nothing twice") {
    TemporaryFolder folder;
    const auto file = folder.file("out");
    // In a program of its own: what it prints, and at its exit, goes to a file.
    const pid_t program = ::fork();
    if (program == 0) {
        static std::string at_exit_file;
        at_exit_file = folder.file("exit");
        std::atexit([] { std::ofstream{at_exit_file, std::ios::app} << "handler "; });
        if (std::freopen(file.c_str(), "w", stdout) == nullptr) ::_exit(1);
        std::printf("before ");
        {
            Process child = Process::forked([] { std::printf("inside "); });
            child.start();
        }
        std::printf("after");
        std::fflush(stdout);
        ::_exit(0);
    }
    ::waitpid(program, nullptr, 0);
    CHECK(contents(file) == "before inside after");
    CHECK(contents(folder.file("exit")).empty());
}

TEST_CASE("a process by spawn runs its own exit handlers, and a server's child, being a fork, none") {
    const auto start_method = GENERATE(StartMethod::spawn, StartMethod::forkserver);
    TemporaryFolder folder;
    constexpr auto target = [](const std::string& file) {
        static std::string at_exit_file;
        at_exit_file = file;
        std::atexit([] { std::ofstream{at_exit_file} << "handler"; });
    };
    Process child(ProcessOptions{.start_method = start_method}, target, folder.file("exit"));
    child.start();
    child.join();
    CHECK(contents(folder.file("exit")) == (start_method == StartMethod::spawn ? "handler" : ""));
}

TEST_CASE("many processes, some ended at once, have each their own end") {
    const auto start_method = any_start_method();
    std::vector<Process> some;
    for (int i = 0; i < 100; ++i) some.emplace_back(ProcessOptions{.start_method = start_method}, do_nothing);
    for (auto& child : some) child.start();
    for (std::size_t i = 0; i < some.size(); i += 2) some[i].kill();
    for (std::size_t i = 0; i < some.size(); ++i) {
        some[i].join();
        CHECK((some[i].exitcode() == 0 || (i % 2 == 0 && some[i].exitcode() == -SIGKILL)));
    }
}

TEST_CASE("processes that are asked to end as soon as they are started do so, before their main or in it") {
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn);
    for (int i = 0; i < 100; ++i) {
        Process child(ProcessOptions{.start_method = start_method}, run_for_ever, 0);
        child.start();
        child.terminate();
        child.join();
        CHECK(child.exitcode() == -SIGTERM);
    }
}

TEST_CASE("threads may start processes side by side, and ask one and the same") {
    std::vector<std::thread> threads;
    std::atomic<int> right{0};
    Gate gate;
    Process shared(stand_at, gate.path());
    shared.start();
    REQUIRE(gate.reached());
    for (int thread = 0; thread < 4; ++thread)
        threads.emplace_back([&, thread] {
            Process child(run_exit_with, thread);
            child.start();
            child.join();
            right += child.exitcode() == thread;
            shared.join();
            right += !shared.is_alive();
        });
    CHECK(within(30s, [&] { return right == 4; }));
    gate.open();
    for (auto& thread : threads) thread.join();
    CHECK(right == 8);
}

TEST_CASE("in a copy of the program its processes say so, whatever its other threads did to them at the fork") {
    if (plait::detail::address_sanitizer) return;
    Gate gate;
    Process shared(stand_at, gate.path());
    shared.start();
    REQUIRE(gate.reached());
    std::atomic<bool> over{false};
    std::thread asks([&] {
        while (!over) static_cast<void>(shared.is_alive());
    });
    int right = 0;
    for (int i = 0; i < 20 && right == i; ++i) {
        Process copy = Process::forked([&] {
            const bool refuses = caught<UsageError>([&] { shared.is_alive(); }) &&
                                 caught<UsageError>([&] { shared.close(); }) &&
                                 caught<UsageError>([&] { shared.kill(); });
            if (!refuses) exit_with(3);
        });
        copy.start();
        right += copy.join(30s) && copy.exitcode() == 0;
        copy.kill();
    }
    over = true;
    asks.join();
    CHECK(right == 20);
    gate.open();
}

TEST_CASE("a stream buffer of the program's may ask for its children while one is started") {
    const auto start_method = any_start_method();
    CHECK(in_a_child([&] {
              struct Asks : std::streambuf {
                  int sync() override { return active_children().size() > 1 ? -1 : 0; }
              };
              Asks asks;
              std::streambuf* const before = std::cout.rdbuf(&asks);
              ::alarm(50);  // it would hang
              {
                  Process child(ProcessOptions{.start_method = start_method}, do_nothing);
                  child.start();
                  child.join();
              }
              plait::multiprocessing::detail::ForkServer::of_this_program().stop();
              std::cout.rdbuf(before);
              return 0;
          }) == 0);
}

TEST_CASE("a target may close all that is open, and its exit code stays what it is") {
    const auto start_method = any_start_method();
    Process closes(ProcessOptions{.start_method = start_method}, [] { plait::os::close_handles_from(3); });
    closes.start();
    closes.join();
    CHECK(closes.exitcode() == 0);
    Process throws(ProcessOptions{.start_method = start_method}, [] {
        plait::os::close_handles_from(3);
        throw std::runtime_error("after that");
    });
    throws.start();
    throws.join();
    CHECK(throws.exitcode() == 1);
}

TEST_CASE("a target's own socket with the number that the channel had gets nothing of ours, and is not closed") {
    Process child(ProcessOptions{.start_method = StartMethod::spawn}, [] {
        plait::os::close_handles_from(3);
        static int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) exit_with(3);
        std::atexit([] {
            for (const int end : ends) {
                char byte = 0;
                if (::recv(end, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN) ::_exit(9);
            }
        });
    });
    child.start();
    child.join();
    CHECK(child.exitcode() == 0);
}

TEST_CASE("a copy of the program that cannot be what it was to be ends with 125 and says why") {
    CHECK(in_a_child([] {
              const auto run = [](bool daemon) {
                  Process child(ProcessOptions{.daemon = daemon, .start_method = StartMethod::fork}, do_nothing);
                  child.start();
                  child.join();
                  if (daemon && child.exception() == nullptr) return 1;
                  return static_cast<int>(child.exitcode().value_or(2));
              };
              // It makes a thread, for which there is no room.
              pthread_attr_t large;
              ::pthread_attr_init(&large);
              ::pthread_attr_setstacksize(&large, std::size_t{1} << 46);
              ::pthread_setattr_default_np(&large);
              return run(false) == 0 ? run(true) : 3;
          }) == 125);
}

TEST_CASE("a process may be closed while another thread waits for it") {
    for (int i = 0; i < 20; ++i) {
        Process child(ProcessOptions{.start_method = StartMethod::spawn}, do_nothing);
        child.start();
        const auto found = active_children();
        bool ended = true;
        std::thread waits([&] {
            for (const auto& each : found) ended = each.join(30s) && ended;
        });
        CHECK(within(30s, [&] { return !child.is_alive(); }));
        child.close();
        waits.join();
        CHECK(ended);
    }
}
