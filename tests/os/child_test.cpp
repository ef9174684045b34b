// SPDX-License-Identifier: MIT
#include <plait/os/child.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

using namespace std::chrono_literals;
using namespace support;
using plait::detail::Deadline;
using plait::os::Child;
using plait::os::fork_child;

TEST_CASE("a forked child ends with what its body returns, 1 where that throws") {
    Child three = fork_child([] { return 3; });
    CHECK(three.pid() > 0);
    CHECK(three.wait(Deadline::never()));
    CHECK(three.status().known);
    CHECK(three.status().code == 3);
    CHECK(three.reap());
    Child throws = fork_child([]() -> int { throw std::runtime_error("in the child"); });
    CHECK(throws.wait(Deadline::never()));
    CHECK(throws.status().code == 1);
}

TEST_CASE("a child that is killed tells the signal, and signals after its end reach nobody") {
    Gate gate;
    Child child = fork_child([&] { return pass_gate(gate.path()); });
    REQUIRE(gate.reached());
    CHECK_FALSE(child.reap());
    CHECK_FALSE(child.wait(Deadline{5ms}));
    CHECK_FALSE(child.status().known);
    child.send_signal(SIGKILL);
    CHECK(child.wait(Deadline{30s}));
    CHECK(child.status().code == -SIGKILL);
    child.send_signal(SIGKILL);
}

TEST_CASE("the sentinel becomes readable at the child's end, and not before") {
    Gate gate;
    Child child = fork_child([&] { return pass_gate(gate.path()); });
    REQUIRE(gate.reached());
    CHECK_FALSE(plait::os::wait_readable(child.sentinel(), Deadline::at({})));
    gate.open();
    CHECK(plait::os::wait_readable(child.sentinel(), Deadline{30s}));
    CHECK(child.wait(Deadline{30s}));
    CHECK(plait::os::wait_readable(child.sentinel(), Deadline::at({})));
}

TEST_CASE("a child's end is seen though its own child lives on with all that it had open") {
    Gate gate;
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    Child child = fork_child([&] {
        const pid_t grandchild = ::fork();
        if (grandchild == 0) {
            pass_gate(gate.path());
            ::_exit(0);
        }
        return ::write(ends[1], &grandchild, sizeof grandchild) > 0 ? 0 : 1;
    });
    pid_t grandchild = 0;
    CHECK(::read(ends[0], &grandchild, sizeof grandchild) > 0);
    ::close(ends[0]);
    ::close(ends[1]);
    REQUIRE(gate.reached());
    CHECK(child.wait(Deadline{30s}));
    CHECK(is_alive(grandchild));
    gate.open();
    CHECK(within(30s, [&] { return !is_alive(grandchild); }));
}

TEST_CASE("a child whose status the host took has ended, with a status unknown or right") {
    Child child = fork_child([] { return 6; });
    int status = 0;
    REQUIRE(::waitpid(static_cast<pid_t>(child.pid()), &status, 0) > 0);
    CHECK(child.wait(Deadline{30s}));
    CHECK((!child.status().known || child.status().code == 6));
    child.send_signal(SIGTERM);
}

TEST_CASE("a child that was gone before it could be watched is known to have ended") {
    struct ::sigaction ignore{};
    struct ::sigaction before{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGCHLD, &ignore, &before);
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    const bool is_gone = within(30s, [&] { return !process_state(pid).has_value(); });
    ::sigaction(SIGCHLD, &before, nullptr);
    REQUIRE(is_gone);
    // As the start of a child goes on from here, where that holds one by more than its number.
    const auto adopt = [](auto number) {
        if constexpr (requires { plait::os::adopt_child(number); }) {
            Child child = plait::os::adopt_child(number);
            CHECK(child.wait(Deadline{30s}));
            CHECK_FALSE(child.status().known);
            CHECK(plait::os::wait_readable(child.sentinel(), Deadline::at({})));
            child.send_signal(SIGKILL);
        }
    };
    adopt(pid);
}

TEST_CASE("children that end unseen, where the host ignores SIGCHLD, are known to have ended") {
    struct ::sigaction ignore{};
    struct ::sigaction before{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGCHLD, &ignore, &before);
    bool all_ended = true;
    for (int i = 0; i < 100; ++i) {
        Child child = fork_child([] { return 0; });
        all_ended = child.wait(Deadline{30s}) && plait::os::wait_readable(child.sentinel(), Deadline{30s}) && all_ended;
    }
    ::sigaction(SIGCHLD, &before, nullptr);
    CHECK(all_ended);
}

TEST_CASE("a child that cannot be watched does not stay") {
    const auto open = open_descriptors();
    const auto error = caught<std::system_error>([] {
        const DescriptorLimit limit{0};
        fork_child([] {
            for (;;) ::pause();
            return 0;
        });
    });
    REQUIRE(error);
    CHECK(error->code().value() == EMFILE);
    CHECK((open_descriptors() == open));
    CHECK(children().empty());
}

TEST_CASE("a child moves") {
    Child first = fork_child([] { return 2; });
    const auto pid = first.pid();
    Child second = std::move(first);
    CHECK(second.pid() == pid);
    CHECK(second.wait(Deadline{30s}));
    CHECK(second.status().code == 2);
}

namespace {

/// A child as a server's program has it, and the server's end of the news.
struct Served {
    explicit Served(const std::string& gate) {
        pid = plait::os::fork_process([&] {
            news.first.reset();
            if (plait::os::can_watch_processes()) news.second.reset();
            return pass_gate(gate) - 1;
        });
        child = plait::os::adopt_served_child(pid, plait::os::watch_process(pid), std::move(news.first));
    }
    void reap() {
        int status = 0;
        ::waitpid(pid, &status, 0);
        end.code = plait::os::exit_status_of(status).code;
    }
    void tell() {
        static_cast<void>(plait::os::send_all(news.second, std::as_bytes(std::span{&end, 1})));
        news.second.reset();
    }

    plait::os::ChannelEnds news = plait::os::make_channel();
    plait::os::ServedEnd end;
    pid_t pid = 0;
    Child child;
};

}  // namespace

TEST_CASE("a server's child has ended when the system or its server says so, and the status is the server's word") {
    Gate gate;
    Served served{gate.path()};
    REQUIRE(gate.reached());
    CHECK_FALSE(served.child.wait(Deadline{20ms}));
    CHECK_FALSE(served.child.status().known);
    served.child.send_signal(SIGKILL);
    served.reap();
    served.tell();
    CHECK(served.child.wait(Deadline{30s}));
    CHECK(served.child.status().known);
    CHECK(served.child.status().code == -SIGKILL);
    CHECK(plait::os::wait_readable(served.child.sentinel(), Deadline::at({})));
    served.child.send_signal(SIGKILL);
}

TEST_CASE("a server's child has ended also where its server is gone without a word") {
    Gate gate;
    Served served{gate.path()};
    REQUIRE(gate.reached());
    served.news.second.reset();
    CHECK_FALSE(served.child.wait(Deadline{20ms}));
    gate.open();
    served.reap();
    CHECK(served.child.wait(Deadline{30s}));
    CHECK((!served.child.status().known || served.child.status().code == 0));
}

TEST_CASE("a child that a server left to this process, which adopts orphans, is reaped, with its status") {
    if (!plait::os::can_watch_processes()) return;
    Gate gate;
    Served served{gate.path()};  // a child of this process, which thinks of it as the server's
    REQUIRE(gate.reached());
    served.news.second.reset();
    served.child.send_signal(SIGKILL);
    CHECK(served.child.wait(Deadline{30s}));
    CHECK(served.child.status().known);
    CHECK(served.child.status().code == -SIGKILL);
    CHECK_FALSE(process_state(served.pid));
}

TEST_CASE("a child that a debugger holds has not ended until that lets go, and keeps its status") {
    int to_debugger[2];
    int from_debugger[2];
    REQUIRE(::pipe2(to_debugger, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(from_debugger, O_CLOEXEC) == 0);
    Gate gate;
    Child child = fork_child([&] { return pass_gate(gate.path()); });
    REQUIRE(gate.reached());
    const pid_t debugger = ::fork();
    if (debugger == 0) {
        char byte = ::ptrace(PTRACE_SEIZE, static_cast<pid_t>(child.pid()), nullptr, nullptr) == 0 ? 'y' : 'n';
        ::close(to_debugger[1]);
        if (::write(from_debugger[1], &byte, 1) == 1) static_cast<void>(!::read(to_debugger[0], &byte, 1));
        ::_exit(0);
    }
    char seized = 0;
    REQUIRE(::read(from_debugger[0], &seized, 1) == 1);
    child.send_signal(SIGKILL);
    if (seized == 'y') {
        CHECK(within(30s, [&] { return is_zombie(static_cast<int>(child.pid())); }));
        CHECK_FALSE(child.wait(Deadline{20ms}));
        CHECK_FALSE(child.reap());
    }
    ::close(to_debugger[1]);
    CHECK(child.wait(Deadline{30s}));
    CHECK(child.status().known);
    CHECK(child.status().code == -SIGKILL);
    ::waitpid(debugger, nullptr, 0);
    for (const int end : {to_debugger[0], from_debugger[0], from_debugger[1]}) ::close(end);
}
