// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/isolated.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/forked_child.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/no_threads.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"

#include <plait/multiprocessing/connection.hpp>
#include <plait/multiprocessing/pipe.hpp>
#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process_info.hpp>
#include <plait/multiprocessing/queue.hpp>
#include <plait/multiprocessing/register_exception.hpp>
#include <plait/multiprocessing/value.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
using Catch::Matchers::ContainsSubstring;
using plait::ProcessDied;
using plait::RemoteError;
using plait::TaskTimeoutError;
using plait::UsageError;
using plait::multiprocessing::function;
using plait::multiprocessing::isolated;
using plait::multiprocessing::IsolatedOptions;
using plait::multiprocessing::StartMethod;

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// Options with each start method in turn.
IsolatedOptions any_way() {
    return {.start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork)};
}
IsolatedOptions any_way(IsolatedOptions options) {
    options.start_method = any_way().start_method;
    return options;
}

/// Of what a call died.
template <class... Call>
ProcessDied death_of(Call&&... call) {
    const auto death = caught<ProcessDied>([&] { isolated(std::forward<Call>(call)...); });
    REQUIRE(death);
    return *death;
}

int squared(int x) { return x * x; }
std::string both(const std::string& left, const std::string& right) { return left + right; }
const int& own_constant() {
    static const int constant = 7;
    return constant;
}
int throw_out_of_range(int x) { throw std::out_of_range("no " + std::to_string(x)); }
int throw_number(int x) { throw x; }

struct Bored : std::exception {
    const char* what() const noexcept override { return "bored"; }
};
int be_bored(int) { throw Bored{}; }

/// Something that its own decoding refuses.
struct Unwelcome {};

}  // namespace

template <>
struct plait::multiprocessing::Codec<Unwelcome> {
    static void encode(Encoder& out, const Unwelcome&) { out.write(1); }
    static Unwelcome decode(Decoder&) { throw CodecError("it is not welcome"); }
};

namespace {

void take_unwelcome(const Unwelcome&) {}
Unwelcome give_unwelcome() { return {}; }

std::vector<char> many(std::size_t count) { return std::vector<char>(count, 'm'); }
std::size_t count(const std::vector<char>& bytes) { return bytes.size(); }

std::vector<char> return_in_both(std::size_t count) {
    ::fork();
    return many(count);
}
int leave_a_process(const std::string& file) {
    const pid_t left = ::fork();
    if (left == 0) wait_for_ever();
    std::ofstream{file} << left;
    return 1;
}
int leave_a_process_and_die(const std::string& file) {
    leave_a_process(file);
    return die_by(SIGABRT);
}
int leave_a_process_and_hang(const std::string& file) {
    leave_a_process(file);
    return run_for_ever(0);
}

int leave_a_thread(int x) {
    std::thread{[] { wait_for_ever(); }}.detach();
    return x;
}
/// Whoever ends by std::exit waits for ever.
struct Clinging {
    ~Clinging() { wait_for_ever(); }
};
int cling(int x) {
    static const Clinging clinging;
    return x;
}
int print_without_newline(const std::string& file) {
    if (std::freopen(file.c_str(), "w", stdout) == nullptr) return 0;
    std::cout << "no ";
    std::fputs("newline", stdout);
    return 1;
}
int close_everything(int x) {
    for (int descriptor = 0; descriptor < 1000; ++descriptor) ::close(descriptor);
    return x;
}
int own_channel() { return plait::multiprocessing::detail::this_process().control; }
int write_to_channel(int x) {
    static_cast<void>(::write(own_channel(), "nonsense, and more nonsense", 27));
    return x;
}
int write_to_channel_and_hang(int x) {
    write_to_channel(x);
    return run_for_ever(x);
}
int shut_channel_and_hang(int x) {
    ::shutdown(own_channel(), SHUT_RDWR);
    return run_for_ever(x);
}
std::vector<char> die_while_answering(std::size_t size) {
    std::thread{[] {
        int waiting = 0;
        while (waiting == 0) ::ioctl(own_channel(), TIOCOUTQ, &waiting);
        ::kill(::getpid(), SIGKILL);
    }}.detach();
    return many(size);
}
int stop(int x) {
    ::raise(SIGSTOP);
    return x;
}
int stop_for_a_moment(int x) {
    const pid_t self = ::getpid();
    if (::fork() == 0) {
        while (process_state(self)->state != 'T') {
        }
        ::kill(self, SIGCONT);
        ::_exit(0);
    }
    ::raise(SIGSTOP);
    return x;
}
int run_out_of_memory(int x) {
    const rlimit little{512 * mebibyte, 512 * mebibyte};
    ::setrlimit(RLIMIT_AS, &little);
    std::vector<std::unique_ptr<char[]>> all;
    for (;;) all.push_back(std::make_unique<char[]>(16 * mebibyte));
    return x;
}
int use_memory(std::size_t size) {
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(memory, 1, size);
    return run_for_ever(0);
}
int read_standard_input(int) { return std::getchar(); }

int isolated_square(int x) { return isolated(squared, x); }
int isolated_death(int x) {
    try {
        isolated(exit_with, x);
    } catch (const ProcessDied& death) {
        return static_cast<int>(death.exitcode());
    }
    return -1;
}
int put_and_add(plait::multiprocessing::Queue<int> queue, plait::multiprocessing::Value<int> value, int x) {
    queue.put(x);
    *value += x;
    return x;
}
std::string talk(plait::multiprocessing::Connection connection) {
    connection.send(1);
    return connection.recv<std::string>();
}

pid_t number_in(const std::string& file) {
    int number = 0;
    std::ifstream{file} >> number;
    return number;
}
std::string content_of(const std::string& file) {
    std::ifstream in{file};
    return {std::istreambuf_iterator<char>{in}, {}};
}

}  // namespace

TEST_CASE("an isolated call gives its value, whatever its type") {
    const IsolatedOptions options = any_way();
    CHECK(isolated(options, squared, 7) == 49);
    CHECK(isolated(options, both, "left ", "right") == "left right");
    CHECK(isolated(options, function<&squared>, 3) == 9);
    CHECK(isolated(
              options, [](int x) { return std::vector<std::string>(static_cast<std::size_t>(x), "x"); }, 2) ==
          std::vector<std::string>{"x", "x"});
    CHECK(isolated(options, own_constant) == 7);
    isolated(options, do_nothing);
    static_assert(std::is_void_v<decltype(isolated(do_nothing))>);
    static_assert(std::is_same_v<decltype(isolated(own_constant)), int>);
    CHECK(isolated(options, own_pid, 0) != ::getpid());
}

TEST_CASE("an isolated call goes by the program's start method, and by its own name") {
    CHECK(isolated(squared, 5) == 25);
    CHECK(isolated(any_way({.name = "parser"}), [] { return plait::multiprocessing::current_process().name(); }) ==
          "parser");
}

TEST_CASE("what an isolated call throws comes home as its own type where that can be made again") {
    const IsolatedOptions options = any_way();
    const auto error = caught<std::out_of_range>([&] { isolated(options, throw_out_of_range, 3); });
    REQUIRE(error);
    CHECK(error->what() == std::string("no 3"));
    const auto bored = caught<RemoteError>([&] { isolated(options, be_bored, 0); });
    REQUIRE(bored);
    CHECK_THAT(bored->type_name(), ContainsSubstring("Bored"));
    CHECK(bored->text() == "bored");
    const auto number = caught<RemoteError>([&] { isolated(options, throw_number, 3); });
    REQUIRE(number);
    CHECK(number->type_name() == "int");
}

TEST_CASE("what cannot be decoded on either side is a CodecError") {
    const IsolatedOptions options = any_way();
    if (options.start_method != StartMethod::fork)  // nothing is decoded in a copy of the program
        CHECK(caught<plait::CodecError>([&] { isolated(options, take_unwelcome, Unwelcome{}); }));
    CHECK(caught<plait::CodecError>([&] { isolated(options, give_unwelcome); }));
}

TEST_CASE("the end of an isolated call's process is told with its cause, number and name") {
    const IsolatedOptions options = any_way();
    const ProcessDied killed = death_of(options, function<&write_to_forbidden_memory>, 0);
    CHECK(killed.signal() == SIGSEGV);
    CHECK_THAT(killed.what(), ContainsSubstring("process " + std::to_string(killed.pid()) + " was killed by SIGSEGV") &&
                                  ContainsSubstring("write_to_forbidden_memory"));
    CHECK(death_of(options, call_abort, 0).signal() == SIGABRT);

    const ProcessDied exited = death_of(options, exit_with, 0);
    CHECK(exited.exitcode() == 0);
    CHECK_THAT(exited.what(), ContainsSubstring("exited with status 0"));
    CHECK(death_of(options, exit_with, 3).exitcode() == 3);
    CHECK(death_of(options, exit_with, 125).exitcode() == 125);

    const ProcessDied gone = death_of(options, die_by, SIGKILL);
    CHECK(gone.signal() == SIGKILL);
    CHECK_THAT(gone.what(), ContainsSubstring("perhaps the kernel was out of memory"));
}

TEST_CASE("an isolated call takes and gives thirty mebibytes") {
    const IsolatedOptions options = any_way();
    CHECK(isolated(options, many, 30 * mebibyte) == std::vector<char>(30 * mebibyte, 'm'));
    CHECK(isolated(options, count, std::vector<char>(30 * mebibyte)) == 30 * mebibyte);
}

TEST_CASE("an isolated call that is killed while it gives its result has died, and not for long") {
    const IsolatedOptions options = any_way();
    const auto begin = Clock::now();
    CHECK(death_of(options, die_while_answering, 100 * mebibyte).signal() == SIGKILL);
    CHECK(Clock::now() - begin < 50s);  // most of it to make so much
}

TEST_CASE("an isolated call that forks and returns in both is answered once") {
    const IsolatedOptions options = any_way();
    for (int i = 0; i < 5; ++i) CHECK(isolated(options, return_in_both, 4 * mebibyte).size() == 4 * mebibyte);
}

#if defined(__GLIBC__)
TEST_CASE("a process that refuses to be an isolated call's says why") {
    const NoThreads none;  // nor can it have the one that ends it with the program
    CHECK(caught<std::system_error>([] { isolated(IsolatedOptions{.start_method = StartMethod::fork}, squared, 2); }));
}
#endif

TEST_CASE("an isolated call that finds no descriptor left is an error, and leaves nothing behind") {
    const IsolatedOptions options = any_way();
    isolated(options, squared, 1);
    const std::size_t descriptors = open_descriptors().size();
    int refused = 0;
    for (unsigned more = 0; more < 24; ++more) {
        int value = 0;
        try {
            const DescriptorLimit limit{more};
            value = isolated(options, squared, 3);
        } catch (const std::system_error&) {
            ++refused;
            continue;
        }
        CHECK(value == 9);
    }
    CHECK(refused > 0);
    CHECK(refused < 24);
    CHECK(open_descriptors().size() == descriptors);
}

TEST_CASE("what an isolated call leaves running ends with it") {
    const TemporaryFolder folder;
    const std::string file = folder.file("left");
    const IsolatedOptions options = any_way({.timeout = 30s});
    const auto is_gone = [&] {
        const pid_t left = number_in(file);
        return left > 0 && within(30s, [&] { return !is_alive(left); });
    };
    SECTION("when it returns") { CHECK(isolated(options, leave_a_process, file) == 1); }
    SECTION("when it crashes") { CHECK(death_of(options, leave_a_process_and_die, file).signal() == SIGABRT); }
    SECTION("when it is killed") {
        IsolatedOptions brief = options;
        brief.timeout = 300ms;
        CHECK(caught<TaskTimeoutError>([&] { isolated(brief, leave_a_process_and_hang, file); }));
        if (number_in(file) == 0) return;  // it had not come so far
    }
    CHECK(is_gone());
}

TEST_CASE("an isolated call that leaves a thread, or an exit that hangs, has its value given, and is ended") {
    IsolatedOptions options = any_way({.termination_grace = 100ms});
    CHECK(isolated(options, leave_a_thread, 3) == 3);
    CHECK(isolated(options, cling, 4) == 4);
    CHECK(children().size() <= 1);  // a fork server, in a program that has adopted it
}

TEST_CASE("what an isolated call prints is there when it has returned") {
    const TemporaryFolder folder;
    CHECK(isolated(any_way(), print_without_newline, folder.file("out")) == 1);
    CHECK(content_of(folder.file("out")) == "no newline");
}

TEST_CASE("an isolated call reads nothing from the program's standard input") {
    CHECK(isolated(any_way(), read_standard_input, 0) == EOF);
}

TEST_CASE("an isolated call that closes its channel, or writes to it, has died") {
    const IsolatedOptions options = any_way();
    CHECK_THAT(death_of(options, close_everything, 1).what(), ContainsSubstring("while it ran"));
    CHECK_THAT(death_of(options, shut_channel_and_hang, 1).what(), ContainsSubstring("while it ran"));
    for (auto* const misbehave : {write_to_channel, write_to_channel_and_hang})
        CHECK_THAT(death_of(options, misbehave, 1).what(), ContainsSubstring("written to it"));
}

TEST_CASE("an isolated call that takes too long is killed, also where it ignores the request") {
    const IsolatedOptions options = any_way({.timeout = 50ms, .termination_grace = 50ms});
    const auto hang = GENERATE(&run_for_ever, &run_for_ever_and_ignore_requests, &stop);
    const auto begin = Clock::now();
    const auto error = caught<TaskTimeoutError>([&] { isolated(options, hang, 0); });
    REQUIRE(error);
    CHECK_THAT(error->what(), ContainsSubstring("limit of 0.05 s"));
    CHECK_FALSE(is_alive(static_cast<int>(error->pid())));
    CHECK(Clock::now() - begin < 30s);
    CHECK(isolated(IsolatedOptions{.start_method = options.start_method}, squared, 2) == 4);
}

TEST_CASE("a limit of no time at all is over at once, and one in the far future never") {
    CHECK(caught<TaskTimeoutError>([] { isolated(IsolatedOptions{.timeout = 0s}, run_for_ever, 0); }));
    CHECK(isolated(IsolatedOptions{.timeout = std::chrono::hours::max()}, squared, 2) == 4);
}

TEST_CASE("an isolated call that a signal stops is ended, and one that is stopped for a moment is not") {
    if (!plait::os::resident_memory(::getpid())) return;  // a system that tells of neither
    const IsolatedOptions options = any_way();
    CHECK_THAT(death_of(options, stop, 1).what(), ContainsSubstring("a signal had stopped it"));
    CHECK(isolated(options, stop_for_a_moment, 5) == 5);
}

TEST_CASE("an isolated call that runs out of memory says so itself") {
    if (plait::detail::address_sanitizer) return;  // it needs more than there is
    CHECK(caught<std::bad_alloc>([] { isolated(any_way(), run_out_of_memory, 0); }));
}

TEST_CASE("an isolated call that has more memory than its limit is killed") {
    const IsolatedOptions options = any_way({.memory_limit = 256 * mebibyte});
    if (!plait::os::resident_memory(::getpid())) {
        CHECK(caught<UsageError>([&] { isolated(options, squared, 2); }));
        return;
    }
    const ProcessDied death = death_of(options, use_memory, 384 * mebibyte);
    CHECK(death.signal() == SIGKILL);
    CHECK_THAT(death.what(), ContainsSubstring("more than its limit of 256 MiB"));
    CHECK(isolated(options, squared, 2) == 4);
}

TEST_CASE("isolated calls are made from many threads at once") {
    const IsolatedOptions options = any_way();
    if (plait::detail::address_sanitizer && options.start_method == StartMethod::fork) return;
    std::vector<int> results(8, -1);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < results.size(); ++i)
        threads.emplace_back([&, i] {
            const int x = static_cast<int>(i);
            try {
                results[i] = x % 2 == 0 ? isolated(options, squared, x) : isolated(options, exit_with, x);
            } catch (const ProcessDied& death) {
                results[i] = static_cast<int>(death.exitcode());
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(results == std::vector<int>{0, 1, 4, 3, 16, 5, 36, 7});
}

TEST_CASE("an isolated call may make isolated calls, and so may a pool's worker") {
    const IsolatedOptions options = any_way();
    CHECK(isolated(options, isolated_square, 6) == 36);
    CHECK(isolated(options, isolated_death, 9) == 9);
    plait::multiprocessing::Pool pool(
        plait::multiprocessing::PoolOptions{.processes = 1, .start_method = options.start_method});
    CHECK(pool.apply(isolated_square, 7) == 49);
    CHECK(pool.apply(isolated_death, 9) == 9);
}

TEST_CASE("locks, queues and connections may be an isolated call's arguments") {
    const IsolatedOptions options = any_way();
    plait::multiprocessing::Queue<int> queue;
    plait::multiprocessing::Value<int> value(1);
    CHECK(isolated(options, put_and_add, queue, value, 5) == 5);
    CHECK(queue.get(30s) == 5);
    CHECK(*value == 6);

    auto [own, other] = plait::multiprocessing::Pipe();
    own.send(std::string("hello"));
    CHECK(isolated(options, talk, std::move(other)) == "hello");
    CHECK(own.recv<int>() == 1);
}

TEST_CASE("an isolated call needs no SIGCHLD of a host that ignores it") {
    const IsolatedOptions options = any_way();
    void (*const before)(int) = ::signal(SIGCHLD, SIG_IGN);
    const int value = isolated(options, squared, 4);
    const auto death = caught<ProcessDied>([&] { isolated(options, exit_with, 3); });
    const auto late = caught<TaskTimeoutError>(
        [&] { isolated(IsolatedOptions{.timeout = 20ms, .start_method = options.start_method}, run_for_ever, 0); });
    ::signal(SIGCHLD, before);
    CHECK(value == 16);
    CHECK(death);
    CHECK(late);
}

TEST_CASE("an isolated call goes with a program that is killed") {
    const StartMethod method = GENERATE(StartMethod::spawn, StartMethod::fork, StartMethod::forkserver);
    if (plait::detail::address_sanitizer && method == StartMethod::fork) return;
    const TemporaryFolder folder;
    Gate gate;
    ForkedChild program{[&] {
        isolated(
            IsolatedOptions{.start_method = method},
            [](const std::string& file, const std::string& path) {
                std::ofstream{file} << ::getpid();
                pass_gate(path);
                wait_for_ever();
            },
            folder.file("pid"), gate.path());
        return 0;
    }};
    REQUIRE(gate.reached());
    const pid_t child = number_in(folder.file("pid"));
    program.kill();
    CHECK(within(30s, [&] { return !is_alive(child); }));
}

TEST_CASE("two hundred isolated calls leave no descriptor, no process and no zombie") {
    const IsolatedOptions options = any_way({.termination_grace = 0s});
    isolated(options, squared, 1);  // what is made at the first need stays
    const std::size_t descriptors = open_descriptors().size();
    const std::size_t processes = children().size();
    for (int i = 0; i < 200; ++i) {
        if (i % 4 == 0)
            CHECK(caught<ProcessDied>([&] { isolated(options, exit_with, 1); }));
        else
            CHECK(isolated(options, squared, i) == i * i);
    }
    CHECK(open_descriptors().size() == descriptors);
    CHECK(children().size() == processes);
    CHECK(plait::multiprocessing::active_children().empty());
}
