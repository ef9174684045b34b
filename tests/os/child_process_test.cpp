// SPDX-License-Identifier: MIT
#include <plait/os/child.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/descriptor_limit.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <plait/os/channel.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

// What the kinds of child have in common: forking, starting anew, reaping many.

using namespace std::chrono_literals;
using namespace support;
using plait::detail::Deadline;

namespace os = plait::os;

TEST_CASE("a wait status is told as Python tells it") {
    CHECK(os::exit_status_of(3 << 8).code == 3);
    CHECK(os::exit_status_of(SIGKILL).code == -SIGKILL);
    CHECK(os::exit_status_of(SIGSEGV | 0x80).code == -SIGSEGV);
    CHECK(os::exit_status_of(0).known);
    CHECK_FALSE(os::ExitStatus{}.known);
}

TEST_CASE("a fresh start of this executable gets its arguments, and is refused by freeze_support without a job") {
    const os::ChannelEnds channel = os::make_channel();
    const std::string arguments[] = {"--plait-child"};
    const auto open = open_descriptors();
    os::ChannelEnds other = os::make_channel();
    other.first.reset();
    {
        os::Child child = os::spawn_self(arguments, other.second, {});
        other.second.reset();
        CHECK(child.wait(Deadline{30s}));
        CHECK(child.status().code == 125);
    }
    CHECK((open_descriptors() == open));
}

TEST_CASE("a start that fails leaves nothing open") {
    const os::ChannelEnds channel = os::make_channel();
    const auto open = open_descriptors();
    const auto error = caught<std::system_error>([&] {
        const DescriptorLimit limit{0};
        os::spawn_self({}, channel.second, {});
    });
    CHECK(error.value().code().value() == EMFILE);
    CHECK((open_descriptors() == open));
    CHECK(children().empty());
}

TEST_CASE("a reaper waits for deaths and handles at once, and loses neither") {
    // In a process of its own: it takes SIGCHLD and every child.
    os::Child parent = os::fork_child([]() -> int {
        const os::ChannelEnds channel = os::make_channel();
        os::ChildReaper reaper;
        int found = 0;
        for (int code = 1; code <= 20; ++code) {
            const pid_t pid = os::fork_process([&] {
                reaper.undo();
                return code;
            });
            std::optional<os::Reaped> dead;
            std::int64_t before = 0;
            while (!dead) {
                reaper.wait({}, Deadline{30s});
                dead = reaper.reap([&](std::int64_t number) { before = number; });
            }
            found += dead->pid == pid && before == pid && dead->status.code == code && dead->most_memory > 0;
        }
        if (reaper.reap([](std::int64_t) {})) return 2;
        const std::byte byte[1] = {};
        os::send_all(channel.first, byte);
        os::PollItem item{channel.second.get(), os::readable};
        reaper.wait({&item, 1}, Deadline{30s});
        if (!item.is_readable()) return 3;
        os::PollItem idle{channel.first.get(), os::readable};
        reaper.wait({&idle, 1}, Deadline{1ms});
        if (idle.is_ready()) return 4;
        return found == 20 ? 0 : 5;
    });
    REQUIRE(parent.wait(Deadline{40s}));
    CHECK(parent.status().code == 0);
}

TEST_CASE("a reaper's child has SIGCHLD as it was before the reaper") {
    for (const auto handler : {SIG_IGN, SIG_DFL}) {
        os::Child parent = os::fork_child([&]() -> int {
            ::signal(SIGCHLD, handler);
            os::ChildReaper reaper;
            const pid_t pid = os::fork_process([&] {
                reaper.undo();
                struct ::sigaction action{};
                ::sigaction(SIGCHLD, nullptr, &action);
                return action.sa_handler == handler ? 3 : 4;
            });
            std::optional<os::Reaped> dead;
            while (!dead) {
                reaper.wait({}, Deadline{30s});
                dead = reaper.reap([](std::int64_t) {});
            }
            return dead->pid == pid ? static_cast<int>(dead->status.code) : 5;
        });
        REQUIRE(parent.wait(Deadline{40s}));
        CHECK(parent.status().code == 3);
    }
}

TEST_CASE("a signal to a process group reaches the leader, its children, and the stopped among them") {
    Gate leaders_gate;
    Gate childs_gate;
    os::Child leader = os::fork_child([&] {
        os::lead_process_group();
        ::signal(SIGTERM, SIG_DFL);
        if (::fork() == 0) {
            pass_gate(childs_gate.path());
            ::_exit(0);
        }
        return pass_gate(leaders_gate.path());
    });
    const bool all_stand = leaders_gate.reached() && childs_gate.reached();
    const auto grandchildren = children(static_cast<int>(leader.pid()));
    ::kill(-static_cast<pid_t>(leader.pid()), SIGSTOP);
    os::signal_process_group(leader.pid(), SIGTERM);
    REQUIRE(all_stand);
    CHECK(leader.wait(Deadline{30s}));
    CHECK(leader.status().code == -SIGTERM);
    REQUIRE(grandchildren.size() == 1);
    CHECK(within(30s, [&] { return !is_alive(grandchildren[0].pid); }));
    os::signal_process_group(leader.pid(), SIGTERM);  // nobody is there: nothing happens
}
