// SPDX-License-Identifier: MIT
#include <plait/threading/thread.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace plait::threading;
using plait::StopToken;
using plait::UsageError;
using support::within;

namespace {

std::atomic<int> hook_calls{0};
std::string hook_thread;

/// Sets a hook for exceptions that leave threads, and gives back the one before.
class Hook {
public:
    explicit Hook(ExceptHook hook) : before_{set_excepthook(hook)} { hook_calls = 0; }
    ~Hook() { set_excepthook(before_); }

private:
    ExceptHook before_;
};

void note(const ThreadInfo& thread, std::exception_ptr) {
    hook_thread = thread.name();
    ++hook_calls;
}

struct Counts {
    std::atomic<int> copies{0};
    std::atomic<int> moves{0};
    std::atomic<int> live{0};
    std::thread::id destroyed_in{};
};

/// Counts what is done to it.
class Argument {
public:
    explicit Argument(Counts& counts) : counts_{&counts} { ++counts_->live; }
    Argument(const Argument& other) : counts_{other.counts_} {
        ++counts_->live;
        ++counts_->copies;
    }
    Argument(Argument&& other) noexcept : counts_{other.counts_} {
        ++counts_->live;
        ++counts_->moves;
    }
    Argument& operator=(const Argument&) = delete;
    ~Argument() {
        counts_->destroyed_in = std::this_thread::get_id();
        --counts_->live;
    }

private:
    Counts* counts_;
};

}  // namespace

TEST_CASE("a thread runs its target once, and is alive from start to end") {
    int runs = 0;
    Event go_on;
    Thread thread([&] {
        go_on.wait();
        ++runs;
    });
    CHECK_FALSE(thread.is_alive());
    CHECK(thread.ident() == 0);
    CHECK(thread.native_id() == 0);
    thread.start();
    CHECK(thread.is_alive());
    CHECK(thread.ident() != 0);
    CHECK(thread.native_id() != 0);
    CHECK_FALSE(thread.join(1ms));
    go_on.set();
    CHECK(thread.join(30s));
    CHECK_FALSE(thread.is_alive());
    CHECK(runs == 1);
    thread.join();
    CHECK(thread.join(0s));
    CHECK(thread.exception() == nullptr);
}

TEST_CASE("arguments are stored by value, references by std::ref, and members are callable") {
    std::string result;
    const std::string word = "two";
    Thread thread([](int one, const std::string& two, std::string& out) { out = std::to_string(one) + two; }, 1, word,
                  std::ref(result));
    thread.start();
    thread.join();
    CHECK(result == "1two");

    struct Counter {
        void add(int n) { sum += n; }
        int sum = 0;
    };
    Counter counter;
    Thread member(&Counter::add, &counter, 3);
    member.start();
    member.join();
    CHECK(counter.sum == 3);

    int seven = 0;
    Thread owner([&](std::unique_ptr<int> p) { seven = *p; }, std::make_unique<int>(7));
    owner.start();
    owner.join();
    CHECK(seven == 7);
}

TEST_CASE("an argument is copied in once, moved into the call once, and destroyed in the thread") {
    Counts counts;
    std::thread::id id;
    {
        const Argument argument(counts);
        Thread thread(
            [&](Argument taken) {
                static_cast<void>(taken);
                id = std::this_thread::get_id();
            },
            argument);
        CHECK(counts.copies == 1);
        CHECK(counts.moves == 0);
        thread.start();
        thread.join();
        CHECK(counts.copies == 1);
        CHECK(counts.moves == 1);
        CHECK(counts.live == 1);
        CHECK(counts.destroyed_in == id);
    }
    CHECK(counts.live == 0);
}

TEST_CASE("misuse is an error: a second start, a join before start, a join of oneself") {
    Thread never([] {});
    CHECK_THROWS_AS(never.join(), UsageError);
    CHECK_THROWS_AS(static_cast<void>(never.join(1s)), UsageError);

    bool refused = false;
    Thread* self = nullptr;
    Thread thread([&] {
        try {
            self->join();
        } catch (const UsageError&) {
            refused = true;
        }
    });
    self = &thread;
    thread.start();
    CHECK_THROWS_AS(thread.start(), UsageError);
    thread.join();
    CHECK(refused);
    CHECK_THROWS_AS(thread.start(), UsageError);

    const Thread moved = std::move(thread);
    CHECK_THROWS_AS(thread.join(), UsageError);
    CHECK_THROWS_AS(static_cast<void>(thread.name()), UsageError);
    CHECK_FALSE(thread.request_stop());
}

TEST_CASE("several threads may join one") {
    Event go_on;
    Thread thread([&] { go_on.wait(); });
    thread.start();
    std::atomic<int> joined{0};
    std::vector<std::thread> joiners;
    for (int i = 0; i < 3; ++i)
        joiners.emplace_back([&] {
            thread.join();
            ++joined;
        });
    go_on.set();
    for (auto& joiner : joiners) joiner.join();
    CHECK(joined == 3);
}

TEST_CASE("while one thread joins without a limit, others join with one, start again in vain, or ask") {
    Event go_on;
    Thread thread([&] { go_on.wait(); });
    thread.start();
    std::atomic<bool> joining{false};
    std::thread joiner{[&] {
        joining = true;
        thread.join();
    }};
    CHECK(within(20s, [&] { return joining.load(); }));
    for (int i = 0; i < 20; ++i) {
        CHECK_FALSE(thread.join(1ms));
        CHECK_THROWS_AS(thread.start(), UsageError);
        CHECK(thread.is_alive());
    }
    go_on.set();
    CHECK(thread.join(30s));
    joiner.join();
    thread.join();
    CHECK_FALSE(thread.is_alive());
}

TEST_CASE("after a join, with a limit or without, the thread's own variables have been destroyed") {
    static std::atomic<int> live{0};
    struct Counted {
        Counted() { ++live; }
        ~Counted() {
            for (int i = 0; i < 100; ++i) std::this_thread::yield();
            --live;
        }
    };
    for (const bool limited : {false, true}) {
        Thread thread([] {
            static thread_local const Counted counted;
            static_cast<void>(counted);
        });
        thread.start();
        if (limited)
            CHECK(thread.join(30s));
        else
            thread.join();
        CHECK(live == 0);
    }
}

TEST_CASE("a join with a limit does not wait longer, also where a variable of the thread is long in its destruction") {
    static Event destroying;
    static Event go_on;
    struct Slow {
        ~Slow() {
            destroying.set();
            go_on.wait();
        }
    };
    Thread thread([] {
        static thread_local const Slow slow;
        static_cast<void>(slow);
    });
    thread.start();
    REQUIRE(destroying.wait(30s));
    CHECK_FALSE(thread.join(1ms));
    CHECK(thread.is_alive());
    go_on.set();
    CHECK(thread.join(30s));
    CHECK_FALSE(thread.is_alive());
}

TEST_CASE("an exception that leaves the target goes to the hook and is kept") {
    const Hook hook{&note};
    Thread thread(ThreadOptions{.name = "thrower"}, [] { throw std::runtime_error("broken"); });
    thread.start();
    thread.join();
    CHECK(hook_calls == 1);
    CHECK(hook_thread == "thrower");
    CHECK_THROWS_AS(std::rethrow_exception(thread.exception()), std::runtime_error);
    CHECK(excepthook() == &note);
}

TEST_CASE("a hook that throws is reported, and the thread ends") {
    static std::atomic<int> reports{0};
    reports = 0;
    const auto before = plait::set_unraisable_hook([](const std::string&, std::exception_ptr) { ++reports; });
    {
        const Hook hook{[](const ThreadInfo&, std::exception_ptr) { throw std::runtime_error("the hook fails"); }};
        Thread thread([] { throw 42; });
        thread.start();
        thread.join();
        CHECK(thread.exception() != nullptr);
    }
    plait::set_unraisable_hook(before);
    CHECK(reports == 1);
}

TEST_CASE("threads are numbered by name, or have the name that they were given, the system's too") {
    const Thread first([] {});
    const Thread second([] {});
    const int number = std::stoi(first.name().substr(7));
    CHECK(first.name() == "Thread-" + std::to_string(number));
    CHECK(second.name() == "Thread-" + std::to_string(number + 1));

    std::string told;
    std::string system;
    Thread named(ThreadOptions{.name = "a name of some length"}, [&] {
        told = current_thread().name();
        system = plait::os::thread_name();
    });
    named.start();
    named.join();
    CHECK(named.name() == "a name of some length");
    CHECK(told == named.name());
    CHECK(system == "a name of some ");
}

TEST_CASE("the destructor joins") {
    bool ended = false;
    Event started;
    {
        Thread thread([&] {
            started.set();
            for (int i = 0; i < 1000; ++i) std::this_thread::yield();
            ended = true;
        });
        thread.start();
        started.wait();
    }
    CHECK(ended);
    {
        const Thread never_started([&] { ended = false; });
    }
    CHECK(ended);
}

TEST_CASE("the destructor requests a stop before it joins, but not of a daemon, nor of one that has ended") {
    bool stopped = false;
    Event never;
    {
        Thread thread([&](const StopToken& stop) { stopped = !never.wait(30s, stop) && stop.stop_requested(); });
        thread.start();
    }
    CHECK(stopped);

    StopToken of_ended;
    {
        Thread ended([] {});
        of_ended = ended.stop_token();
        ended.start();
        ended.join();
    }
    CHECK_FALSE(of_ended.stop_requested());

    static Event go_on;
    static Event done;
    StopToken of_daemon;
    {
        Thread daemon(ThreadOptions{.name = "daemon", .daemon = true}, [] {
            go_on.wait();
            done.set();
        });
        of_daemon = daemon.stop_token();
        daemon.start();
    }
    CHECK_FALSE(of_daemon.stop_requested());
    go_on.set();
    CHECK(done.wait(30s));
}

TEST_CASE("a daemon runs on alone when its Thread goes") {
    static Event go_on;
    static Event ended;
    {
        Thread thread(ThreadOptions{.name = "daemon", .daemon = true}, [] {
            go_on.wait();
            ended.set();
        });
        thread.start();
        CHECK(thread.daemon());
    }
    go_on.set();
    CHECK(ended.wait(30s));
}

TEST_CASE("a thread may destroy its own Thread") {
    auto thread = std::make_shared<std::unique_ptr<Thread>>();
    const auto ended = std::make_shared<Event>();
    Event made;
    *thread = std::make_unique<Thread>([&made, ended, thread] {
        made.wait();
        thread->reset();
        ended->set();
    });
    (*thread)->start();
    made.set();
    CHECK(ended->wait(30s));
}

TEST_CASE("a thread moves, also while it runs") {
    Event go_on;
    Thread thread([&] { go_on.wait(); });
    thread.start();
    Thread taken = std::move(thread);
    Thread other([] {});
    other = std::move(taken);
    CHECK(other.is_alive());
    go_on.set();
    other.join();
}

TEST_CASE("a target that takes a token is told of the stop, and its wait ends") {
    bool stopped = false;
    Event never;
    Thread thread([&](const StopToken& stop, int) { stopped = !never.wait(stop); }, 1);
    thread.start();
    CHECK(within(20s, [&] { return never.waiting() == 1; }));
    CHECK(thread.request_stop());
    CHECK_FALSE(thread.request_stop());
    thread.join();
    CHECK(stopped);
    CHECK(thread.stop_token().stop_requested());
}

#if defined(__cpp_lib_jthread)
TEST_CASE("a target that takes the standard's token is told of the stop") {
    bool stopped = false;
    Event begun;
    Thread thread([&](std::stop_token stop) {
        begun.set();
        while (!stop.stop_requested()) std::this_thread::yield();
        stopped = true;
    });
    thread.start();
    begun.wait();
    thread.request_stop();
    thread.join();
    CHECK(stopped);
}
#endif

TEST_CASE("a thousand threads one after the other leave nothing behind") {
    const std::size_t before = active_count();
    int runs = 0;
    for (int i = 0; i < 1000; ++i) {
        Thread thread([&] { ++runs; });
        thread.start();
        thread.join();
    }
    CHECK(runs == 1000);
    CHECK(active_count() == before);
}
