// SPDX-License-Identifier: MIT
#include <plait/os/terminal.hpp>

#include "support/catch.hpp"
#include "support/forked_child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <string>

using namespace std::chrono_literals;
using namespace plait::os;

TEST_CASE("a terminal is told from a pipe, and from what is closed") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const Handle reader{ends[0]};
    const Handle writer{ends[1]};
    CHECK_FALSE(is_terminal(writer.get()));
    CHECK(terminal_width(writer.get()) == 0);
    CHECK_FALSE(is_terminal(-1));
    CHECK(terminal_width(-1) == 0);

    const Handle terminal{::posix_openpt(O_RDWR | O_NOCTTY)};
    REQUIRE(terminal.get() >= 0);
    CHECK(is_terminal(terminal.get()));
    CHECK(terminal_width(terminal.get()) == 0);
    winsize size{};
    size.ws_col = 132;
    REQUIRE(::ioctl(terminal.get(), TIOCSWINSZ, &size) == 0);
    CHECK(terminal_width(terminal.get()) == 132);
}

TEST_CASE("a message is written whole, and where nobody reads it, or it does not fit, the program goes on") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    Handle reader{ends[0]};
    const Handle writer{ends[1]};
    write_message(writer.get(), "all of it");
    char text[64];
    CHECK(std::string(text, static_cast<std::size_t>(::read(reader.get(), text, sizeof text))) == "all of it");

    REQUIRE(::fcntl(writer.get(), F_SETFL, O_NONBLOCK) == 0);
    write_message(writer.get(), std::string(10'000'000, 'x'));

    reader = Handle{};
    sigset_t before;
    REQUIRE(::pthread_sigmask(SIG_SETMASK, nullptr, &before) == 0);
    support::ForkedChild child{[&] {
        ::signal(SIGPIPE, SIG_DFL);
        write_message(writer.get(), "to nobody");
        sigset_t pending;
        sigset_t after;
        ::sigpending(&pending);
        ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
        return ::sigismember(&pending, SIGPIPE) == 0 && ::sigismember(&after, SIGPIPE) == 0 ? 0 : 1;
    }};
    CHECK(child.join(30s) == 0);
}

TEST_CASE("a broken pipe's signal that waited before is not taken") {
    support::ForkedChild child{[&] {
        int ends[2];
        if (::pipe(ends) != 0) return 2;
        ::close(ends[0]);
        sigset_t broken;
        ::sigemptyset(&broken);
        ::sigaddset(&broken, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &broken, nullptr);
        ::raise(SIGPIPE);
        write_message(ends[1], "to nobody");
        sigset_t pending;
        ::sigpending(&pending);
        return ::sigismember(&pending, SIGPIPE) == 1 ? 0 : 1;
    }};
    CHECK(child.join(30s) == 0);
}
