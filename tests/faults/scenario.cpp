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

void give_back(mp::Connection end, int value) {
    end.send(std::pair<int, int>(::getpid(), value + 1));
    static_cast<void>(end.recv<int>());
}

/// Starts a child, talks with it, and joins it, or kills it if it is a daemon. Returns what is wrong, or nothing.
std::string start(mp::StartMethod method, bool daemon = false) {
    auto [ours, theirs] = mp::Pipe();
    mp::Process child(mp::ProcessOptions{.daemon = daemon, .start_method = method}, give_back, std::move(theirs), 6);
    child.start();
    if (!ours.poll(20s)) return "the child does not answer";
    const auto [pid, value] = ours.recv<std::pair<int, int>>();
    if (value != 7) return "the child answers something else";
    if (child.pid() != pid) return "another process is told to be the child";
    if (!child.is_alive()) return "the child is told to have ended";
    if (daemon)
        child.kill();
    else
        ours.send(1);
    if (!child.join(20s)) return "the child does not end";
    if (child.is_alive()) return "the child is told to live";
    const auto code = child.exitcode();
    if (code && *code != (daemon ? -SIGKILL : 0)) return "the child ended with " + std::to_string(*code);
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

int square(int x) { return x * x; }
std::string repeat(std::string text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
}
int die(int) {
    ::raise(SIGKILL);
    return 0;
}

/// Whether a task has that value. One that is not answered is a hang, whatever it would have been.
template <class T>
std::string expect(const plait::Future<T>& task, const T& value) {
    if (!task.wait(20s)) return "a task is not answered";
    return task.get() == value ? std::string{} : "a task has another value";
}

/// A pool's life: its making, tasks small and large, the replacement of a worker that dies, and its end.
std::string pool(mp::StartMethod method) {
    mp::Pool pool(mp::PoolOptions{.processes = 3, .start_method = method});
    if (auto problem = expect(pool.apply_async(square, 7), 49); !problem.empty()) return problem;
    if (auto problem = expect(pool.map_async(square, std::vector{1, 2, 3, 4, 5}, 2), {1, 4, 9, 16, 25});
        !problem.empty())
        return problem;
    const std::string text(100'000, 'x');
    if (auto problem = expect(pool.apply_async(repeat, text, 5), repeat(text, 5)); !problem.empty()) return problem;
    const auto death = pool.apply_async(die, 0);
    if (!death.wait(20s)) return "the death of a task is not told";
    if (death.successful()) return "a task that dies has a value";
    for (int i = 0; i < 6; ++i)
        if (auto problem = expect(pool.apply_async(square, i), i * i); !problem.empty()) return problem;
    pool.close();
    return pool.join(20s) ? std::string{} : "the pool does not end";
}

std::string work(const std::string& name) {
    if (name == "forkserver") return start(mp::StartMethod::forkserver);
    if (name == "daemon") {
        // One that the server makes, and one that it guards.
        const std::string problem = start(mp::StartMethod::forkserver, true);
        return problem.empty() ? start(mp::StartMethod::spawn, true) : problem;
    }
    if (name == "spawn") return start(mp::StartMethod::spawn);
    if (name == "fork") return start(mp::StartMethod::fork);
    if (name == "pool") return pool(mp::StartMethod::forkserver);
    if (name == "pool_spawn") return pool(mp::StartMethod::spawn);
    if (name == "pool_fork") return pool(mp::StartMethod::fork);
    if (name == "talk") return talk();
    if (name == "share") return share();
    if (name == "wait") return await();
    return "there is no scenario " + name;
}

/// Does the work, and tells an exception. Returns what is wrong, or nothing.
std::string attempt(const std::string& name, bool& failed) {
    try {
        return work(name);
    } catch (const std::exception& error) {
        failed = true;
        std::printf("%s\n", error.what());
        return {};
    }
}

/// Whether there is nothing more than in the beginning, but for the server, which is let go of.
std::string look_for_rests(std::size_t open) {
    for (mp::ProcessInfo& child : mp::active_children())
        if (!child.join(20s)) return "a child does not end";
    bool server_ended = false;
    for (int i = 0; i < 10 && !server_ended; ++i)  // two seconds each: on a busy machine it takes longer
        server_ended = mp::detail::ForkServer::of_this_program().stop();
    if (!server_ended) return "the server does not end";
    if (::waitpid(-1, nullptr, WNOHANG) >= 0) return "a child was not reaped";
    if (count_descriptors() != open) return "a descriptor stays open";
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    mark("/plait-main");
    mp::freeze_support(argc, argv);
    const bool children = argc == 3 && std::strcmp(argv[2], "--children") == 0;
    if (argc != 2 && !children) return wrong("usage: scenario NAME [--children]");
    const std::string name = argv[1];
    const std::size_t open_before = count_descriptors();

    // What is made once (tables) is made before, unless its making is what may fail. Of a child each is hit by the fault.
    const bool uses_server = name == "forkserver" || name == "daemon";
    bool failed = false;
    if (!uses_server)
        if (const auto problem = attempt(name, failed); !problem.empty()) return wrong("before any fault: " + problem);
    if (failed) return children ? 0 : wrong("it fails before any fault");
    const std::size_t open = uses_server ? open_before : count_descriptors();

    mark("/plait-begin");
    const std::string problem = attempt(name, failed);
    mark("/plait-end");
    if (!problem.empty()) return wrong(problem);
    if (failed)
        if (const auto rest = look_for_rests(open); !rest.empty()) return wrong("after the fault: " + rest);
    failed = false;
    if (const auto again = attempt(name, failed); !again.empty()) return wrong("at the second try: " + again);
    if (failed && !children) return wrong("the second try fails too");
    if (const auto rest = look_for_rests(open); !rest.empty()) return wrong(rest);
    return 0;
}
