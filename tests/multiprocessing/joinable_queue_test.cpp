// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/joinable_queue.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/forked_child.hpp"

#include <plait/multiprocessing/process.hpp>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::CodecError;
using plait::QueueEmpty;
using plait::QueueFull;
using plait::QueueShutDown;
using plait::UsageError;
using plait::multiprocessing::JoinableQueue;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;
using support::ForkedChild;
using support::within;

namespace {

constexpr auto soon = 30s;

void work(JoinableQueue<int> jobs, JoinableQueue<int> results) {
    for (;;) {
        const int job = jobs.get(soon);
        if (job != 0) results.put(job * job);
        jobs.task_done();
        if (job == 0) return;
    }
}

}  // namespace

TEST_CASE("a join waits until all that was put is done, and no longer") {
    const JoinableQueue<int> queue(3);
    queue.join();
    CHECK(queue.join(0s));
    queue.put(1);
    queue.put(2, 1s);
    queue.put_nowait(3);
    CHECK_THROWS_AS(queue.put_nowait(4), QueueFull);
    CHECK_FALSE(queue.join(0s));
    CHECK_FALSE(queue.join(-1s));
    CHECK(queue.get() == 1);
    CHECK(queue.get(soon) == 2);
    CHECK(queue.get_nowait() == 3);
    CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
    queue.task_done();
    queue.task_done();
    CHECK_FALSE(queue.join(10ms));
    queue.task_done();
    CHECK(queue.join(0s));
    CHECK_THROWS_AS(queue.task_done(), UsageError);
    CHECK(queue.join(0s));
}

TEST_CASE("a join is woken by the last task_done of other processes, and waits for what is put meanwhile") {
    const auto method = GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
    const JoinableQueue<int> jobs;
    const JoinableQueue<int> results;
    Process one(ProcessOptions{.start_method = method}, work, jobs, results);
    Process other(ProcessOptions{.start_method = method}, work, jobs, results);
    one.start();
    other.start();
    for (int job = 1; job <= 100; ++job) jobs.put(job);
    CHECK(jobs.join(soon));
    CHECK(results.qsize() == 100);
    jobs.put(0);
    jobs.put(0);
    jobs.join();
    CHECK(one.join(soon));
    CHECK(other.join(soon));
    int sum = 0;
    while (!results.empty()) {
        sum += results.get();
        results.task_done();
    }
    CHECK(sum == 338'350);
    CHECK(results.join(0s));
}

TEST_CASE("who joins sleeps, and is woken at the end") {
    const JoinableQueue<int> queue;
    queue.put(1);
    ForkedChild child{[&] { return queue.join(soon) ? 0 : 1; }};
    REQUIRE(within(soon, [&] { return queue.waiting() == 1; }));
    queue.get();
    queue.task_done();
    CHECK(child.join() == 0);
}

TEST_CASE("what a process had taken when it died is never done, and a join with a timeout says so") {
    const JoinableQueue<int> queue;
    queue.put(1);
    ForkedChild child{[&] { return queue.get(soon); }};
    CHECK(child.join() == 1);
    CHECK(queue.empty());
    CHECK_FALSE(queue.join(10ms));
    queue.task_done();  // who knows of the death may say it in its place
    CHECK(queue.join(0s));
}

TEST_CASE("a shutdown at once counts what it drops as done, and not what was taken") {
    const JoinableQueue<std::string> queue(4);
    queue.put(std::string(1'000'000, 'x'));
    queue.put("two");
    queue.put("three");
    CHECK(queue.get().size() == 1'000'000);
    ForkedChild child{[&] { return queue.join(soon) ? 0 : 1; }};
    REQUIRE(within(soon, [&] { return queue.waiting() == 1; }));
    queue.shutdown(true);
    CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
    CHECK(queue.is_shutdown());
    CHECK(queue.empty());
    CHECK_FALSE(queue.full());
    CHECK(queue.maxsize() == 4);
    CHECK_FALSE(queue.join(0s));
    queue.task_done();
    CHECK(queue.join(0s));
    CHECK(child.join() == 0);
}

TEST_CASE("who joins a queue that is closed is woken") {
    const JoinableQueue<int> queue;
    queue.put(1);
    bool told = false;
    std::thread thread([&] {
        try {
            queue.join();
        } catch (const UsageError&) {
            told = true;
        }
    });
    REQUIRE(within(soon, [&] { return queue.waiting() == 1; }));
    queue.close();
    thread.join();
    CHECK(told);
}

TEST_CASE("a joinable queue is no mere bytes") {
    const JoinableQueue<int> queue;
    CHECK_THROWS_AS(plait::multiprocessing::encode(queue), CodecError);
    CHECK(JoinableQueue<int>(queue) == queue);
}
