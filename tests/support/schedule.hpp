// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/asyncio/sleep.hpp>
#include <plait/asyncio/task.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/report.hpp>

#include "support/schedule_driver.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

/// What is done to the tasks of a schedule from outside, if anything.
struct Injection {
    enum class Kind : std::uint8_t { none, cancel, close, random };

    Kind kind = Kind::none;
    std::uint64_t pass = 0;  // after this one
    std::size_t task = 0;    // the oldest that has not ended is 0

    [[nodiscard]] std::string text() const {
        switch (kind) {
            case Kind::none:
                break;
            case Kind::cancel:
                return "cancelling task " + std::to_string(task) + " after pass " + std::to_string(pass);
            case Kind::close:
                return "closing the loop after pass " + std::to_string(pass);
            case Kind::random:
                return "cancelling at random";
        }
        return "undisturbed";
    }
};

/// Counts those who are somewhere: one lies in the frame of each.
class Life {
public:
    explicit Life(int& count) noexcept : count_{count} { ++count_; }
    Life(const Life&) = delete;
    Life& operator=(const Life&) = delete;
    ~Life() { --count_; }

private:
    int& count_;
};

/// One run of a few tasks, in an order that follows from a number, as does everything that is drawn here.
class Schedule {
public:
    Schedule(std::uint64_t seed, Injection injection);
    Schedule(const Schedule&) = delete;
    Schedule& operator=(const Schedule&) = delete;
    ~Schedule() { close(); }

    // For scenarios.

    /// Starts a task that does not stop a cancellation: where it is cancelled while it waits, it is to end so.
    void spawn(plait::asyncio::Coroutine<void> body) { start(std::move(body), false); }
    /// Starts one that may.
    void spawn_stubborn(plait::asyncio::Coroutine<void> body) { start(std::move(body), true); }
    /// Starts one that is never cancelled, which sees to it that the others end.
    void spawn_sheltered(plait::asyncio::Coroutine<void> body) {
        start(std::move(body), false);
        shelter(started_.back().task);
    }
    void shelter(plait::asyncio::AnyTask task) { sheltered_.push_back(std::move(task)); }
    /// A time to sleep or to wait for; often the same as another.
    std::chrono::milliseconds time() { return std::chrono::milliseconds{below(4)}; }
    std::uint64_t below(std::uint64_t limit) { return next(drawn_) % limit; }
    bool chance(std::uint64_t one_in) { return below(one_in) == 0; }
    /// Between two awaits: here any task may be cancelled, the running one too.
    void point();
    /// What is not as it should be; the first counts.
    void fail(std::string what) {
        if (failure_.empty()) failure_ = std::move(what);
    }
    void check(bool fine, const char* what) {
        if (!fine) fail(what);
    }
    [[nodiscard]] plait::asyncio::EventLoop& loop() noexcept { return loop_; }
    /// Whether no task has anything to do before the time goes on.
    [[nodiscard]] bool settled() const { return driver_.settled(); }
    /// Whether frames are being destroyed with the loop, and no code runs any more.
    [[nodiscard]] bool closing() const noexcept { return closing_; }

    // For the explorer.

    /// Calls `after_pass()` as often.
    template <class F>
    void run(F after_pass);
    void close();
    [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
    /// How many tasks there were after each pass.
    [[nodiscard]] const std::vector<std::size_t>& tasks() const noexcept { return tasks_; }

private:
    struct Started {
        plait::asyncio::Task<void> task;
        bool stubborn;
        bool cancelled = false;  // while it waited
    };
    static plait::asyncio::Coroutine<void> counted(plait::asyncio::Coroutine<void> body, int& count) {
        const Life life{count};
        co_await std::move(body);
        // Here a cancellation strikes that came too late for the body.
        co_await plait::asyncio::sleep(std::chrono::milliseconds{0});
    }
    void start(plait::asyncio::Coroutine<void> body, bool stubborn) {
        started_.push_back({loop_.create_task(counted(std::move(body), frames_)), stubborn});
    }
    /// Those that may be cancelled, the oldest first.
    std::vector<plait::asyncio::AnyTask> targets();
    void cancel(plait::asyncio::AnyTask task, bool waits);
    void disturb(std::uint64_t pass);
    void check_ends();

    /// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    static std::uint64_t next(std::uint64_t& state) noexcept {
        std::uint64_t mixed = state += 0x9E3779B97F4A7C15;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return mixed ^ (mixed >> 31);
    }
    std::uint64_t injected_below(std::uint64_t limit) { return next(injected_) % limit; }

    static constexpr std::uint64_t most_passes = 100'000;

    Injection injection_;
    std::uint64_t drawn_;     // by the scenario
    std::uint64_t injected_;  // by what disturbs it
    std::string failure_;
    bool closing_ = false;
    int frames_ = 0;
    std::vector<std::size_t> tasks_;
    plait::asyncio::EventLoop loop_;
    LoopDriver driver_{loop_};
    std::vector<Started> started_;
    std::vector<plait::asyncio::AnyTask> sheltered_;
};

/// Objects, and tasks that use them; made anew for each schedule, and destroyed after its loop.
class Scenario {
public:
    Scenario() = default;
    Scenario(const Scenario&) = delete;
    Scenario& operator=(const Scenario&) = delete;
    virtual ~Scenario() = default;

    /// Spawns the tasks.
    virtual void start(Schedule& schedule) = 0;
    /// After each pass: whether all is as it always is.
    virtual void always(Schedule& schedule) { static_cast<void>(schedule); }
    /// Every task has ended: whether nothing was lost.
    virtual void check(Schedule& schedule) { static_cast<void>(schedule); }
    /// Every frame is gone, by its end or with the loop: whether nothing was left behind.
    virtual void check_gone(Schedule& schedule) { static_cast<void>(schedule); }
};

/// Runs a scenario in many schedules: each seed once as it is, once with tasks cancelled at random, once closing the loop
/// at random; one seed in sixteen again for each pass and each task, cancelling this after that, and closing after each.
///
///     struct Handover : Scenario {
///         aio::Lock lock;
///         Coroutine<void> worker(Schedule& schedule);
///         void start(Schedule& schedule) override { for (int i = 0; i < 4; ++i) schedule.spawn(worker(schedule)); }
///         void check_gone(Schedule& schedule) override { schedule.check(!lock.locked(), "the lock was lost"); }
///     };
///     TEST_CASE("…") { CHECK(explore<Handover>("lock") == ""); }
///
/// PLAIT_SCHEDULE_ROUNDS sets how many seeds (100,000 need PLAIT_TEST_DEADLINE=0, too). A failure tells its seed, and
/// PLAIT_SCHEDULE_SEED repeats that alone, in all ways.
///
/// What it is good for was tried by bugs put into the headers: a wake too few, a handed over permit lost to a
/// cancellation, an item left promised, a request kept or swallowed, a child not waited for. Of 48 these found 39, all
/// within 50 seeds; of the others five do no harm, and four concern whose turn is first or at which of two awaits a
/// cancellation strikes, which the tests of each header look at.
class Explorer {
public:
    using Maker = std::unique_ptr<Scenario> (*)();

    Explorer(std::string_view name, Maker make) : name_{name}, make_{make} {}

    /// What went wrong first, or nothing.
    [[nodiscard]] std::string run();

private:
    static constexpr std::uint64_t rounds = plait::detail::address_sanitizer ? 100 : 1'000;
    static constexpr std::uint64_t all_ways_in = 16;

    static std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
        const char* const text = std::getenv(name);
        return text != nullptr && *text != 0 ? std::strtoull(text, nullptr, 10) : otherwise;
    }
    void explore(std::uint64_t seed, bool all_ways);
    std::vector<std::size_t> play(std::uint64_t seed, Injection injection);

    std::string name_;
    Maker make_;
    std::uint64_t schedules_ = 0;
    std::string failure_;
};

template <class S>
[[nodiscard]] std::string explore(std::string_view name) {
    return Explorer{name, []() -> std::unique_ptr<Scenario> { return std::make_unique<S>(); }}.run();
}

inline Schedule::Schedule(std::uint64_t seed, Injection injection)
    : injection_{injection},
      drawn_{seed},
      injected_{~seed},
      // Some in the order in which a loop without a seed has them.
      loop_{plait::asyncio::EventLoopOptions{.manual_clock = true, .seed = seed % 3 == 0 ? 0 : seed}} {
    loop_.set_exception_handler([this](plait::asyncio::EventLoop&, const plait::asyncio::ErrorContext& context) {
        if (!closing_) fail("the exception handler was told: " + context.message);
    });
}

inline void Schedule::cancel(plait::asyncio::AnyTask task, bool waits) {
    if (!task.cancel() || !waits) return;
    for (Started& started : started_)
        if (started.task == task) started.cancelled = true;
}

inline std::vector<plait::asyncio::AnyTask> Schedule::targets() {
    std::vector<plait::asyncio::AnyTask> tasks = loop_.all_tasks();
    for (const plait::asyncio::AnyTask& task : sheltered_) std::erase(tasks, task);
    return tasks;
}

inline void Schedule::point() {
    if (injection_.kind != Injection::Kind::random || injected_below(16) != 0) return;
    std::vector<plait::asyncio::AnyTask> tasks = targets();
    if (tasks.empty()) return;
    // The request may come to the running task, for which another waits, and that may never wait again.
    cancel(std::move(tasks[injected_below(tasks.size())]), false);
}

inline void Schedule::disturb(std::uint64_t pass) {
    if (injection_.kind == Injection::Kind::cancel && injection_.pass == pass) {
        std::vector<plait::asyncio::AnyTask> tasks = targets();
        if (injection_.task < tasks.size()) cancel(std::move(tasks[injection_.task]), true);
    }
    if (injection_.kind != Injection::Kind::random || injected_below(8) != 0) return;
    std::vector<plait::asyncio::AnyTask> tasks = targets();
    if (tasks.empty()) return;
    plait::asyncio::AnyTask& task = tasks[injected_below(tasks.size())];
    const std::uint64_t how = injected_below(3);
    if (how == 0) return cancel(std::move(task), true);
    // Else in the midst of the next pass, by a callback or by another task.
    if (how == 1) {
        loop_.call_soon([this, target = std::move(task)] { cancel(target, true); });
        return;
    }
    const auto cancelling = [](Schedule& self, plait::asyncio::AnyTask target) -> plait::asyncio::Coroutine<void> {
        self.cancel(std::move(target), true);
        co_return;
    };
    static_cast<void>(loop_.create_task(cancelling, std::ref(*this), std::move(task)));
}

template <class F>
void Schedule::run(F after_pass) {
    for (std::uint64_t pass = 0; driver_.any_task(); ++pass) {
        tasks_.push_back(targets().size());
        if (injection_.kind == Injection::Kind::close && injection_.pass == pass) return close();
        disturb(pass);
        if (pass == most_passes) return fail("the tasks go on without end");
        if (!driver_.pass()) {
            std::string names;
            for (const plait::asyncio::AnyTask& task : loop_.all_tasks()) names += ' ' + task.name();
            return fail("for ever wait" + names);
        }
        after_pass();
    }
    // Callbacks of the last task's end.
    static_cast<void>(driver_.pass());
    check(!driver_.any_timer(), "a timer was left behind");
    check(frames_ == 0, "a frame was left behind");
    check_ends();
}

inline void Schedule::check_ends() {
    for (const Started& started : started_) {
        if (started.task.cancelled()) {
            check(injection_.kind != Injection::Kind::none, "a task was cancelled, though nobody asked it to end");
            continue;
        }
        if (const std::exception_ptr exception = started.task.exception())
            fail(started.task.name() + " failed: " + plait::detail::describe(exception));
        check(started.stubborn || !started.cancelled, "a cancellation was swallowed");
    }
}

inline void Schedule::close() {
    closing_ = true;
    loop_.close();
    check(frames_ == 0, "a frame was left behind");
}

inline std::vector<std::size_t> Explorer::play(std::uint64_t seed, Injection injection) {
    ++schedules_;
    const std::unique_ptr<Scenario> scenario = make_();
    Schedule schedule{seed, injection};
    scenario->start(schedule);
    schedule.run([&] { scenario->always(schedule); });
    if (schedule.failure().empty() && !schedule.closing()) scenario->check(schedule);
    schedule.close();
    if (schedule.failure().empty()) scenario->check_gone(schedule);
    if (!schedule.failure().empty() && failure_.empty())
        failure_ = name_ + ", " + injection.text() + ": " + schedule.failure() +
                   "; PLAIT_SCHEDULE_SEED=" + std::to_string(seed);
    return schedule.tasks();
}

inline void Explorer::explore(std::uint64_t seed, bool all_ways) {
    using Kind = Injection::Kind;
    const std::vector<std::size_t> tasks = play(seed, {});
    static_cast<void>(play(seed, {Kind::random}));
    static_cast<void>(play(seed, {Kind::close, seed * 0x9E3779B9 % tasks.size()}));
    if (!all_ways) return;
    for (std::uint64_t pass = 0; pass < tasks.size(); ++pass) {
        for (std::size_t task = 0; task < tasks[pass]; ++task)
            static_cast<void>(play(seed, {Kind::cancel, pass, task}));
        static_cast<void>(play(seed, {Kind::close, pass}));
    }
}

inline std::string Explorer::run() {
    const std::uint64_t seed = from_environment("PLAIT_SCHEDULE_SEED", 0);
    const std::uint64_t count = from_environment("PLAIT_SCHEDULE_ROUNDS", rounds);
    if (seed != 0) explore(seed, true);
    for (std::uint64_t next = 1; seed == 0 && next <= count && failure_.empty(); ++next)
        explore(next, next % all_ways_in == 1);
    std::cout << "schedules: " << name_ << ": " << schedules_ << ' ' << failure_ << std::endl;
    return failure_;
}

}  // namespace support
