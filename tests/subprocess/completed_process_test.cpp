// SPDX-License-Identifier: MIT
#include <plait/subprocess/completed_process.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"

#include <string>

using plait::CalledProcessError;
using plait::subprocess::CompletedProcess;
using support::caught;

TEST_CASE("a program that succeeded passes the check") {
    const CompletedProcess completed{{"true"}, 0, "", ""};
    CHECK_FALSE(caught<CalledProcessError>([&] { completed.check_returncode(); }));
}

TEST_CASE("a program that failed is told with its command, its code, and what it wrote") {
    const CompletedProcess completed{{"grep", "a b", "file"}, 2, "out", "err"};
    const auto error = caught<CalledProcessError>([&] { completed.check_returncode(); });
    REQUIRE(error);
    CHECK(error->returncode() == 2);
    CHECK(error->command() == "grep 'a b' file");
    CHECK(error->out() == "out");
    CHECK(error->err() == "err");
    CHECK(std::string(error->what()) == "command `grep 'a b' file` ended with code 2");
}

TEST_CASE("a program that a signal ended is told with the signal's name") {
    const CompletedProcess completed{{"crash"}, -11, "", ""};
    const auto error = caught<CalledProcessError>([&] { completed.check_returncode(); });
    REQUIRE(error);
    CHECK(std::string(error->what()).find("was killed by SIGSEGV") != std::string::npos);
}
