// SPDX-License-Identifier: MIT
#include <plait/os/lifeline.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/gate.hpp"
#include "support/process_state.hpp"

#include <plait/os/channel.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>

using namespace std::chrono_literals;
using namespace support;

namespace os = plait::os;

namespace {

/// A parent and its child, which ends with it; and the test's copies of the channel's ends, which may keep it open.
struct Family {
    explicit Family(bool holds_channel) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) return;
        parent = ::fork();
        if (parent == 0) {
            const pid_t self = ::getpid();
            child = ::fork();
            if (child == 0) {
                channel.first.reset();
                os::end_with_parent(self, channel.second);
                pass_gate(gate.path());
                ::_exit(0);
            }
            if (::write(ends[1], &child, sizeof child) < 0) ::_exit(1);
            for (;;) ::pause();
        }
        is_whole = ::read(ends[0], &child, sizeof child) == static_cast<ssize_t>(sizeof child) && gate.reached();
        ::close(ends[0]);
        ::close(ends[1]);
        if (!holds_channel) channel.first.reset();
    }
    ~Family() {
        ::kill(parent, SIGKILL);
        ::waitpid(parent, nullptr, 0);
    }

    os::ChannelEnds channel = os::make_channel();
    Gate gate;
    pid_t parent = 0;
    pid_t child = 0;
    bool is_whole = false;
};

}  // namespace

TEST_CASE("a process ends with its parent, though somebody else holds the channel") {
    const bool holds_channel = GENERATE(false, true);
    const bool is_stopped = GENERATE(false, true);
    if (is_stopped && !os::children_die_with_parent) return;  // such a system wakes nobody
    Family family{holds_channel};
    REQUIRE(family.is_whole);
    CHECK(is_alive(family.child));
    if (is_stopped) ::kill(family.child, SIGSTOP);
    ::kill(family.parent, SIGKILL);
    CHECK(within(30s, [&] { return !is_alive(family.child); }));
}

TEST_CASE("what the parent writes to the channel does not end its child") {
    Family family{true};
    REQUIRE(family.is_whole);
    const std::byte byte[1] = {};
    CHECK(os::send_all(family.channel.first, byte));
    CHECK_FALSE(within(20ms, [&] { return !is_alive(family.child); }));
}
