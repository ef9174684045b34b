// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"
#include "support/served.hpp"

#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/os/handle.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::UsageError;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace process_test {

/// One end of a pipe, which travels to another process.
struct PipeEnd {
    plait::os::Handle handle;
};

}  // namespace process_test

using process_test::PipeEnd;

namespace {

/// Something whose copies are counted.
struct CountedArgument {
    std::shared_ptr<int> counter;
};
bool refuses_to_go = false;

}  // namespace

template <>
struct plait::multiprocessing::Codec<PipeEnd> {
    static constexpr bool carries_handles = true;
    static void encode(Encoder& out, const PipeEnd& end) { detail::put_handle(out, end.handle.get()); }
    static PipeEnd decode(Decoder& in) { return {detail::get_handle(in)}; }
};
template <>
struct plait::multiprocessing::Codec<CountedArgument> {
    static void encode(Encoder& out, const CountedArgument&) {
        if (refuses_to_go) throw CodecError("it refuses to go");
        out.write(true);
    }
    static CountedArgument decode(Decoder& in) {
        static_cast<void>(in.read<bool>());
        return {};
    }
};

namespace {

void take_counted(const CountedArgument&) {}
void write_to(PipeEnd end, const std::string& gate) {
    const bool written = ::write(end.handle.get(), "x", 1) == 1;
    end.handle.reset();
    pass_gate(gate);
    if (!written) exit_with(9);
}

void throw_overflow(int x) { throw std::overflow_error("too much: " + std::to_string(x)); }
void write_file(const std::string& file, const std::string& text) { std::ofstream{file} << text; }

bool is_readable(int handle) {
    pollfd item{handle, POLLIN, 0};
    return ::poll(&item, 1, 0) == 1;
}

}  // namespace

TEST_CASE("a process runs its target elsewhere, and tells of its state before, while and after") {
    Gate gate;
    Process child(ProcessOptions{.name = "worker", .start_method = any_start_method()}, stand_at, gate.path());
    CHECK_FALSE(child.is_alive());
    CHECK_FALSE(child.pid());
    CHECK_FALSE(child.exitcode());
    CHECK(child.exit_status().text == "not started");
    CHECK(child.name() == "worker");
    CHECK_FALSE(child.daemon());
    child.start();
    REQUIRE(gate.reached());
    CHECK(child.is_alive());
    CHECK(child.pid().value() != ::getpid());
    CHECK_FALSE(child.exitcode());
    CHECK_FALSE(child.exit_status().known);
    CHECK_FALSE(child.join(0s));
    CHECK_FALSE(child.join(-1s));
    CHECK_FALSE(child.join(10ms));
    CHECK_FALSE(is_readable(child.sentinel()));
    gate.open();
    child.join();
    CHECK(child.join(0s));
    CHECK_FALSE(child.is_alive());
    CHECK(child.exitcode() == 0);
    CHECK(child.exit_status().text == "exited with status 0");
    CHECK(child.exception() == nullptr);
    CHECK(is_readable(child.sentinel()));
}

TEST_CASE("arguments are converted and taken when the process is made") {
    TemporaryFolder folder;
    std::string text = "first";
    Process child(ProcessOptions{.start_method = any_start_method()}, write_file, folder.file("out").c_str(), text);
    text = "second";
    child.start();
    child.join();
    CHECK(contents(folder.file("out")) == "first");
}

TEST_CASE("what the target throws comes home, and the exit code is 1") {
    Process child(ProcessOptions{.name = "thrower", .start_method = any_start_method()}, throw_overflow, 7);
    child.start();
    child.join();
    CHECK(child.exitcode() == 1);
    REQUIRE(child.exception() != nullptr);
    CHECK_THAT(caught<std::overflow_error>([&] { std::rethrow_exception(child.exception()); }).value().what(),
               ContainsSubstring("too much: 7"));
}

TEST_CASE("the exit code tells how a process ended") {
    const auto start_method = any_start_method();
    const auto code_of = [&](auto target, int argument) {
        Process child(ProcessOptions{.start_method = start_method}, target, argument);
        child.start();
        child.join();
        return child.exitcode().value();
    };
    CHECK(code_of(run_exit_with, 3) == 3);
    CHECK(code_of(run_exit_with, 255) == 255);
    CHECK(code_of(die_by, SIGKILL) == -SIGKILL);
    CHECK(code_of(die_by, SIGTERM) == -SIGTERM);
    CHECK(code_of(write_to_forbidden_memory, 0) == -SIGSEGV);
    CHECK(code_of(call_abort, 0) == -SIGABRT);
    CHECK(code_of([](int code) { std::quick_exit(code); }, 4) == 4);
    Process killed(ProcessOptions{.start_method = start_method}, die_by, SIGKILL);
    killed.start();
    killed.join();
    CHECK(killed.exit_status().signal == SIGKILL);
    CHECK_THAT(killed.exit_status().text, ContainsSubstring("SIGKILL"));
}

TEST_CASE("terminate asks a process to end and kill ends it; after its end they do nothing") {
    Gate gate;
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn);
    Process first(ProcessOptions{.start_method = start_method}, stand_at, gate.path());
    first.start();
    REQUIRE(gate.reached());
    first.terminate();
    first.join();
    CHECK(first.exitcode() == -SIGTERM);
    first.terminate();
    first.kill();

    Gate other;
    const auto ignore_and_stand = [](const std::string& path) {
        ::signal(SIGTERM, SIG_IGN);
        pass_gate(path);
    };
    Process second(ProcessOptions{.start_method = start_method}, ignore_and_stand, other.path());
    second.start();
    REQUIRE(other.reached());
    second.terminate();
    CHECK_FALSE(second.join(20ms));
    second.kill();
    CHECK(second.join(30s));
    CHECK(second.exitcode() == -SIGKILL);
}

TEST_CASE("a process that is used out of order says what to do instead") {
    Process child(do_nothing);
    CHECK_THROWS_AS(child.join(), UsageError);
    CHECK_THROWS_AS(child.join(1s), UsageError);
    CHECK_THROWS_AS(child.terminate(), UsageError);
    CHECK_THROWS_AS(child.kill(), UsageError);
    CHECK_THROWS_AS(child.sentinel(), UsageError);
    child.start();
    CHECK_THROWS_AS(child.start(), UsageError);
    child.join();
    CHECK_THROWS_AS(child.start(), UsageError);
    Process moved = std::move(child);
    CHECK(moved.exitcode() == 0);
    CHECK_THROWS_AS(child.exitcode(), UsageError);
}

TEST_CASE("a process can be closed once it has ended, and then says nothing more") {
    Gate gate;
    Process child(stand_at, gate.path());
    child.start();
    REQUIRE(gate.reached());
    CHECK_THROWS_AS(child.close(), UsageError);
    gate.open();
    child.join();
    child.close();
    child.close();
    CHECK_THROWS_AS(child.is_alive(), UsageError);
    CHECK_THROWS_AS(child.exitcode(), UsageError);
    CHECK_THROWS_AS(child.pid(), UsageError);
    CHECK_THROWS_AS(child.join(), UsageError);
    CHECK(child.name().starts_with("Process-"));
}

TEST_CASE("a stopped process is alive") {
    Gate gate;
    Process child(stand_at, gate.path());
    child.start();
    REQUIRE(gate.reached());
    ::kill(static_cast<pid_t>(child.pid().value()), SIGSTOP);
    CHECK_FALSE(child.join(20ms));
    CHECK(child.is_alive());
    ::kill(static_cast<pid_t>(child.pid().value()), SIGCONT);
    CHECK(child.is_alive());
    gate.open();
    CHECK(child.join(30s));
}

TEST_CASE("the destructor joins a process, and ends a daemon") {
    TemporaryFolder folder;
    {
        Process child(write_file, folder.file("out"), "done");
        child.start();
    }
    CHECK(contents(folder.file("out")) == "done");
    Gate gate;
    {
        Process daemon(ProcessOptions{.daemon = true}, stand_at, gate.path());
        CHECK(daemon.daemon());
        daemon.start();
        REQUIRE(gate.reached());
    }
    CHECK(nothing_is_left());
}

TEST_CASE("an exception that unwinds past a process ends it") {
    Gate gate;
    const auto run = [&] {
        Process child(stand_at, gate.path());
        child.start();
        if (gate.reached()) throw std::runtime_error("past it");
    };
    CHECK_THROWS_AS(run(), std::runtime_error);
    CHECK(nothing_is_left());
}

TEST_CASE("processes can be swapped and kept in a vector") {
    std::vector<Process> children_here;
    for (int code = 0; code < 20; ++code) children_here.emplace_back(run_exit_with, code);
    for (auto& child : children_here) child.start();
    std::swap(children_here[3], children_here[4]);
    for (auto& child : children_here) child.join();
    CHECK(children_here[3].exitcode() == 4);
    CHECK(children_here[4].exitcode() == 3);
    CHECK(children_here[19].exitcode() == 19);
}

TEST_CASE("a process outlives the thread that started it") {
    Gate gate;
    Process child(ProcessOptions{.daemon = true, .start_method = any_start_method()}, stand_at, gate.path());
    std::thread([&] { child.start(); }).join();
    REQUIRE(gate.reached());
    CHECK_FALSE(child.join(20ms));
    gate.open();
    CHECK(child.join(30s));
    CHECK(child.exit_status().text == "exited with status 0");
}

TEST_CASE("a forked process is a copy of the program, captures and all") {
    TemporaryFolder folder;
    auto moved_in = std::make_unique<std::string>("captured");
    Process child = Process::forked([file = folder.file("out"), text = std::move(moved_in)](
                                        const std::string& more) { write_file(file, *text + more); },
                                    " argument");
    child.start();
    child.join();
    CHECK(child.exitcode() == 0);
    CHECK(contents(folder.file("out")) == "captured argument");
    Process named = Process::forked(ProcessOptions{.name = "copy"}, [] {});
    CHECK(named.name() == "copy");
}

TEST_CASE("once a process has started, what it was given is no more held here; a start that fails keeps it") {
    const auto start_method = any_start_method();
    const auto counter = std::make_shared<int>();
    Process child(ProcessOptions{.start_method = start_method}, take_counted, CountedArgument{counter});
    CHECK(counter.use_count() == 2);
    if (start_method != StartMethod::fork) {
        refuses_to_go = true;
        CHECK_THROWS_AS(child.start(), plait::CodecError);
        refuses_to_go = false;
        CHECK(counter.use_count() == 2);
    }
    child.start();
    CHECK(counter.use_count() == 1);
    child.join();
    CHECK(child.exitcode() == 0);
}

TEST_CASE("a handle given to a process is closed here at its start, and there by who has it") {
    const auto start_method = any_start_method();
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const plait::os::Handle reader{ends[0]};
    Gate gate;
    Process child(ProcessOptions{.start_method = start_method}, write_to, PipeEnd{plait::os::Handle{ends[1]}},
                  gate.path());
    child.start();
    char byte = 0;
    CHECK(::read(reader.get(), &byte, 1) == 1);
    // The child has closed what it was given, and lives.
    REQUIRE(gate.reached());
    CHECK(::read(reader.get(), &byte, 1) == 0);
    gate.open();
    child.join();
    CHECK(child.exitcode() == 0);
}

TEST_CASE("every kind of process has the environment that it was given over the program's own") {
    TemporaryFolder folder;
    constexpr auto tell = [](const std::string& file) {
        const char* const value = std::getenv("PLAIT_TEST_GIVEN");
        const char* const path = std::getenv("PATH");
        write_file(file, std::string(value != nullptr ? value : "none") + (path != nullptr ? " and the rest" : ""));
    };
    Process child(ProcessOptions{.start_method = any_start_method(), .environment = {{"PLAIT_TEST_GIVEN", "yes=so"}}},
                  tell, folder.file("out"));
    child.start();
    child.join();
    CHECK(contents(folder.file("out")) == "yes=so and the rest");
    CHECK(std::getenv("PLAIT_TEST_GIVEN") == nullptr);
    for (const char* const name : {"", "a=b"})
        CHECK_THROWS_AS(Process(ProcessOptions{.environment = {{name, "value"}}}, do_nothing), std::invalid_argument);
    CHECK_THROWS_AS(Process(ProcessOptions{.environment = {{"name", std::string("va\0lue", 6)}}}, do_nothing),
                    std::invalid_argument);
}

TEST_CASE("an environment too large for a fresh start is an error, and none for a server") {
    const std::string large(std::size_t{3} << 20, 'x');
    Process spawned(ProcessOptions{.start_method = StartMethod::spawn, .environment = {{"PLAIT_TEST_LARGE", large}}},
                    do_nothing);
    CHECK(caught<std::system_error>([&] { spawned.start(); }).value().code().value() == E2BIG);
    Process served(
        ProcessOptions{.start_method = StartMethod::forkserver, .environment = {{"PLAIT_TEST_LARGE", large}}}, [] {
            if (std::string{std::getenv("PLAIT_TEST_LARGE")}.size() != std::size_t{3} << 20) exit_with(9);
        });
    served.start();
    served.join();
    CHECK(served.exitcode() == 0);
}

TEST_CASE("the text of a crash names the signal and what was running") {
    Process child(ProcessOptions{.start_method = any_start_method()}, plait::multiprocessing::function<&die_by>,
                  SIGKILL);
    child.start();
    child.join();
    CHECK_THAT(child.exit_status().text, ContainsSubstring("SIGKILL") && ContainsSubstring("die_by"));
}

TEST_CASE("in a copy of the program the channels of its other processes are closed, and their objects say why") {
    Gate gate;
    Process other(ProcessOptions{.start_method = any_start_method()}, stand_at, gate.path());
    other.start();
    REQUIRE(gate.reached());
    const int sentinel = other.sentinel();
    Process copy = Process::forked([&] {
        if (::fcntl(sentinel, F_GETFD) >= 0) exit_with(3);
        if (!caught<UsageError>([&] { other.join(); })) exit_with(4);
    });
    copy.start();
    copy.join();
    CHECK(copy.exitcode() == 0);
    CHECK(other.is_alive());
    gate.open();
    other.join();
    CHECK(other.exitcode() == 0);
}
