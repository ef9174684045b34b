// SPDX-License-Identifier: MIT
#include <plait/core/error.hpp>

#include "support/catch.hpp"

#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>

using namespace plait;

TEST_CASE("what goes wrong at run time is an Error, and what the program does wrong is not") {
    STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, Error>);
    STATIC_REQUIRE(std::is_base_of_v<Error, TimeoutError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, BrokenPromiseError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, PoolTerminatedError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, BrokenPoolError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, CodecError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, EndOfStream>);
    STATIC_REQUIRE(std::is_base_of_v<EndOfStream, IncompleteReadError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, LimitOverrunError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, KeyboardInterrupt>);
    STATIC_REQUIRE(std::is_base_of_v<std::logic_error, UsageError>);
    STATIC_REQUIRE_FALSE(std::is_base_of_v<Error, UsageError>);
}

TEST_CASE("a killed task's timeout is a TimeoutError that says which task and process") {
    try {
        throw TaskTimeoutError("too slow", 17, 3);
    } catch (const TimeoutError& error) {
        CHECK(std::string(error.what()) == "too slow");
    }
    const TaskTimeoutError error("too slow", 17, 3);
    CHECK(error.pid() == 17);
    CHECK(error.task() == 3);
}

TEST_CASE("a cancellation passes by whoever catches std::exception") {
    bool swallowed = false;
    std::string message;
    try {
        try {
            throw CancelledError("enough");
        } catch (const std::exception&) {
            swallowed = true;
        }
    } catch (const CancelledError& error) {
        message = error.message();
    }
    CHECK_FALSE(swallowed);
    CHECK(message == "enough");
    CHECK(std::string(CancelledError().what()) == "cancelled");
}

TEST_CASE("a process that died tells a signal from an exit code") {
    const ProcessDied killed("killed", 17, -9);
    CHECK(killed.pid() == 17);
    CHECK(killed.signal() == 9);
    CHECK(killed.exitcode() == -9);
    CHECK(ProcessDied("left", 17, 3).signal() == 0);
}

TEST_CASE("an exception from afar keeps its type's name, its text and its place") {
    const RemoteError error("Oops", "it broke", "process 17");
    CHECK(error.type_name() == "Oops");
    CHECK(error.text() == "it broke");
    CHECK(error.where() == "process 17");
    CHECK(std::string(error.what()) == "Oops: it broke (in process 17)");
}

TEST_CASE("a stream that ended early tells what there was, and what there should have been") {
    const IncompleteReadError counted("abc", 10);
    CHECK(counted.partial() == "abc");
    CHECK(counted.expected() == 10);
    CHECK(std::string(counted.what()) == "the stream ended after 3 of 10 bytes");
    const IncompleteReadError line("abc", 0);
    CHECK(std::string(line.what()) == "the stream ended after 3 bytes, before the separator that was asked for");
    const LimitOverrunError overrun("too long", 7);
    CHECK(std::string(overrun.what()) == "too long");
    CHECK(overrun.consumed() == 7);
}

TEST_CASE("a program that failed, or ran too long, is told with its command and what it wrote") {
    const CalledProcessError failed("it failed", "ls -l", -9, "out", "err");
    CHECK(failed.command() == "ls -l");
    CHECK(failed.returncode() == -9);
    CHECK(failed.out() == "out");
    CHECK(failed.err() == "err");
    try {
        throw TimeoutExpired("too slow", "ls -l", "out", "err");
    } catch (const TimeoutError& error) {
        CHECK(std::string(error.what()) == "too slow");
    }
    const TimeoutExpired expired("too slow", "ls -l", "out", "err");
    CHECK(expired.command() == "ls -l");
    CHECK(expired.out() == "out");
    CHECK(expired.err() == "err");
}
