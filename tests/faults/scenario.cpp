// SPDX-License-Identifier: MIT
#include <plait/multiprocessing.hpp>

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

// One piece of work, done again where it fails: `sweep.py` has each of its system calls fail once.
//
// A failure may be an exception, and nothing else: no hang, no wrong value, no end of the program, nothing left behind;
// and the next try has no reason to fail.

using namespace std::chrono_literals;
namespace mp = plait::multiprocessing;

namespace {

/// What a log of the program's system calls is cut by.
void mark(const char* where) { static_cast<void>(::access(where, F_OK)); }

std::size_t count_descriptors() {
    std::size_t count = 0;
    DIR* const open = ::opendir("/proc/self/fd");
    while (open != nullptr && ::readdir(open) != nullptr) ++count;
    if (open != nullptr) ::closedir(open);
    return count;
}

int wrong(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    return 1;
}

void give_back(mp::Connection end, int value) { end.send(value + 1); }

/// Starts a child, talks with it, and joins it. Returns what is wrong, or nothing.
std::string start(mp::StartMethod method) {
    auto [ours, theirs] = mp::Pipe();
    mp::Process child(mp::ProcessOptions{.start_method = method}, give_back, std::move(theirs), 6);
    child.start();
    if (!ours.poll(20s)) return "the child does not answer";
    if (ours.recv<int>() != 7) return "the child answers something else";
    if (!child.join(20s)) return "the child does not end";
    if (child.is_alive()) return "the child is told to live";
    const auto code = child.exitcode();
    if (code && *code != 0) return "the child ended with " + std::to_string(*code);
    return {};
}

std::string talk() {
    auto [left, right] = mp::Pipe();
    left.send(std::string("words"));
    if (!right.poll(20s)) return "a message does not come";
    if (right.recv<std::string>() != "words") return "another message comes";
    auto [first, second] = mp::Pipe();
    left.send(std::move(first));
    auto received = right.recv<mp::Connection>();
    received.send(std::vector<int>(1000, 5));
    if (second.recv<std::vector<int>>() != std::vector<int>(1000, 5)) return "other numbers come";
    return {};
}

std::string share() {
    mp::Lock lock;
    mp::Value<int> value(3);
    mp::Event event;
    mp::Queue<int> queue;
    if (!lock.acquire(1s)) return "a free lock is not to be had";
    lock.release();
    event.set();
    if (!event.wait(1s)) return "an event that is set is waited for";
    queue.put(*value);
    if (queue.get(1s) != 3) return "another item comes";
    return {};
}

std::string await() {
    auto [left, right] = mp::Pipe();
    left.send(1);
    const auto ready = mp::wait({right, left}, 20s);
    if (ready.size() != 1 || !(ready[0] == right)) return "the wrong one is ready";
    if (!mp::wait({left}, 10ms).empty()) return "one is ready that is not";
    return {};
}

std::string work(const std::string& name) {
    if (name == "forkserver") return start(mp::StartMethod::forkserver);
    if (name == "spawn") return start(mp::StartMethod::spawn);
    if (name == "fork") return start(mp::StartMethod::fork);
    if (name == "talk") return talk();
    if (name == "share") return share();
    if (name == "wait") return await();
    return "there is no scenario " + name;
}

}  // namespace

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);
    if (argc != 2) return wrong("usage: scenario NAME");
    const std::string name = argv[1];

    // What is made once (the fork server, tables) is made before, unless its making is what may fail.
    if (name != "forkserver")
        if (const auto problem = work(name); !problem.empty()) return wrong("before any fault: " + problem);
    const std::size_t open = count_descriptors();

    bool failed = false;
    mark("/plait-begin");
    try {
        if (const auto problem = work(name); !problem.empty()) {
            mark("/plait-end");
            return wrong(problem);
        }
    } catch (const std::exception& error) {
        failed = true;
        std::printf("%s\n", error.what());
    }
    mark("/plait-end");
    if (failed && name != "forkserver" && count_descriptors() != open) return wrong("a descriptor stays open");
    if (const auto problem = work(name); !problem.empty()) return wrong("at the second try: " + problem);
    if (name != "forkserver" && count_descriptors() != open) return wrong("a descriptor stays open");
    // The server may live; other children may not.
    int status = 0;
    if (name != "forkserver" && ::waitpid(-1, &status, WNOHANG) > 0) return wrong("a child was not reaped");
    return 0;
}
