// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process_state.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"
#include "support/served.hpp"

#include <plait/multiprocessing/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <iterator>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

// What a process is given, and what is left when it cannot be had.

using namespace std::chrono_literals;
using namespace support;
using plait::CodecError;
using plait::UsageError;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace {

struct Stubborn {
    bool refuses_to_go = false;
};

}  // namespace

template <>
struct plait::multiprocessing::Codec<Stubborn> {
    static void encode(Encoder& out, const Stubborn& value) {
        if (value.refuses_to_go) throw CodecError("it refuses to go");
        out.write(true);
    }
    static Stubborn decode(Decoder&) { throw CodecError("it refuses to arrive"); }
};

namespace {

void do_nothing() {}
void run_exit_with(int code) { exit_with(code); }
void stand_at(const std::string& gate) { pass_gate(gate); }
void take(const Stubborn&) {}

StartMethod any_start_method() { return GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork); }

std::string contents(const std::string& file) {
    std::ifstream in{file};
    return {std::istreambuf_iterator<char>{in}, {}};
}

}  // namespace

TEST_CASE("arguments that cannot be encoded fail start, and leave nothing behind") {
    Process child(take, Stubborn{true});
    CHECK_THROWS_AS(child.start(), CodecError);
    CHECK_FALSE(child.pid());
    CHECK(nothing_is_left());
    CHECK_THROWS_AS(child.join(), UsageError);
}

TEST_CASE("arguments that cannot be decoded are an exception of the process") {
    Process child(take, Stubborn{});
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
    CHECK(before == std::to_string(3 + plait::os::inherited_handles()));
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
