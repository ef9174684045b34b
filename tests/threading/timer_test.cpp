// SPDX-License-Identifier: MIT
#include <plait/threading/timer.hpp>

#include "support/catch.hpp"
#include "support/deadline.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
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

void note(const ThreadInfo& thread, std::exception_ptr) {
    hook_thread = thread.name();
    ++hook_calls;
}

}  // namespace

TEST_CASE("a timer calls its function once, not before its interval has passed") {
    for (const auto interval : {0us, 1us, 900us, 1500us, 12'345us}) {
        std::atomic<int> calls{0};
        std::chrono::steady_clock::time_point at;
        Timer timer(interval, [&] {
            at = std::chrono::steady_clock::now();
            ++calls;
        });
        CHECK_FALSE(timer.is_alive());
        const auto begin = std::chrono::steady_clock::now();
        timer.start();
        REQUIRE(timer.join(30s));
        CHECK(at - begin >= interval);
        CHECK(calls == 1);
        CHECK(timer.finished());
        CHECK_FALSE(timer.is_alive());
        CHECK(timer.join(0s));
        timer.join();
        CHECK_FALSE(timer.cancel());
    }
}

TEST_CASE("a timer that is cancelled never fires, and whoever joins it goes on at once") {
    std::atomic<int> calls{0};
    Timer timer(1h, [&] { ++calls; });
    timer.start();
    CHECK(timer.is_alive());
    CHECK_FALSE(timer.finished());
    CHECK_FALSE(timer.join(0s));
    CHECK_FALSE(timer.join(1ms));
    std::atomic<bool> joined{false};
    std::thread joiner{[&] { joined = timer.join(30s); }};
    // Until it sleeps it may be about to: then it finds the timer cancelled.
    CHECK(timer.cancel());
    joiner.join();
    CHECK(joined);
    CHECK(timer.finished());
    CHECK_FALSE(timer.is_alive());
    CHECK(timer.cancel());
    CHECK(calls == 0);
}

TEST_CASE("every thread that sleeps in a join is woken by a cancel, and by the end of the call") {
    for (const bool fires : {false, true}) {
        Event go_on;
        Timer timer(fires ? 0h : 1h, [&] { go_on.wait(); });
        timer.start();
        std::atomic<int> joining{0};
        std::atomic<int> joined{0};
        std::vector<std::thread> joiners;
        for (int i = 0; i < 3; ++i)
            joiners.emplace_back([&] {
                ++joining;
                joined += timer.join(30s) ? 1 : 0;
            });
        CHECK(within(20s, [&] { return joining == 3; }));
        CHECK_FALSE(timer.join(5ms));
        if (fires)
            go_on.set();
        else
            CHECK(timer.cancel());
        for (auto& joiner : joiners) joiner.join();
        CHECK(joined == 3);
    }
}

TEST_CASE("a timer may be cancelled before its start, which then does nothing") {
    std::atomic<int> calls{0};
    Timer timer(0s, [&] { ++calls; });
    CHECK_FALSE(timer.finished());
    CHECK(timer.cancel());
    CHECK(timer.finished());
    timer.join();
    timer.start();
    CHECK_THROWS_AS(timer.start(), UsageError);
    timer.join();
    CHECK_FALSE(timer.is_alive());
    CHECK(calls == 0);
}

TEST_CASE("a cancel after the timer has fired changes nothing, and does not wait for the call") {
    Event begun;
    Event go_on;
    std::atomic<bool> ended{false};
    Timer timer(0s, [&] {
        begun.set();
        go_on.wait();
        ended = true;
    });
    timer.start();
    REQUIRE(begun.wait(30s));
    CHECK_FALSE(timer.cancel());
    CHECK_FALSE(timer.finished());
    CHECK(timer.is_alive());
    CHECK_FALSE(timer.join(1ms));
    CHECK_FALSE(ended);
    go_on.set();
    REQUIRE(timer.join(30s));
    CHECK(ended);
}

TEST_CASE("a call may cancel its own timer, and is told when it would wait for itself") {
    std::optional<bool> cancelled;
    std::atomic<int> refused{0};
    Timer* self = nullptr;
    Timer timer(0s, [&] {
        cancelled = self->cancel();
        try {
            self->join();
        } catch (const UsageError&) {
            ++refused;
        }
        try {
            static_cast<void>(self->join(1s));
        } catch (const UsageError&) {
            ++refused;
        }
    });
    self = &timer;
    timer.start();
    REQUIRE(timer.join(30s));
    CHECK(cancelled == false);
    CHECK(refused == 2);
}

TEST_CASE("misuse of a timer is an error: a second start, a join before the start, use after a move") {
    Timer timer(1h, [] {});
    CHECK_THROWS_AS(timer.join(), UsageError);
    CHECK_THROWS_AS(static_cast<void>(timer.join(1s)), UsageError);
    timer.start();
    CHECK_THROWS_AS(timer.start(), UsageError);
    Timer taken = std::move(timer);
    CHECK_THROWS_AS(timer.start(), UsageError);
    CHECK_THROWS_AS(timer.cancel(), UsageError);
    CHECK_THROWS_AS(static_cast<void>(timer.finished()), UsageError);
    CHECK(taken.is_alive());
    timer = std::move(taken);
    CHECK(timer.cancel());
    CHECK_THROWS_AS(timer.start(), UsageError);
}

TEST_CASE("the longest intervals never come, and negative ones have come already") {
    std::atomic<int> calls{0};
    Timer never(std::chrono::hours::max(), [&] { ++calls; });
    Timer late(std::chrono::hours{24 * 365 * 100}, [&] { ++calls; });
    Timer later(std::chrono::nanoseconds::max() - 1ns, [&] { ++calls; });
    never.start();
    late.start();
    later.start();
    Timer past(-5s, [] {});
    past.start();
    REQUIRE(past.join(30s));
    CHECK(calls == 0);
    for (Timer* const timer : {&never, &late, &later}) {
        CHECK(timer->is_alive());
        CHECK(timer->cancel());
        CHECK(timer->join(0s));
    }
}

TEST_CASE("the arguments of a timer's function are stored by value, and destroyed where it ran or with the timer") {
    const auto word = std::make_shared<std::string>("one");
    std::string result;
    {
        Timer timer(
            0s,
            [](const std::shared_ptr<std::string>& first, int second, std::string& out) {
                out = *first + std::to_string(second);
            },
            word, 2, std::ref(result));
        CHECK(word.use_count() == 2);
        timer.start();
        REQUIRE(timer.join(30s));
        CHECK(word.use_count() == 1);
    }
    CHECK(result == "one2");
    {
        Timer cancelled(1h, [](const std::shared_ptr<std::string>&) {}, word);
        const Timer unstarted(1h, [](const std::shared_ptr<std::string>&) {}, word);
        cancelled.start();
        cancelled.cancel();
    }
    CHECK(word.use_count() == 1);
}

TEST_CASE("what leaves a timer's function goes to the hook, and other timers fire") {
    hook_calls = 0;
    const ExceptHook before = set_excepthook(&note);
    Timer thrower(0s, [] { throw std::runtime_error("broken"); });
    thrower.start();
    REQUIRE(thrower.join(30s));
    set_excepthook(before);
    CHECK(hook_calls == 1);
    CHECK(hook_thread.substr(0, 6) == "Timer-");
    CHECK(thrower.finished());
    Timer other(0s, [] {});
    other.start();
    CHECK(other.join(30s));
}

TEST_CASE("a call has a thread of its own, known by name, which takes a token") {
    std::string name;
    bool stop_possible = false;
    std::uint64_t ident = 0;
    Timer timer(0s, [&](const StopToken& stop) {
        name = current_thread().name();
        ident = get_ident();
        stop_possible = stop.stop_possible();
    });
    timer.start();
    REQUIRE(timer.join(30s));
    CHECK(name.substr(0, 6) == "Timer-");
    CHECK(stop_possible);
    CHECK(ident != get_ident());
}

TEST_CASE("a slow call delays no other timer") {
    Event go_on;
    Timer slow(0s, [&] { go_on.wait(); });
    Timer quick(1ms, [&] { go_on.set(); });
    slow.start();
    quick.start();
    CHECK(quick.join(30s));
    CHECK(slow.join(30s));
}

TEST_CASE("a timer that comes before all others wakes who waits for them") {
    Timer late(1h, [] {});
    late.start();
    for (int i = 0; i < 20; ++i) {
        Timer early(i % 2 == 0 ? 2ms : 0ms, [] {});
        early.start();
        REQUIRE(early.join(30s));
    }
    CHECK(late.is_alive());
}

TEST_CASE("timers that are due together are given their threads in the order of their deadlines") {
    // The threads run as they like; they are numbered as they were started.
    constexpr std::size_t count = 50;
    std::vector<std::uint64_t> numbers(count);
    std::vector<Timer> timers;
    for (std::size_t i = 0; i < count; ++i) timers.emplace_back(30ms, [&numbers, i] { numbers[i] = get_ident(); });
    for (Timer& timer : timers) timer.start();
    for (Timer& timer : timers) REQUIRE(timer.join(30s));
    CHECK(std::is_sorted(numbers.begin(), numbers.end()));
    CHECK(numbers.front() != 0);
}

TEST_CASE("the destructor cancels what has not fired, and waits for what has") {
    std::atomic<int> calls{0};
    {
        Timer pending(1h, [&] { ++calls; });
        const Timer unstarted(0s, [&] { ++calls; });
        pending.start();
    }
    CHECK(calls == 0);
    Event begun;
    {
        Timer firing(0s, [&] {
            begun.set();
            for (int i = 0; i < 1000; ++i) std::this_thread::yield();
            ++calls;
        });
        firing.start();
        begun.wait();
    }
    CHECK(calls == 1);
}

TEST_CASE("the destructor waits for the whole thread of a call, its own variables too") {
    static std::atomic<int> live{0};
    struct Counted {
        Counted() { ++live; }
        ~Counted() {
            for (int i = 0; i < 100; ++i) std::this_thread::yield();
            --live;
        }
    };
    for (const bool joins : {false, true}) {
        {
            Timer timer(0s, [] {
                static thread_local const Counted counted;
                static_cast<void>(counted);
            });
            timer.start();
            if (joins)
                CHECK(timer.join(30s));
            else
                CHECK(within(30s, [&] { return timer.finished(); }));
            if (joins) CHECK(live == 0);
        }
        CHECK(live == 0);
    }
}

TEST_CASE("a timer's join does not wait longer than its limit for the variables of the call's thread") {
    static Event destroying;
    static Event go_on;
    struct Slow {
        ~Slow() {
            destroying.set();
            go_on.wait();
        }
    };
    Timer timer(0s, [] {
        static thread_local const Slow slow;
        static_cast<void>(slow);
    });
    timer.start();
    REQUIRE(destroying.wait(30s));
    CHECK(timer.finished());
    CHECK_FALSE(timer.join(0s));
    CHECK_FALSE(timer.join(1ms));
    go_on.set();
    CHECK(timer.join(30s));
}

TEST_CASE("a timer may be destroyed by a variable of its call's thread, which is told that it cannot join it") {
    static std::atomic<bool> refused{false};
    struct Owner {
        std::shared_ptr<Timer> timer;
        ~Owner() {
            try {
                timer->join();
            } catch (const UsageError&) {
                refused = true;
            }
        }
    };
    Event made;
    std::shared_ptr<Timer> timer;
    timer = std::make_shared<Timer>(0s, [&] {
        static thread_local Owner owner;
        made.wait();
        owner.timer = std::move(timer);
    });
    timer->start();
    made.set();
    CHECK(within(30s, [&] { return refused.load(); }));
}

TEST_CASE("a call may destroy its own timer") {
    const auto timer = std::make_shared<std::unique_ptr<Timer>>();
    const auto ended = std::make_shared<Event>();
    Event made;
    *timer = std::make_unique<Timer>(0s, [&made, ended, timer] {
        made.wait();
        timer->reset();
        ended->set();
    });
    (*timer)->start();
    made.set();
    CHECK(ended->wait(30s));
}

TEST_CASE("a call may start timers, the next of its kind too") {
    Event done;
    std::vector<std::unique_ptr<Timer>> chain(5);
    std::atomic<std::size_t> next{0};
    std::function<void()> step = [&] {
        const std::size_t i = ++next;
        if (i == chain.size()) return done.set();
        chain[i] = std::make_unique<Timer>(100us, [&] { step(); });
        chain[i]->start();
    };
    chain[0] = std::make_unique<Timer>(0s, [&] { step(); });
    chain[0]->start();
    CHECK(done.wait(30s));
}

TEST_CASE("of a thousand timers, half of them cancelled from other threads, each fires or is cancelled") {
    constexpr std::size_t count = 1000;
    std::vector<std::atomic<int>> fired(count);
    std::vector<int> cancelled(count);
    std::vector<Timer> timers;
    std::minstd_rand random{7};
    for (std::size_t i = 0; i < count; ++i)
        timers.emplace_back(std::chrono::microseconds{random() % 20'000}, [&fired, i] { ++fired[i]; });
    std::atomic<std::size_t> started{0};
    std::vector<std::thread> cancellers;
    for (const std::size_t first : {0U, 1U})
        cancellers.emplace_back([&, first] {
            for (std::size_t i = first; i < count; i += 4) {
                while (started <= i) std::this_thread::yield();
                cancelled[i] = timers[i].cancel() ? 1 : 0;
            }
        });
    for (Timer& timer : timers) {
        timer.start();
        ++started;
    }
    for (auto& canceller : cancellers) canceller.join();
    std::size_t in_time = 0;
    for (Timer& timer : timers) in_time += timer.join(30s) ? 1U : 0U;
    CHECK(in_time == count);
    std::size_t once = 0;
    for (std::size_t i = 0; i < count; ++i) once += fired[i] + cancelled[i] == 1 ? 1U : 0U;
    CHECK(once == count);
}

TEST_CASE("timers destroyed while they fire have fired or have not, and nothing is lost") {
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    for (int i = 0; i < 300; ++i) {
        Timer timer(std::chrono::microseconds{i % 50}, [&] {
            ++begun;
            ++ended;
        });
        timer.start();
        for (int k = 0; k < i % 7; ++k) std::this_thread::yield();
    }
    CHECK(begun == ended);
}
