// SPDX-License-Identifier: MIT
#include <plait/core/error.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/signals.hpp>

#include "support/catch.hpp"
#include "support/disposition.hpp"
#include "support/forked_child.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
using namespace plait::os;
using plait::detail::Deadline;
using support::Disposition;
using support::disposition_of;
using support::ForkedChild;

namespace {

std::atomic<int> calls_of_host{0};

void count_call(int) { ++calls_of_host; }

bool is_woken(Waker& waker) { return wait_readable(waker.handle(), Deadline::at({})); }

/// What a SignalBell rings.
struct Bell {
    std::atomic<bool> rung{false};
    SignalBell bell{rung};
};

}  // namespace

TEST_CASE("a taken signal rings, and is told once however often it has come") {
    Bell bell;
    TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
    CHECK_FALSE(taken.take());
    for (int i = 0; i < 10; ++i) ::raise(SIGUSR1);
    CHECK(bell.rung.exchange(false));
    CHECK(taken.take());
    CHECK_FALSE(taken.take());
    ::raise(SIGUSR1);
    CHECK(bell.rung);
    CHECK(taken.take());
}

TEST_CASE("a signal wakes the waker once until it is answered, in whichever thread it comes, and errno is kept") {
    Bell bell;
    Waker waker;
    bell.bell.wake_too(&waker);
    TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
    int error = 0;
    std::thread other{[&] {
        // Its own write fails, for no byte more fits.
        while (::write(waker.writing_end().get(), "", 1) == 1) {
        }
        errno = 12345;
        ::pthread_kill(::pthread_self(), SIGUSR1);
        error = errno;
    }};
    other.join();
    CHECK(error == 12345);
    CHECK(is_woken(waker));
    waker.clear();
    ::raise(SIGUSR1);
    CHECK_FALSE(is_woken(waker));
    CHECK(taken.take());
    bell.rung = false;
    ::raise(SIGUSR1);
    CHECK(is_woken(waker));
    bell.rung = false;
    waker.clear();
    bell.bell.wake_too(nullptr);
    ::raise(SIGUSR1);
    CHECK(bell.rung);
    CHECK_FALSE(is_woken(waker));
    CHECK(taken.take());
}

TEST_CASE("what a signal did before is given back, unless the program has changed that") {
    calls_of_host = 0;
    const Disposition host{SIGUSR1, count_call};
    Bell bell;
    {
        TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
        ::raise(SIGUSR1);
        CHECK(calls_of_host == 0);
        CHECK(taken.take());
    }
    CHECK(disposition_of(SIGUSR1) == &count_call);
    {
        const TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
        ::signal(SIGUSR1, SIG_IGN);
    }
    CHECK(disposition_of(SIGUSR1) == SIG_IGN);
}

TEST_CASE("a signal that came and was not taken is sent anew when it is given back") {
    calls_of_host = 0;
    const Disposition host{SIGUSR1, count_call};
    Bell bell;
    {
        const TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
        ::raise(SIGUSR1);
        CHECK(calls_of_host == 0);
    }
    CHECK(calls_of_host == 1);
    {
        TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
        ::raise(SIGUSR1);
        CHECK(taken.take());
        taken.put_back();
    }
    CHECK(calls_of_host == 2);
}

TEST_CASE("a signal has one owner, and some cannot be taken") {
    Bell bell;
    using Mode = TakenSignal::Mode;
    {
        const TakenSignal taken{SIGUSR1, bell.bell, Mode::always};
        CHECK_THROWS_AS((TakenSignal{SIGUSR1, bell.bell, Mode::once}), plait::UsageError);
        const TakenSignal other{SIGUSR2, bell.bell, Mode::always};
    }
    const TakenSignal again{SIGUSR1, bell.bell, Mode::always};
    for (const int number : {0, -1, 65, 1 << 20, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 32})
        CHECK_THROWS_AS((TakenSignal{number, bell.bell, Mode::always}), std::invalid_argument);
}

TEST_CASE("a signal that is taken once ends the program the second time, unless it is kept") {
    const auto child = [](bool keeps) {
        return ForkedChild{[keeps] {
            ::signal(SIGINT, SIG_DFL);
            Bell bell;
            TakenSignal taken{SIGINT, bell.bell, TakenSignal::Mode::once};
            ::raise(SIGINT);
            if (!taken.take()) return 1;
            if (keeps) taken.keep(TakenSignal::Mode::always);
            ::raise(SIGINT);
            ::raise(SIGINT);
            return taken.take() ? 0 : 2;
        }};
    };
    CHECK(child(false).join() == -SIGINT);
    CHECK(child(true).join() == 0);
}

TEST_CASE("in a fork's copy a taken signal does what it did before, and rings nobody") {
    Bell bell;
    Waker waker;
    bell.bell.wake_too(&waker);
    const auto raised_in_child = [](int number) {
        return ForkedChild{[number] {
            ::raise(number);
            return calls_of_host.load();
        }};
    };
    const Disposition ends{SIGTERM, SIG_DFL};
    const Disposition ends_too{SIGINT, SIG_DFL};
    const Disposition ignored{SIGHUP, SIG_IGN};
    calls_of_host = 0;
    const Disposition host{SIGUSR1, count_call};
    TakenSignal ending{SIGTERM, bell.bell, TakenSignal::Mode::always};
    TakenSignal ignoring{SIGHUP, bell.bell, TakenSignal::Mode::always};
    TakenSignal calling{SIGUSR1, bell.bell, TakenSignal::Mode::always};
    const TakenSignal once{SIGINT, bell.bell, TakenSignal::Mode::once};
    CHECK(raised_in_child(SIGTERM).join() == -SIGTERM);
    CHECK(raised_in_child(SIGHUP).join() == 0);
    CHECK(raised_in_child(SIGUSR1).join() == 1);
    CHECK(raised_in_child(SIGINT).join() == -SIGINT);
    CHECK_FALSE(bell.rung);
    CHECK_FALSE(is_woken(waker));
    ::raise(SIGTERM);
    CHECK(ending.take());
    CHECK_FALSE(ignoring.take());
    CHECK_FALSE(calling.take());
}

TEST_CASE("a fork's copy may take the signal for itself, and its original's object dies there without harm") {
    calls_of_host = 0;
    const Disposition host{SIGUSR1, count_call};
    Bell bell;
    TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
    ForkedChild child{[&] {
        {
            Bell own;
            TakenSignal mine{SIGUSR1, own.bell, TakenSignal::Mode::always};
            taken.~TakenSignal();
            ::raise(SIGUSR1);
            if (!own.rung || bell.rung || !mine.take()) return 1;
        }
        // Given back is what was before the original took it.
        if (disposition_of(SIGUSR1) != &count_call) return 2;
        return calls_of_host == 0 ? 0 : 3;
    }};
    CHECK(child.join() == 0);
    ForkedChild other{[&] {
        taken.~TakenSignal();
        return disposition_of(SIGUSR1) == &count_call ? 0 : 1;
    }};
    CHECK(other.join() == 0);
    ::raise(SIGUSR1);
    CHECK(taken.take());
}

TEST_CASE("a handler of the program's that calls ours does so in vain once the signal is given back") {
    static void (*ours)(int) = nullptr;
    calls_of_host = 0;
    const Disposition host{SIGUSR1, count_call};
    Bell bell;
    {
        TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
        ours = disposition_of(SIGUSR1);
        ::signal(SIGUSR1, [](int number) {
            ++calls_of_host;
            ours(number);
        });
        ::raise(SIGUSR1);
        CHECK(taken.take());
    }
    bell.rung = false;
    ::raise(SIGUSR1);
    CHECK(calls_of_host == 2);
    CHECK_FALSE(bell.rung);
}

TEST_CASE("it is told whether a signal would end the program") {
    const Disposition ignored{SIGUSR1, SIG_IGN};
    CHECK_FALSE(ends_program(SIGUSR1));
    ::signal(SIGUSR1, SIG_DFL);
    CHECK(ends_program(SIGUSR1));
    Bell bell;
    const TakenSignal taken{SIGUSR1, bell.bell, TakenSignal::Mode::always};
    CHECK_FALSE(ends_program(SIGUSR1));
    // The copy has no part in it.
    ForkedChild child{[] { return ends_program(SIGUSR1) ? 0 : 1; }};
    CHECK(child.join() == 0);
}

TEST_CASE("no signal writes to a descriptor that has got a closed waker's number") {
    const Disposition ignored{SIGUSR2, SIG_IGN};
    std::atomic<bool> stop{false};
    std::atomic<int> sent{0};
    const auto storm = [&] {
        while (!stop) {
            ::pthread_kill(::pthread_self(), SIGUSR2);
            ++sent;
        }
    };
    std::thread threads[] = {std::thread{storm}, std::thread{storm}};
    while (sent == 0) std::this_thread::yield();
    int strangers = 0;
    const auto end = std::chrono::steady_clock::now() + 1s;
    for (int round = 0; round < 20'000 && std::chrono::steady_clock::now() < end; ++round) {
        {
            Waker waker;
            Bell bell;
            bell.bell.wake_too(&waker);
            const TakenSignal taken{SIGUSR2, bell.bell, TakenSignal::Mode::always};
        }
        // The same numbers, as a rule.
        Waker stranger;
        std::this_thread::yield();
        if (is_woken(stranger)) ++strangers;
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(strangers == 0);
}
