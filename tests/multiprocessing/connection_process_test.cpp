// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pipe.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/wait.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

// Connections as arguments of processes, by every start method.

using namespace std::chrono_literals;
using namespace support;
using plait::EndOfStream;
using plait::multiprocessing::Connection;
using plait::multiprocessing::Pipe;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::Waitable;

namespace {

namespace mp = plait::multiprocessing;

ProcessOptions by_any_start_method() {
    return {.start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork)};
}

void answer(Connection end) {
    for (;;) {
        const int number = end.recv<int>();
        if (number == 0) return;
        end.send(number + 1);
    }
}
void hand_on(Connection from, Connection to) { to.send(from.recv<Connection>()); }
void wait_for_nothing(Connection end) {
    try {
        static_cast<void>(end.recv<int>());
    } catch (const EndOfStream&) {
        exit_with(3);
    }
}

}  // namespace

TEST_CASE("a process talks through a connection that it was given, and its end is the end of the stream") {
    auto [left, right] = Pipe();
    Process child(by_any_start_method(), answer, std::move(right));
    child.start();
    for (int i = 1; i < 100; ++i) {
        left.send(i);
        REQUIRE(left.recv<int>(30s) == i + 1);
    }
    left.send(0);
    child.join();
    CHECK(child.exitcode() == 0);
    CHECK_THROWS_AS(left.recv<int>(30s), EndOfStream);
}

TEST_CASE("a process receives a connection and hands it on") {
    auto [to_child, child_in] = Pipe();
    auto [child_out, from_child] = Pipe();
    auto [left, right] = Pipe();
    Process child(by_any_start_method(), hand_on, std::move(child_in), std::move(child_out));
    child.start();
    to_child.send(std::move(right));
    auto back = from_child.recv<Connection>(30s);
    child.join();
    left.send("through another process");
    CHECK(back.recv<std::string>(30s) == "through another process");
    back.close();
    CHECK_THROWS_AS(left.recv<int>(30s), EndOfStream);
}

TEST_CASE("a wait tells a process's message from its end") {
    auto [left, right] = Pipe();
    Process child(by_any_start_method(), answer, std::move(right));
    child.start();
    left.send(1);
    CHECK(mp::wait({left, child}, 30s) == std::vector<Waitable>{left});
    CHECK(left.recv<int>() == 2);
    child.kill();
    auto ready = mp::wait({child.sentinel()}, 30s);
    CHECK(ready == std::vector<Waitable>{child});
    // The system closes what it had one after the other.
    CHECK(mp::wait({left}, 30s) == std::vector<Waitable>{left});
    CHECK(mp::wait({left, child}, 30s) == std::vector<Waitable>{left, child});
    CHECK_THROWS_AS(left.recv<int>(), EndOfStream);
    child.join();
}

TEST_CASE("a process whose connection's other end is closed sees the end of the stream") {
    // By fork it would have a copy of this end too.
    const ProcessOptions options{.start_method = GENERATE(StartMethod::forkserver, StartMethod::spawn)};
    auto [left, right] = Pipe();
    auto [other_left, other_right] = Pipe();
    Process child(options, wait_for_nothing, std::move(right));
    child.start();
    // Another one, started between, has nothing of the first one's.
    Process other(options, answer, std::move(other_right));
    other.start();
    left.close();
    child.join();
    CHECK(child.exitcode() == 3);
    other_left.send(0);
    other.join();
}
