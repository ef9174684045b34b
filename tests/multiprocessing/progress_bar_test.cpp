// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/progress_bar.hpp>

#include "support/catch.hpp"
#include "support/forked_child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::Progress;
using plait::multiprocessing::ProgressBar;
using plait::multiprocessing::detail::columns_of;
using plait::os::Handle;

namespace {

/// All that comes from `reader` until the other end is gone.
std::string read_all(const Handle& reader) {
    std::string all;
    for (;;) {
        pollfd item{reader.get(), POLLIN, 0};
        if (::poll(&item, 1, 30'000) <= 0) return all + "(and then nothing for 30 s)";
        char buffer[4096];
        const ssize_t size = ::read(reader.get(), buffer, sizeof buffer);
        if (size <= 0) return all;  // a terminal without another end is an error of its own
        all.append(buffer, static_cast<std::size_t>(size));
    }
}

/// What a copy of this program that runs `body` writes to the standard error that it is given.
template <class Body>
std::string written_to(Handle reader, Handle writer, const char* term, Body body) {
    support::ForkedChild child{[&] {
        ::setenv("TERM", term, 1);
        ::setenv("LC_ALL", "C.UTF-8", 1);
        ::dup2(writer.get(), STDERR_FILENO);
        writer = Handle{};
        body();
        return 0;
    }};
    writer = Handle{};
    std::string all = read_all(reader);
    return child.join(30s) == 0 ? all : all + "(and then it failed)";
}

template <class Body>
std::string on_terminal(unsigned short width, Body body, const char* term = "xterm") {
    Handle reader{::posix_openpt(O_RDWR | O_NOCTTY)};
    char name[128];
    if (::grantpt(reader.get()) != 0 || ::unlockpt(reader.get()) != 0 ||
        ::ptsname_r(reader.get(), name, sizeof name) != 0)
        throw std::runtime_error("no terminal can be had");
    Handle writer{::open(name, O_RDWR | O_NOCTTY)};
    winsize size{};
    size.ws_col = width;
    ::ioctl(writer.get(), TIOCSWINSZ, &size);
    return written_to(std::move(reader), std::move(writer), term, body);
}

template <class Body>
std::string in_pipe(Body body) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe");
    return written_to(Handle{ends[0]}, Handle{ends[1]}, "xterm", body);
}

/// What was drawn, one picture after the other.
std::vector<std::string> pictures_of(const std::string& all) {
    std::vector<std::string> pictures;
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t end = (std::min)(all.find('\r', at), all.size());
        if (end > at) pictures.push_back(all.substr(at, end - at));
        at = end + 1;
    }
    return pictures;
}

}  // namespace

TEST_CASE("on a terminal a bar is drawn in place, and its line is complete with the last item") {
    const auto all = on_terminal(60, [] {
        ProgressBar bar("parsing");
        bar.update(0, 2);
        bar.update(2, 2);
        bar.close();
    });
    CHECK(all.find('\n') == all.size() - 1);
    const auto pictures = pictures_of(all);
    REQUIRE(pictures.size() == 3);
    CHECK(pictures[0].starts_with("parsing:   0%|   "));
    CHECK(pictures[1].starts_with("parsing: 100%|███"));
    CHECK(columns_of(pictures[0]) == 59);
    CHECK(columns_of(pictures[1]) == 59);
    CHECK(pictures[2] == "\n");
    CHECK(all.find('\033') == std::string::npos);
}

TEST_CASE("a bar is drawn ten times a second at most") {
    const auto begin = std::chrono::steady_clock::now();
    const auto all = on_terminal(80, [] {
        ProgressBar bar;
        for (std::size_t i = 0; i <= 50'000; ++i) bar.update(i, 50'000);
    });
    const auto took = std::chrono::steady_clock::now() - begin;
    const auto pictures = static_cast<long>(pictures_of(all).size());
    CHECK(pictures >= 3);
    CHECK(pictures <= 4 + took / 100ms);
}

TEST_CASE("a bar that is told less often than it may draw draws each time, until its clock says so") {
    const auto all = on_terminal(80, [] {
        ProgressBar bar;
        bar.update(1, 3);
        const auto begin = std::chrono::steady_clock::now();
        while (std::chrono::steady_clock::now() - begin < 110ms) std::this_thread::yield();
        bar.update(2, 3);
        bar.update(3, 3);
    });
    CHECK(pictures_of(all).size() == 4);
}

TEST_CASE("a bar follows the terminal's width, and covers what was longer") {
    const auto all = on_terminal(0, [] {
        ProgressBar bar("parsing");
        bar.update(0, 2);
        winsize size{};
        size.ws_col = 20;
        ::ioctl(STDERR_FILENO, TIOCSWINSZ, &size);
        bar.update(2, 2);
    });
    const auto pictures = pictures_of(all);
    REQUIRE(pictures.size() == 3);
    CHECK(columns_of(pictures[0]) == 79);  // unknown: 80
    CHECK(pictures[1] == "parsing: 100% 2/2  ");
}

TEST_CASE("in a pipe and on a dumb terminal a bar is one line, at its end") {
    const auto body = [] {
        ProgressBar bar("parsing");
        for (std::size_t i = 0; i <= 1000; ++i) bar.update(i, 1000);
    };
    const auto line = in_pipe(body);
    CHECK(line.starts_with("parsing: 1000/1000 in 00:0"));
    CHECK(std::count(line.begin(), line.end(), '\n') == 1);
    CHECK(line.find('\r') == std::string::npos);
    CHECK(on_terminal(80, body, "dumb").starts_with("parsing: 1000/1000 in 00:0"));
}

TEST_CASE("a bar that goes early says where it stood, and one that was told of nothing says nothing") {
    CHECK(in_pipe([] {
              ProgressBar bar("parsing");
              bar.update(1, 3);
              bar.update(2, 3);
          }).starts_with("parsing: 2/3 in 00:0"));
    CHECK(on_terminal(80, [] {
              ProgressBar bar("parsing");
              bar.update(1, 3);
              bar.update(2, 3);
          }).find("2/3") != std::string::npos);
    CHECK(in_pipe([] { const ProgressBar bar("parsing"); }).empty());
    CHECK(in_pipe([] {
              ProgressBar bar("nothing");
              bar.update(0, 0);
          }).starts_with("nothing: 0/0 in 00:00"));
}

TEST_CASE("a map may be told of longer than its bar lives, and two maps have a line each") {
    CHECK(in_pipe([] {
              std::optional<ProgressBar> bar{std::in_place, "gone"};
              const Progress progress = *bar;
              bar.reset();
              progress(1, 1);
          }).empty());
    const auto lines = in_pipe([] {
        ProgressBar bar("twice");
        const Progress progress = bar;
        progress(1, 2);
        progress(2, 2);
        progress(0, 3);
        progress(3, 3);
    });
    CHECK(lines.starts_with("twice: 2/2"));
    CHECK(lines.find("\ntwice: 3/3") != std::string::npos);
    CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
}

TEST_CASE("a label's control characters do nothing on the terminal") {
    CHECK(in_pipe([] {
              ProgressBar bar("a\nb\033[31mc");
              bar.update(1, 1);
          }).starts_with("a b [31mc: 1/1"));
}

TEST_CASE("several threads may show one bar, and standard error may be closed") {
    const auto line = in_pipe([] {
        ProgressBar bar("both");
        const auto show = [&] {
            for (std::size_t i = 0; i < 1000; ++i) bar.update(i, 1001);
        };
        std::thread other{show};
        show();
        other.join();
        bar.update(1001, 1001);
    });
    CHECK(line.starts_with("both: 1001/1001"));
    CHECK(in_pipe([] {
              ProgressBar bar("nobody");
              ::close(STDERR_FILENO);
              bar.update(1, 1);
          }).empty());
}
