// SPDX-License-Identifier: MIT
#include <plait/os/standard_streams.hpp>

#include "support/catch.hpp"
#include "support/forked_child.hpp"
#include "support/gate.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cwchar>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>

#if defined(__GLIBCXX__)
#  include <ext/stdio_sync_filebuf.h>
#endif

using namespace std::chrono_literals;
using plait::os::flush_standard_streams;

namespace {

std::string content_of(const std::string& file) {
    std::ifstream in{file};
    return {std::istreambuf_iterator<char>{in}, {}};
}

/// What a copy of this program leaves in a file that its stdout is when `body` has run.
template <class Body>
std::string printed_by(Body body) {
    const support::TemporaryFolder folder;
    support::ForkedChild child{[&] {
        if (std::freopen(folder.file("out").c_str(), "w", stdout) == nullptr) return 1;
        body();
        return 0;
    }};
    return child.join(30s) == 0 ? content_of(folder.file("out")) : "no child";
}

}  // namespace

TEST_CASE("what waits in the standard streams is written out, and nothing of others") {
    const support::TemporaryFolder folder;
    const auto file = folder.file("out");
    const pid_t child = ::fork();
    if (child == 0) {
        if (std::freopen(file.c_str(), "w", stdout) == nullptr) ::_exit(1);
        std::ios_base::sync_with_stdio(false);
        std::fputs("stdio ", stdout);
        std::fflush(stdout);
        std::cout << "cout ";
        std::fputs("more", stdout);
        std::FILE* const other = std::fopen(folder.file("other").c_str(), "w");
        std::fputs("of another stream", other);
        flush_standard_streams();
        ::_exit(0);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    REQUIRE(status == 0);
    CHECK(content_of(file) == "stdio cout more");
    CHECK(content_of(folder.file("other")).empty());
}

TEST_CASE("what cout and C's stream print by turns is written out in that order, each time") {
    CHECK(printed_by([] {
              flush_standard_streams();
              std::fputs("one ", stdout);
              flush_standard_streams();
              std::cout << "two ";
              std::fputs("three ", stdout);
              flush_standard_streams();
              std::cout << "four";
              flush_standard_streams();
          }) == "one two three four");
}

TEST_CASE("what waits in a wide stream is written out") {
    CHECK(printed_by([] {
              std::fputws(L"wide", stdout);
              flush_standard_streams();
          }) == "wide");
}

TEST_CASE("a stream buffer of the program's own is written out, whatever it keeps its content in") {
    struct Hoarding : std::streambuf {
        std::string kept;
        int overflow(int c) override {
            kept += static_cast<char>(c);
            return c;
        }
        int sync() override {
            std::fputs(kept.c_str(), stdout);
            kept.clear();
            return 0;
        }
    };
    CHECK(printed_by([] {
              Hoarding hoarding;
              flush_standard_streams();
              std::streambuf* const before = std::clog.rdbuf(&hoarding);
              std::clog << "kept";
              flush_standard_streams();
              std::clog.rdbuf(before);
          }) == "kept");
}

#if defined(__GLIBCXX__)
TEST_CASE("cout handed to another stream of C's has that written out") {
    const support::TemporaryFolder folder;
    support::ForkedChild child{[&] {
        std::FILE* const other = std::fopen(folder.file("other").c_str(), "w");
        __gnu_cxx::stdio_sync_filebuf<char> buffer{other};
        std::streambuf* const before = std::cout.rdbuf(&buffer);
        std::cout << "elsewhere";
        flush_standard_streams();
        std::cout.rdbuf(before);
        return 0;
    }};
    CHECK(child.join(30s) == 0);
    CHECK(content_of(folder.file("other")) == "elsewhere");
}

#  if defined(__linux__) && !defined(PLAIT_PORTABLE_POSIX)
TEST_CASE("where nothing waits no lock is taken") {
    support::ForkedChild child{[] {
        std::fflush(stdout);
        std::thread{[] {
            ::flockfile(stdout);
            ::flockfile(stderr);
        }}.join();
        flush_standard_streams();
        return 0;
    }};
    CHECK(child.join(30s) == 0);
}
#  endif
#endif

TEST_CASE("flushing does not wait for a thread that reads standard input") {
    const support::TemporaryFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        int ends[2];
        if (::pipe(ends) != 0 || ::dup2(ends[0], 0) != 0) ::_exit(1);
        std::thread reader{[] { static_cast<void>(std::getchar()); }};
        for (int i = 0; i < 1000; ++i) flush_standard_streams();
        ::_exit(0);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
}

TEST_CASE("a stream buffer that throws harms nobody") {
    struct Throwing : std::streambuf {
        int sync() override { throw 1; }
    } throwing;
    std::streambuf* const before = std::cout.rdbuf(&throwing);
    flush_standard_streams();
    std::cout.rdbuf(before);
    SUCCEED();
}
