// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/fork_server.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/disturbance.hpp"
#include "support/failing_receive.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"
#include "support/served.hpp"

#include <plait/multiprocessing/process.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

// The server of forks: what its children are given, and what becomes of all when the program changes or somebody is
// killed.

using namespace std::chrono_literals;
using namespace support;
using plait::CodecError;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;

namespace mp = plait::multiprocessing::detail;
namespace os = plait::os;

namespace {

int status_of(Process& child) {
    child.start();
    child.join();
    return static_cast<int>(child.exitcode().value_or(1000));
}

/// What a process finds around itself, a line each.
std::string surroundings() {
    std::string text;
    const auto line = [&](const std::string& name, auto value) { text += name + " " + std::to_string(value) + "\n"; };
    std::error_code error;
    text += "directory " + std::filesystem::current_path(error).string() + (error ? "none" : "") + "\n";
    struct ::stat here{};
    if (::stat(".", &here) == 0) line("inode", here.st_ino);
    for (int number = 0; number <= 2; ++number) {
        struct ::stat file{};
        if (::fstat(number, &file) == 0)
            text += "stream " + std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino) + "\n";
        if (file.st_mode == 0) text += "stream closed\n";
    }
    for (char** entry = ::environ; *entry != nullptr; ++entry)
        if (std::string{*entry}.starts_with("PLAIT_TEST")) text += std::string{*entry} + "\n";
    const ::mode_t mask = ::umask(0);
    ::umask(mask);
    line("umask", mask);
    line("nice", ::getpriority(PRIO_PROCESS, 0));
    line("group", ::getpgrp());
    line("session", ::getsid(0));
    line("user", ::getuid());
    line("effective user", ::geteuid());
    for (const auto name : {RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_STACK}) {
        struct ::rlimit limit{};
        ::getrlimit(name, &limit);
        line("soft", limit.rlim_cur);
        line("hard", limit.rlim_max);
    }
    ::cpu_set_t processors;
    CPU_ZERO(&processors);
    ::sched_getaffinity(0, sizeof processors, &processors);
    line("processors", CPU_COUNT(&processors));
    sigset_t blocked;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    for (int number = 1; number <= 31; ++number) {
        struct ::sigaction action{};
        ::sigaction(number, nullptr, &action);
        // What a handler caught is at its default in another program.
        line(std::string(::sigismember(&blocked, number) == 1 ? "blocked " : "open ") +
                 (action.sa_handler == SIG_IGN ? "ignored" : "minded"),
             number);
    }
    return text;
}
void write_surroundings(const std::string& file) { std::ofstream{file} << surroundings(); }

/// What a child of the server tells of its surroundings.
std::string told_by_child(const std::string& file) {
    Process child(write_surroundings, file);
    if (const int status = status_of(child); status != 0) return "status " + std::to_string(status);
    return contents(file);
}

bool same_as_here(const std::string& file) {
    const std::string told = told_by_child(file);
    if (told == surroundings()) return true;
    std::ofstream{file + ".here"} << surroundings();
    return false;
}

void use_one_processor() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
}

std::int64_t server_pid() { return fork_server().pid().value_or(0); }

bool is_stopped(std::int64_t pid) {
    const auto state = process_state(static_cast<int>(pid));
    return state && state->state == 'T';
}

/// Whether the next child is the one that its Process tells of.
bool children_are_themselves(const std::string& file) {
    Process child([](const std::string& out) { std::ofstream{out} << ::getpid(); }, file);
    return status_of(child) == 0 && contents(file) == std::to_string(child.pid().value_or(0));
}

}  // namespace

TEST_CASE("a server is made at the first need, serves many, and is no child of the program") {
    CHECK(server_pid() == 0);
    Gate gate;
    Process first(stand_at, gate.path());
    first.start();
    const auto server = server_pid();
    REQUIRE(gate.reached());
    CHECK(process_state(static_cast<int>(*first.pid()))->parent == server);
    Process second(do_nothing);
    CHECK(status_of(second) == 0);
    CHECK(server_pid() == server);
    CHECK(process_state(static_cast<int>(server))->parent != ::getpid());
    if (os::children_die_with_parent) {  // where process lists have names of our choice
        CHECK(process_state(static_cast<int>(server))->name == "plait-server");
        CHECK(process_state(static_cast<int>(*first.pid()))->name != "plait-server");
    }
    CHECK(::waitpid(-1, nullptr, 0) == -1);  // a program that waits for all its children does not wait for the server
    gate.open();
    first.join();
}

TEST_CASE("a child finds the surroundings that the program has as it is started, whatever they were before") {
    TemporaryFolder folder;
    const std::string file = folder.file("told");
    CHECK(in_a_child([&] {
              Process before(do_nothing);
              if (status_of(before) != 0) return 1;
              const auto server = server_pid();
              if (!same_as_here(file)) return 2;
              std::filesystem::create_directory(folder.file("elsewhere"));
              if (::chdir(folder.file("elsewhere").c_str()) != 0) return 3;
              ::setenv("PLAIT_TEST_SERVED", "a=b\nc", 1);
              ::umask(027);
              if (!same_as_here(file)) return 4;
              ::setpriority(PRIO_PROCESS, 0, 5);
              struct ::rlimit limit{100, 200};
              ::setrlimit(RLIMIT_NOFILE, &limit);
              limit = {0, 0};
              ::setrlimit(RLIMIT_CORE, &limit);
              if (os::children_die_with_parent) use_one_processor();
              ::setpgid(0, 0);
              if (!same_as_here(file)) return 5;
              for (const int number : {SIGUSR1, SIGINT, SIGCHLD}) ::signal(number, SIG_IGN);
              sigset_t blocked;
              ::sigemptyset(&blocked);
              ::sigaddset(&blocked, SIGUSR2);
              ::sigaddset(&blocked, SIGTERM);
              ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
              if (!same_as_here(file)) return 6;
              // Nobody can go there by its name.
              std::filesystem::remove(folder.file("elsewhere"));
              if (!same_as_here(file)) return 7;
              ::unsetenv("PLAIT_TEST_SERVED");
              return server == server_pid() && same_as_here(file) ? 0 : 8;
          }) == 0);
}

TEST_CASE("a child has the program's standard streams of now, and the null device for one that is closed") {
    TemporaryFolder folder;
    CHECK(in_a_child([&] {
              Process before(do_nothing);
              if (status_of(before) != 0) return 1;
              const int out = ::open(folder.file("out").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
              ::dup2(out, 1);
              ::close(out);
              ::close(0);
              const int error = ::fcntl(2, F_DUPFD_CLOEXEC, 3);
              ::close(2);
              Process child([] {
                  char byte = 0;
                  const bool null_in = ::read(0, &byte, 1) == 0;
                  const bool null_error = ::write(2, "lost", 4) == 4;
                  if (!null_in || !null_error || ::write(1, "told", 4) != 4) exit_with(9);
              });
              const int status = status_of(child);
              ::dup2(error, 2);
              return status == 0 ? 0 : 2;
          }) == 0);
    CHECK(contents(folder.file("out")) == "told");
}

TEST_CASE("where what cannot be handed over has changed, another server is made, and the first one's children go on") {
    if (::geteuid() != 0) return;  // nobody else may change it
    TemporaryFolder folder;
    std::filesystem::permissions(folder.file(""), std::filesystem::perms::all);
    const int change = GENERATE(0, 1, 2, 3);
    CAPTURE(change);
    // Elsewhere a second group is taken for a raised privilege, and there are no namespaces.
    if ((change == 1 || change == 3) && !os::children_die_with_parent) return;
    Gate gate;
    CHECK(in_a_child([&] {
              Process old(stand_at, gate.path());
              old.start();
              const auto server = server_pid();
              if (!gate.reached()) return 1;
              if (change == 0 && ::setresuid(65534, 65534, 65534) != 0) return 2;
              if (change == 1 && ::setegid(65534) != 0) return 2;
              if (change == 2 && ::setsid() < 0) return 2;
              if (change == 3 && ::unshare(CLONE_NEWUTS) != 0) return 2;
              if (!same_as_here(folder.file("told"))) return 3;
              if (server_pid() == server) return 4;
              if (!old.is_alive()) return 5;
              gate.open();
              old.join();
              if (old.exitcode() != 0) return 6;
              return within(30s, [&] { return !is_alive(static_cast<int>(server)); }) ? 0 : 7;
          }) == 0);
}

TEST_CASE(
    "a server that is killed leaves its children running, their ends are seen, and the next start makes another") {
    Gate gate;
    Gate other;
    Process first(stand_at, gate.path());
    Process second(stand_at, other.path());
    first.start();
    second.start();
    REQUIRE(gate.reached());
    REQUIRE(other.reached());
    const auto server = server_pid();
    REQUIRE(::kill(static_cast<pid_t>(server), SIGKILL) == 0);
    CHECK_FALSE(first.join(20ms));
    Process third(run_exit_with, 7);
    CHECK(status_of(third) == 7);
    CHECK(server_pid() != server);
    CHECK(first.is_alive());
    gate.open();
    CHECK(first.join(30s));
    CHECK(first.exitcode() == 0);  // it has said so itself
    second.kill();
    CHECK(second.join(30s));
    CHECK_FALSE(second.is_alive());
    CHECK((!second.exitcode() || second.exitcode() == -SIGKILL));  // some systems still know
    CHECK(second.exit_status().text != "running");
}

TEST_CASE("a server that is stopped does not stop the program, and runs nothing later that was given up") {
    TemporaryFolder folder;
    Process before(do_nothing);
    REQUIRE(status_of(before) == 0);
    const auto server = server_pid();
    fork_server().set_patience(2s);  // of the new server, too
    ::kill(static_cast<pid_t>(server), SIGSTOP);
    REQUIRE(within(30s, [&] { return is_stopped(server); }));
    Process child([](const std::string& file) { std::ofstream{file, std::ios::app} << "once "; }, folder.file("out"));
    CHECK(status_of(child) == 0);
    CHECK(contents(folder.file("out")) == "once ");
    CHECK(server_pid() != server);
    fork_server().set_patience(10s);
    CHECK(within(30s, [&] { return !is_alive(static_cast<int>(server)); }));
}

TEST_CASE("a start that the program gave up after the fork runs nothing") {
    TemporaryFolder folder;
    Process before(do_nothing);
    REQUIRE(status_of(before) == 0);
    // The child has no room for the watch: the program cannot have it, and does not let it go on.
    Process child([](const std::string& file) { std::ofstream{file} << "ran"; }, folder.file("out"));
    bool refused = false;
    for (unsigned more = 0; more < 40 && !refused; ++more) {
        DescriptorLimit limit{more};
        try {
            child.start();
            break;
        } catch (const std::system_error& error) {
            limit.lift();
            CHECK(error.code().value() == EMFILE);
            refused = std::string{error.what()}.find("watch") != std::string::npos;
        }
    }
    CHECK(nothing_is_left());
    if (os::can_watch_processes()) CHECK(refused);
    if (refused) CHECK_FALSE(std::filesystem::exists(folder.file("out")));
}

TEST_CASE("a report that could not be received is not taken for the next child's") {
    TemporaryFolder folder;
    Process before(do_nothing);
    REQUIRE(status_of(before) == 0);
    const auto server = server_pid();
    Process child([](const std::string& file) { std::ofstream{file} << "ran"; }, folder.file("out"));
    failing_receive = 1;
    CHECK(caught<std::system_error>([&] { child.start(); }));
    CHECK(failing_receive == 0);
    CHECK(children_are_themselves(folder.file("pid")));
    CHECK(within(30s, [&] { return !is_alive(static_cast<int>(server)); }));
    CHECK(nothing_is_left());
    CHECK_FALSE(std::filesystem::exists(folder.file("out")));
}

TEST_CASE("a server whose first word could not be received leaves nothing behind") {
    static_cast<void>(fork_server().stop());
    Process child(do_nothing);
    failing_receive = 1;
    CHECK(caught<std::system_error>([&] { child.start(); }));
    CHECK(failing_receive == 0);
    CHECK(children().empty());
    CHECK(status_of(child) == 0);
}

TEST_CASE("a terminal's signals to the program's group pass by a server that is being made") {
    CHECK(in_a_child([] {
              ::setpgid(0, 0);
              ::signal(SIGINT, [](int) {});
              std::atomic<bool> done{false};
              std::thread user([&] {
                  while (!done) ::kill(0, SIGINT);
              });
              bool started = true;
              for (int round = 0; round < 20 && started; ++round) {
                  started = !caught<std::exception>([] { fork_server().prepare(); });
                  static_cast<void>(fork_server().stop());
              }
              done = true;
              user.join();
              return started ? 0 : 1;
          }) == 0);
}

TEST_CASE("a program that got more than its server began with has another server") {
    CHECK(in_a_child([] {
              if (::setpriority(PRIO_PROCESS, 0, 5) != 0) return 1;
              Process first(do_nothing);
              if (status_of(first) != 0) return 2;
              const auto server = server_pid();
              if (::setpriority(PRIO_PROCESS, 0, 9) != 0) return 3;
              Process nicer(do_nothing);
              if (status_of(nicer) != 0 || server_pid() != server) return 4;
              if (::setpriority(PRIO_PROCESS, 0, 2) != 0) return 0;  // not everybody may
              Process second(do_nothing);
              return status_of(second) == 0 && server_pid() != server ? 0 : 5;
          }) == 0);
}

TEST_CASE("where there can be no server, or no more processes of it, start says so, and can be tried again") {
    if (::geteuid() != 0) return;  // nobody else has a user to himself
    CHECK(in_a_child([] {
              // A user of whom nothing else runs: the program, the start of its server, the server; then one child.
              if (::setresuid(54'321, 54'321, 54'321) != 0) return 1;
              const auto allow = [](::rlim_t processes) {
                  const struct ::rlimit limit{processes, 3};
                  return ::setrlimit(RLIMIT_NPROC, &limit) == 0;
              };
              const auto error_of = [](Process& child) {
                  const auto error = caught<std::system_error>([&] { child.start(); });
                  return error ? error->code().value() : 0;
              };
              Process first(run_for_ever, 0);
              Process second(run_exit_with, 4);
              for (const ::rlim_t too_few : {::rlim_t{1}, ::rlim_t{2}})
                  if (!allow(too_few) || error_of(first) != EAGAIN) return 2;
              if (!allow(3)) return 3;
              first.start();
              if (error_of(second) != EAGAIN) return 4;
              first.kill();
              first.join();
              return within(30s, [&] { return started_processes().empty(); }) && status_of(second) == 4 ? 0 : 5;
          }) == 0);
}

TEST_CASE("a terminal's signals pass the server by, and mean to its children what they mean to the program") {
    Process before(do_nothing);
    REQUIRE(status_of(before) == 0);
    const auto server = server_pid();
    for (const int number : {SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU})
        ::kill(static_cast<pid_t>(server), number);
    Process child([] { ::raise(SIGINT); });
    CHECK(status_of(child) == -SIGINT);
    CHECK(server_pid() == server);
    CHECK(process_state(static_cast<int>(server))->group != ::getpgrp());
}

TEST_CASE("a server that is let go of ends when its last child has") {
    Gate gate;
    Process child(stand_at, gate.path());
    child.start();
    REQUIRE(gate.reached());
    const auto server = server_pid();
    CHECK_FALSE(fork_server().stop());
    CHECK(child.is_alive());
    CHECK(is_alive(static_cast<int>(server)));
    gate.open();
    child.join();
    CHECK(child.exitcode() == 0);
    CHECK(within(30s, [&] { return !is_alive(static_cast<int>(server)); }));
}

TEST_CASE("a forked copy of the program has a server of its own, and does not harm the program's") {
    Gate gate;
    Process child(stand_at, gate.path());
    child.start();
    REQUIRE(gate.reached());
    const auto server = server_pid();
    CHECK(in_a_child([&] {
              if (fork_server().pid()) return 1;
              Process own(run_exit_with, 5);
              if (status_of(own) != 5) return 2;
              return server_pid() != server ? 0 : 3;
          }) == 0);
    Process copy = Process::forked([server] {
        Process own(run_exit_with, 5);
        if (status_of(own) != 5 || server_pid() == server) exit_with(3);
    });
    CHECK(status_of(copy) == 0);
    CHECK(child.is_alive());
    CHECK(server_pid() == server);
    gate.open();
    child.join();
}

TEST_CASE("eight threads start children at once, and no child holds what is another's") {
    const auto start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn);
    std::array<bool, 8> right{};
    std::vector<std::thread> threads;
    std::atomic<std::size_t> looked{0};
    for (bool& each : right)
        threads.emplace_back([&] {
            Gate gate;
            int ends[2];
            if (::pipe2(ends, O_CLOEXEC) != 0) return;
            Process child(ProcessOptions{.start_method = start_method}, stand_at, gate.path());
            child.start();
            const bool reached = gate.reached();
            ::close(ends[1]);
            // While all children stand, its end is there: at most one that is yet to execute the program held it.
            pollfd item{ends[0], POLLIN, 0};
            const bool ended = ::poll(&item, 1, 20'000) == 1 && (item.revents & POLLHUP) != 0;
            ::close(ends[0]);
            ++looked;
            const bool all_looked = within(30s, [&] { return looked == right.size(); });
            gate.open();
            each = reached && ended && all_looked && child.join(30s) && child.exitcode() == 0;
        });
    for (auto& thread : threads) thread.join();
    for (const bool each : right) CHECK(each);
}

TEST_CASE("a request that its bytes do not make is an error, never more") {
    mp::StartRequest request{.papers = {.name = "child", .numbers = "1", .parent_name = "parent"},
                             .streams = 7,
                             .surroundings = os::Surroundings::current(os::own_status()),
                             .environment = os::environment_block({})};
    Encoder out;
    request.encode(out);
    const std::vector<std::byte> whole(out.bytes().begin(), out.bytes().end());
    {
        Decoder in(whole);
        CHECK(mp::StartRequest::decode(in).environment == request.environment);
    }
    const auto decodes = [](std::span<const std::byte> bytes) {
        try {
            Decoder in(bytes);
            mp::StartRequest::decode(in);
            return true;
        } catch (const CodecError&) {
            return false;
        }
    };
    for (std::size_t size = 0; size < whole.size(); ++size) CHECK_FALSE(decodes(std::span{whole}.first(size)));
    std::mt19937 random{7};
    for (int round = 0; round < 2000; ++round) {
        auto broken = whole;
        for (int i = 0; i < 4; ++i) broken[random() % 200] = static_cast<std::byte>(random());
        static_cast<void>(decodes(broken));
    }
    CHECK_FALSE(decodes(std::vector<std::byte>(300, std::byte{0xFF})));
}

namespace {

/// A server in a copy of this program, and what it says to the bytes and handles it gets.
struct ForgedProgram {
    explicit ForgedProgram() {
        process = os::fork_child([&] {
            channel.first.reset();
            mp::ForkService{std::move(channel.second), ::getppid(), os::watch_process(::getppid())}.run();
            return 0;
        });
        channel.second.reset();
        mp::ServerReport ready;
        static_cast<void>(receive(ready));
    }
    bool receive(mp::ServerReport& report) {
        std::vector<os::Handle> came;
        return os::receive_with_handles(channel.first, std::as_writable_bytes(std::span{&report, 1}), came,
                                        plait::detail::Deadline{30s});
    }
    void send(const mp::ServerOrder& order, std::size_t handles) {
        const std::vector<os::NativeHandle> along(handles, channel.first.get());
        os::send_with_handles(channel.first, std::as_bytes(std::span{&order, 1}), along);
    }

    os::ChannelEnds channel = os::make_channel();
    os::Child process;
};

}  // namespace

TEST_CASE("a server answers an order that makes no sense, and ends at bytes that are none") {
    ForgedProgram program;
    mp::ServerReport report;
    for (const std::size_t handles : {0U, 3U}) {
        program.send({.kind = mp::ServerOrder::Kind::start}, handles);
        REQUIRE(program.receive(report));
        CHECK(report.kind == mp::ServerReport::Kind::failed);
        CHECK(report.code == EINVAL);
    }
    program.send({.kind = static_cast<mp::ServerOrder::Kind>(77), .number = 5}, 1);
    REQUIRE(program.receive(report));
    CHECK(report.kind == mp::ServerReport::Kind::failed);
    CHECK(report.number == 5);
    // A child whose job is none refuses; the server lives.
    program.send({.kind = mp::ServerOrder::Kind::start}, 4);
    REQUIRE(program.receive(report));
    CHECK(report.kind == mp::ServerReport::Kind::made);
    CHECK_FALSE(program.process.reap());
    const std::byte noise[sizeof(mp::ServerOrder)] = {};
    os::send_all(program.channel.first, noise);
    CHECK(program.process.wait(plait::detail::Deadline{30s}));
    CHECK(program.process.status().code == 0);
}

TEST_CASE("a child that refuses its job says why, and a start from where nobody can go fails") {
    ForgedProgram program;
    auto control = os::make_channel();
    const auto news = os::make_channel();
    const auto job = os::SharedMapping::create(64);
    const os::Handle directory = os::open_working_directory();
    const os::NativeHandle along[] = {job.handle().get(), control.second.get(), news.second.get(), directory.get()};
    const mp::ServerOrder order{.kind = mp::ServerOrder::Kind::start};
    os::send_with_handles(program.channel.first, std::as_bytes(std::span{&order, 1}), along);
    mp::ServerReport report;
    REQUIRE(program.receive(report));
    os::ServedEnd end;
    CHECK(os::receive_all(news.first, std::as_writable_bytes(std::span{&end, 1}), plait::detail::Deadline{30s}));
    CHECK(end.code == 125);
    const auto farewell = mp::Farewell::receive(control.first);
    REQUIRE(farewell);
    CHECK(farewell->code == 125);
    CHECK_THROWS_AS(std::rethrow_exception(farewell->exception), CodecError);
    program.channel.first.reset();
    CHECK(program.process.wait(plait::detail::Deadline{30s}));

    TemporaryFolder folder;
    const std::string closed = folder.file("closed");
    std::filesystem::create_directory(closed);
    CHECK(in_a_child([&] {
              if (::chdir(closed.c_str()) != 0 || ::chmod(".", 0) != 0) return 1;
              if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 2;
              Process child(do_nothing);
              const auto error = caught<std::system_error>([&] { child.start(); });
              return error && error->code().value() == EACCES ? 0 : 3;
          }) == 0);
}
