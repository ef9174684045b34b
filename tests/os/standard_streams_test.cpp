// SPDX-License-Identifier: MIT
#include <plait/os/standard_streams.hpp>

#include "support/catch.hpp"
#include "support/gate.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>

using plait::os::flush_standard_streams;

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
    std::ifstream in{file};
    CHECK(std::string{std::istreambuf_iterator<char>{in}, {}} == "stdio cout more");
    std::ifstream other{folder.file("other")};
    CHECK(std::string{std::istreambuf_iterator<char>{other}, {}}.empty());
}

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
