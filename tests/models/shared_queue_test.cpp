// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/detail/queue_end.hpp>
#include <plait/multiprocessing/detail/wait_point.hpp>

#include "support/catch.hpp"
#include "support/model/search.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <set>
#include <string>
#include <vector>

namespace queue_models {

/// A wait without an end, and without the look after a tenth of a second: what is lost is lost.
struct Never {
    [[nodiscard]] static bool has_passed() { return false; }
};
Never next_look(Never) { return {}; }

/// The kernel's side of sleeping on a word: the look at it and the lying down are one.
class Futex {
public:
    /// Of the program that runs.
    static Futex*& current() {
        static Futex* futex = nullptr;
        return futex;
    }
    Futex() { current() = this; }

    void wait(model::Atomic<std::uint32_t>& word, std::uint32_t expected) {
        bucket_.lock();
        const bool sleeps = word.fetch_add(0, std::memory_order_relaxed) == expected;  // the newest there is
        if (sleeps) asleep_.push_back(next_++);
        const std::size_t token = next_ - 1;
        bucket_.unlock();
        if (sleeps) tokens_[token].wait_and_clear();
    }
    std::size_t wake(std::size_t count) {
        bucket_.lock();
        std::vector<std::size_t> woken;
        while (!asleep_.empty() && woken.size() < count) {
            woken.push_back(asleep_.front());
            asleep_.erase(asleep_.begin());
        }
        bucket_.unlock();
        for (const std::size_t token : woken) tokens_[token].store(1, std::memory_order_release);
        return woken.size();
    }

private:
    model::Mutex bucket_;
    std::vector<std::size_t> asleep_;
    std::size_t next_ = 0;
    std::array<model::Atomic<int>, 6> tokens_;
};

/// A process ends here, in the midst of what it does.
struct Killed {};

struct Environment : model::Environment {
    template <class T>
    using Plain = model::Plain<T>;

    /// After how many steps the one that is killed is killed.
    static int& steps_left() {
        static int steps = 0;
        return steps;
    }
    static void step() {
        if (steps_left() != 0 && --steps_left() == 0) throw Killed{};
    }
    static bool wait(model::Atomic<std::uint32_t>& word, std::uint32_t expected, Never) {
        Futex::current()->wait(word, expected);
        return true;
    }
    static std::size_t wake(model::Atomic<std::uint32_t>&, std::size_t count) { return Futex::current()->wake(count); }
};

using End = plait::multiprocessing::detail::QueueEnd<int, Environment>;
using Point = plait::multiprocessing::detail::WaitPoint<Environment>;

/// One puts `items`, and says so after each; `getters` want one each, and sleep until there is one.
template <std::size_t getters, int items = getters>
struct Sleeping {
    static constexpr std::size_t threads = 1 + getters;

    Sleeping() {
        Environment::steps_left() = 0;
        putting.begin_at(0);
        taking.begin_at(0);
    }
    void run(std::size_t thread) {
        if (thread == 1)
            for (int i = 1; i <= items; ++i) {
                putting.pass(i);
                point.wake_one();
            }
        else
            do point.sleep(Never{}, [&] { return putting.count() != taking.count(); });
            while (!take());
    }
    void end() const { model::expect(taking.count() == getters, "an item was not taken"); }
    bool take() {
        get_lock.lock();
        const bool there = putting.count() != taking.count();
        if (there) taking.pass(taking.place() + 1);
        get_lock.unlock();
        return there;
    }

    End putting;
    Point point;
    End taking;
    model::Mutex get_lock;
    Futex futex;
};

/// Two put, under a lock, of which one is killed after `steps`; one gets. The kernel frees a dead one's lock.
template <int steps>
struct Dying {
    static constexpr std::size_t threads = 3;

    Dying() {
        Environment::steps_left() = 0;
        putting.begin_at(0);
    }
    void run(std::size_t thread) {
        if (thread == 3) {
            get();
            get();
            return;
        }
        put_lock.lock();
        if (thread == 1) Environment::steps_left() = steps;
        try {
            put(thread == 1 ? 10 : 20);
        } catch (Killed) {
            is_dead = true;
        }
        Environment::steps_left() = 0;
        put_lock.unlock();
    }
    void put(int item) {
        const int place = putting.place();
        Environment::step();
        items[static_cast<std::size_t>(place)].set(item);
        Environment::step();
        putting.pass(place + 1);
    }
    void get() {
        while (taken < static_cast<int>(putting.count())) {
            const int item = items[static_cast<std::size_t>(taken)].get();
            model::expect(item == 10 || item == 20, "an item is not whole");
            model::expect(item != last, "an item came twice");
            last = item;
            ++taken;
        }
    }
    void end() {
        get();
        model::expect(putting.place() == taken, "the place is not that of the count");
        model::expect(taken == 2 || (is_dead && last == 20), "an item was lost");
        model::expect(taken == 1 || taken == 2, "an item was lost");
    }

    End putting;
    model::Mutex put_lock;
    std::array<model::Plain<int>, 4> items;
    int taken = 0;
    int last = 0;
    bool is_dead = false;
};

template <class P>
void passes() {
    const model::Report report = model::search<P>();
    INFO(report.failure << '\n' << report.trace);
    CHECK(report.passed());
    std::cout << "executions: " << report.executions << ", and begun in another order: " << report.redundant << '\n';
}

}  // namespace queue_models

using namespace queue_models;

TEST_CASE("each item that is put in a queue between processes wakes one that sleeps, in every order of their steps") {
    passes<Sleeping<1>>();
    passes<Sleeping<1, 2>>();
    passes<Sleeping<2>>();
}

TEST_CASE("a put that ends after any of its steps leaves its item in the queue or not, in every order with others") {
    passes<Dying<1>>();
    passes<Dying<2>>();
    passes<Dying<3>>();
    passes<Dying<4>>();
    passes<Dying<0>>();
}

TEST_CASE("a queue between processes with a weaker order, or without one of its steps, is found out") {
    const std::vector<std::string> locations{"put", "event_", "sleeping_", "waiting_", "taken"};
    model::Mutants points{"/wait_point.hpp", locations};
    model::Mutants ends{"/queue_end.hpp", locations};
    CHECK(points.not_found_by<Sleeping<1>, Sleeping<1, 2>>() ==
          std::set<std::string>{
              // The marks order what event_ says, too: seq_cst there is more than is needed.
              "sleep: event_.load seq_cst -> acquire",
              "sleep: event_.load seq_cst -> relaxed",
              "wake: event_.fetch_add seq_cst -> acq_rel",
              "wake: event_.fetch_add seq_cst -> acquire",
              "wake: event_.fetch_add seq_cst -> release",
              "wake: event_.fetch_add seq_cst -> relaxed",
              // A mark that stays costs a call of the system; that it is set again is for more sleepers than one.
              "wake: sleeping_.store seq_cst -> nothing",
              "wake: sleeping_.store seq_cst -> relaxed",
              "wake: sleeping_.store seq_cst -> release",
              // Nothing depends on it.
              "sleep: waiting_.fetch_add relaxed -> nothing",
              "sleep: waiting_.fetch_sub relaxed -> nothing",
          });
    CHECK(ends.not_found_by<Dying<0>, Dying<2>, Sleeping<1>>().empty());
    std::cout << "mutants made: " << points.count() + ends.count() << ", not found: 11\n";
}
