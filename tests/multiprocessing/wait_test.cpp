// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pipe.hpp>
#include <plait/multiprocessing/wait.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/misbehaviour.hpp"
#include "support/process_state.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace support;
using plait::EndOfStream;
using plait::UsageError;
using plait::multiprocessing::Connection;
using plait::multiprocessing::Pipe;
using plait::multiprocessing::PipeEnds;
using plait::multiprocessing::Waitable;
using plait::multiprocessing::detail::ConnectionAccess;

namespace {

namespace mp = plait::multiprocessing;

/// Like a Process: it has a handle that becomes readable.
struct Sentinel {
    int sentinel() { return ConnectionAccess::endpoint(ends.second).native(); }
    PipeEnds ends = Pipe();
};

using List = std::vector<Waitable>;

}  // namespace

TEST_CASE("a wait returns those that are ready, in the order given, and nothing at its end") {
    auto [a, b] = Pipe();
    auto [c, d] = Pipe();
    Sentinel process;
    const auto before = std::chrono::steady_clock::now();
    CHECK(mp::wait({b, d, process}, 0s).empty());
    CHECK(mp::wait({b, d, process}, 10ms).empty());
    CHECK(std::chrono::steady_clock::now() - before >= 10ms);
    c.send(1);
    CHECK(mp::wait({b, d, process}) == List{d});
    process.ends.first.close();
    CHECK(mp::wait({b, d, process}, 30s) == List{d, process});
    a.close();
    CHECK(mp::wait({process.sentinel(), b, d}, 30s) == List{process.sentinel(), b, d});
    CHECK(mp::wait({d, b}, 30s)[0] == d);
    CHECK(mp::wait({d, b}, 30s)[0] != b);
    CHECK_FALSE((mp::wait({d}, 30s)[0] == process));
    CHECK(mp::wait({process}, 30s)[0].native_handle() == process.sentinel());
}

TEST_CASE("a wait for nothing ends in time") {
    CHECK(mp::wait(List{}, 1ms).empty());
    CHECK(mp::wait({}, 1ms).empty());
}

TEST_CASE("a wait takes ranges of whatever can be waited for") {
    std::vector<Connection> connections;
    std::vector<int> handles;
    auto [a, b] = Pipe();
    auto [c, d] = Pipe();
    connections.push_back(std::move(b));
    connections.push_back(std::move(d));
    for (const Connection& each : connections) handles.push_back(ConnectionAccess::endpoint(each).native());
    c.send(1);
    CHECK(mp::wait(handles, 30s) == List{handles[1]});
    CHECK(mp::wait(connections, 30s) == List{connections[1]});
    CHECK(mp::wait(std::span{connections}, 30s) == List{connections[1]});
    std::vector<Sentinel> processes(2);
    processes[0].ends.first.close();
    CHECK(mp::wait(processes, 30s) == List{processes[0]});
}

TEST_CASE("a message that was received together with another makes a connection ready") {
    auto [left, right] = Pipe();
    left.send(1);
    left.send(2);
    CHECK(right.recv<int>() == 1);
    CHECK(mp::wait({right}, 0s) == List{right});
    CHECK(right.recv<int>() == 2);
    CHECK(mp::wait({right}, 0s).empty());
}

TEST_CASE("a connection is ready when a message is whole, not before") {
    auto [left, right] = Pipe();
    std::thread sender{[&, &end = left] { end.send_bytes(std::vector<std::byte>(1 << 20)); }};
    const auto ready = mp::wait({right}, 30s);
    const bool whole = ready.size() == 1 && right.recv_bytes(0s).size() == 1 << 20;
    sender.join();
    CHECK(whole);
}

TEST_CASE("a wait ends when a process that is waited for is killed, or one that has the other end") {
    auto [left, right] = Pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        right.close();
        for (;;) ::pause();
    }
    left.close();
    std::thread killer{[&] { ::kill(child, SIGKILL); }};
    const auto ready = mp::wait({right}, 30s);
    killer.join();
    ::waitpid(child, nullptr, 0);
    CHECK(ready == List{right});
    CHECK_THROWS_AS(right.recv<int>(), EndOfStream);
}

TEST_CASE("a closed connection, or one that only sends, cannot be waited for") {
    auto [left, right] = Pipe();
    auto [reader, writer] = Pipe(false);
    CHECK_THROWS_AS(mp::wait({left, writer}, 1ms), UsageError);
    right.close();
    CHECK_THROWS_AS(mp::wait({left, right}, 1ms), UsageError);
    const Connection moved = std::move(left);
    CHECK_THROWS_AS(mp::wait({left}, 1ms), UsageError);
    // Those that were looked at before are not held open.
    auto [a, b] = Pipe();
    CHECK_THROWS_AS(mp::wait({a, right}, 1ms), UsageError);
    a.close();
    CHECK_THROWS_AS(b.recv<int>(30s), EndOfStream);
}

TEST_CASE("a wait ends with an error when another thread closes one of its connections") {
    auto [left, right] = Pipe();
    bool ended = false;
    std::atomic<int> thread{0};
    std::thread waiter{[&, &end = right] {
        thread = ::gettid();
        ended = caught<UsageError>([&] { mp::wait({end}); }).has_value();
    }};
    CHECK(within(30s, [&] {
        const auto state = thread != 0 ? process_state(thread) : std::nullopt;
        return state && state->state == 'S';
    }));
    right.close();
    waiter.join();
    CHECK(ended);
    CHECK_THROWS_AS(left.recv<int>(30s), EndOfStream);
}

TEST_CASE("a wait leaves a connection alone that another thread is receiving from") {
    auto [left, right] = Pipe();
    auto [a, b] = Pipe();
    int received = 0;
    std::thread receiver{[&, &end = right] { received = end.recv<int>(30s); }};
    CHECK(within(30s, [&, &end = right] {
        return ConnectionAccess::endpoint(end).look(false) == plait::multiprocessing::detail::Endpoint::State::busy;
    }));
    CHECK(mp::wait({right, b}, 20ms).empty());
    a.send(1);
    CHECK(mp::wait({right, b}, 30s) == List{b});
    left.send(5);
    receiver.join();
    CHECK(received == 5);
    left.send(6);
    CHECK(mp::wait({right}, 30s) == List{right});
}

TEST_CASE("more than a thousand are waited for at once") {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit before = limit;
    limit.rlim_cur = (std::min)(rlim_t{8192}, limit.rlim_max);
    if (limit.rlim_cur < 4096 || ::setrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    {
        std::vector<Connection> here;
        std::vector<Connection> there;
        for (int i = 0; i < 1500; ++i) {
            auto [left, right] = Pipe();
            here.push_back(std::move(left));
            there.push_back(std::move(right));
        }
        CHECK(mp::wait(here, 0s).empty());
        there[700].send(1);
        there[1400].close();
        CHECK(mp::wait(here, 30s) == List{here[700], here[1400]});
    }
    ::setrlimit(RLIMIT_NOFILE, &before);
}
