// SPDX-License-Identifier: MIT
#if __has_include(<sys/wait.h>)  // what only POSIX can do to a timer
#  include <plait/threading/timer.hpp>

#  include "support/catch.hpp"
#  include "support/disturbance.hpp"
#  include "support/no_threads.hpp"

#  include <pthread.h>
#  include <signal.h>
#  include <unistd.h>

#  include <atomic>
#  include <chrono>
#  include <cstdlib>
#  include <exception>
#  include <memory>
#  include <string>
#  include <system_error>
#  include <utility>

using namespace std::chrono_literals;
using namespace plait::threading;

namespace {

/// As support::in_a_child; a child that hangs is ended by SIGALRM.
template <class Body>
int in_short_lived_child(Body body) {
    return support::in_a_child([&] {
        ::signal(SIGALRM, SIG_DFL);
        ::alarm(50);
        return body();
    });
}

}  // namespace

TEST_CASE("in the child of a fork the parent's timers do not fire, and are finished") {
    static std::atomic<int> calls{0};
    calls = 0;
    Timer pending(100ms, [] { ++calls; });
    Timer cancelled(1h, [] {});
    Event go_on;
    Event begun;
    Timer firing(0s, [&] {
        begun.set();
        go_on.wait();
    });
    pending.start();
    cancelled.start();
    firing.start();
    CHECK(begun.wait(30s));
    const int code = in_short_lived_child([&] {
        const int before = calls;  // on a busy machine one may have fired before the fork
        if (!pending.finished() || pending.is_alive()) return 1;
        if (!pending.join(0s) || !firing.finished() || !firing.join(30s)) return 2;
        if (!cancelled.cancel() || firing.cancel()) return 3;
        // Its own timers do.
        Timer own(200ms, [] { calls += 10; });
        own.start();
        if (!own.join(30s)) return 4;
        const auto moved = std::make_unique<Timer>(std::move(pending));
        const auto other = std::make_unique<Timer>(std::move(firing));
        return calls == before + 10 ? 7 : 5;
    });
    go_on.set();
    CHECK(code == 7);
    CHECK(pending.join(30s));
    CHECK(calls == 1);
    CHECK(firing.join(30s));
}

TEST_CASE("a call that forks goes on in the child, where timers fire") {
    int code = 0;
    Timer* self = nullptr;
    Timer timer(0s, [&] {
        code = in_short_lived_child([&] {
            if (self->finished() || self->cancel()) return 1;
            Timer own(1ms, [] {});
            own.start();
            return own.join(30s) ? 7 : 2;
        });
    });
    self = &timer;
    timer.start();
    REQUIRE(timer.join(30s));
    CHECK(code == 7);
}

TEST_CASE("a static timer that is destroyed at the program's end does not fire, nor hinder the end") {
    const int code = in_short_lived_child([] {
        std::atexit([] { ::_exit(7); });
        static Timer pending(1h, [] {});
        static Timer ends_the_program(0s, [] { std::exit(1); });
        pending.start();
        ends_the_program.start();
        for (;;) ::pause();
        return 2;
    });
    CHECK(code == 7);
}

#  if defined(__GLIBCXX__)  // beside libc++ two unwinders meet, and any program that calls pthread_exit crashes
TEST_CASE("a call may end its thread by pthread_exit, and its timer is finished") {
    const auto argument = std::make_shared<int>(0);
    Timer timer(0s, [](const std::shared_ptr<int>&) { ::pthread_exit(nullptr); }, argument);
    timer.start();
    CHECK(timer.join(30s));
    CHECK(timer.finished());
    CHECK(argument.use_count() == 1);
}
#  endif

#  if defined(__GLIBC__)
TEST_CASE("where no thread can be had a call runs on the one that all timers share") {
    Timer first(0s, [] {});
    first.start();
    CHECK(first.join(30s));
    static std::atomic<int> hook_calls{0};
    hook_calls = 0;
    const ExceptHook before = set_excepthook(
        [](const ThreadInfo& thread, std::exception_ptr) { hook_calls += thread.name() == "plait-timer"; });
    std::string name;
    bool refused = false;
    Timer* self = nullptr;
    Timer timer(0s, [&](const plait::StopToken& stop) {
        name = current_thread().name();
        try {
            self->join();
        } catch (const plait::UsageError&) {
            refused = !stop.stop_possible();
        }
        throw 42;
    });
    self = &timer;
    const auto second = std::make_shared<std::unique_ptr<Timer>>();
    Event destroyed;
    *second = std::make_unique<Timer>(0s, [&destroyed, second] {
        second->reset();
        destroyed.set();
    });
    {
        const support::NoThreads none;
        timer.start();
        CHECK(timer.join(30s));
        (*second)->start();
        CHECK(destroyed.wait(30s));
    }
    set_excepthook(before);
    CHECK(name == "plait-timer");
    CHECK(refused);
    CHECK(hook_calls == 1);
}

TEST_CASE("where not even that thread can be had the start is an error, and can be tried again") {
    const int code = in_short_lived_child([] {
        Timer timer(0s, [] {});
        {
            const support::NoThreads none;
            try {
                timer.start();
                return 1;
            } catch (const std::system_error&) {
                if (timer.is_alive() || timer.finished()) return 2;
            }
        }
        timer.start();
        return timer.join(30s) ? 7 : 3;
    });
    CHECK(code == 7);
}

TEST_CASE("a call on the shared thread may fork: the child's timers fire") {
    int code = 0;
    Timer first(0s, [] {});
    first.start();
    CHECK(first.join(30s));
    Timer forker(0s, [&] {
        code = in_short_lived_child([] {
            ::pthread_attr_t attributes;
            ::pthread_attr_init(&attributes);
            ::pthread_attr_setstacksize(&attributes, 1U << 20U);
            ::pthread_setattr_default_np(&attributes);
            Timer own(1ms, [] {});
            own.start();
            return own.join(30s) ? 7 : 2;
        });
    });
    {
        const support::NoThreads none;
        forker.start();
        CHECK(forker.join(30s));
    }
    CHECK(code == 7);
}
#  endif
#endif
