// SPDX-License-Identifier: MIT
#include "support/harness.hpp"

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/leak_check.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// A child that waits until it is killed, at the latest with this process.
int waiting_child() {
    const int child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) ::pause();
    }
    return child;
}

void end(int child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
}

/// A thread called `name` that never ends.
std::thread endless_thread(const char* name) {
    static std::atomic<bool> named{false};
    std::thread thread{[name] {
        ::pthread_setname_np(::pthread_self(), name);
        named = true;
        for (;;) ::pause();
    }};
    while (!named) std::this_thread::yield();
    return thread;
}

bool mentions(const std::vector<std::string>& sentences, const std::string& words) {
    return std::any_of(sentences.begin(), sentences.end(),
                       [&](const std::string& sentence) { return sentence.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("within says whether the predicate came to hold") {
    std::atomic<int> calls{0};
    CHECK(support::within(10s, [&] { return ++calls == 3; }));
    CHECK(calls == 3);
    CHECK_FALSE(support::within(1ms, [] { return false; }));
    CHECK(support::within(0ms, [] { return true; }));
}

TEST_CASE("a child is seen alive, as a zombie, and gone") {
    const int child = waiting_child();
    REQUIRE(child > 0);
    CHECK(support::is_alive(child));
    REQUIRE(support::children().size() == 1);
    CHECK(support::children()[0].pid == child);
    CHECK(support::descendants(::getpid()).size() == 1);

    ::kill(child, SIGKILL);
    CHECK(support::within(10s, [&] { return support::is_zombie(child); }));
    CHECK_FALSE(support::is_alive(child));
    ::waitpid(child, nullptr, 0);
    CHECK_FALSE(support::is_zombie(child));
    CHECK_FALSE(support::process_state(child));
    CHECK(support::children().empty());
}

TEST_CASE("holdings tell a descriptor, a thread and a child that came, and a descriptor that went") {
    const int old_descriptor = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const auto before = support::Holdings::now();
    CHECK(before.changes_since(before).empty());

    const int descriptor = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    std::atomic<bool> named{false};
    std::atomic<bool> stop{false};
    std::thread thread{[&] {
        ::pthread_setname_np(::pthread_self(), "straggler");
        named = true;
        while (!stop) std::this_thread::yield();
    }};
    CHECK(support::within(10s, [&] { return named.load(); }));
    const int child = waiting_child();
    ::close(old_descriptor);

    std::vector<std::string> changes;
    // Other programs' names come and go meanwhile.
    CHECK(support::within(10s, [&] {
        changes = support::Holdings::now().changes_since(before);
        return changes.size() == 4;
    }));
    CHECK(mentions(changes, "/dev/zero"));
    CHECK(mentions(changes, "was closed: /dev/null"));
    CHECK(mentions(changes, "straggler"));
    CHECK(mentions(changes, "child " + std::to_string(child) + " is alive"));

    stop = true;
    thread.join();
    end(child);
    ::close(descriptor);
}

TEST_CASE("the shared timer thread is no leak") {
    const auto before = support::Holdings::now();
    std::atomic<bool> named{false};
    std::atomic<bool> stop{false};
    std::thread thread{[&] {
        ::pthread_setname_np(::pthread_self(), "plait-timer");
        named = true;
        while (!stop) std::this_thread::yield();
    }};
    CHECK(support::within(10s, [&] { return named.load(); }));
    CHECK(support::within(10s, [&] { return support::Holdings::now().changes_since(before).empty(); }));
    stop = true;
    thread.join();
}

// The cases below fail on purpose: each is run on its own, and what the harness says of it is compared.

TEST_CASE("a hang", "[.]") {
    waiting_child();
    endless_thread("second").join();
}

TEST_CASE("a descriptor left open", "[.]") { CHECK(::open("/dev/full", O_WRONLY | O_CLOEXEC) >= 0); }

TEST_CASE("a child left alive", "[.]") { CHECK(waiting_child() > 0); }

TEST_CASE("a child left unreaped", "[.]") {
    const int child = ::fork();
    if (child == 0) ::_exit(0);
    CHECK(support::within(10s, [&] { return support::is_zombie(child); }));
}

TEST_CASE("a thread left running", "[.]") { endless_thread("forgotten").detach(); }
