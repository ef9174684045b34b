// SPDX-License-Identifier: MIT
#include <plait/threading/detail/stealing_deque.hpp>

#include "support/catch.hpp"
#include "support/model/search.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <map>
#include <set>
#include <string>

// The programs below have 9 to 2,050 executions that differ in more than the order of steps that commute. Of 39 mutants of
// the deque 27 are found, of 41 of the pool's sleep 22; each of the others is listed below with the reason why it does no
// harm, or why the model cannot tell.

namespace deque_models {

struct Item {
    model::Plain<int> value;
};
using Deque = plait::threading::detail::StealingDeque<Item, model::Environment>;

/// What the programs below share: items, each of which is got by one thread, once, with what was written to it.
class Base {
public:
    explicit Base(std::size_t capacity) : deque_{capacity} {}

    void end() {
        for (std::size_t i = 0; i < most; ++i) got(deque_.take(0));
        for (std::size_t i = 0; i < put_; ++i) model::expect(taken_[i] == 1, "an item was lost");
    }

protected:
    static constexpr std::size_t most = 4;

    void put() {
        items_[put_].value.set(1);
        deque_.put(&items_[put_++]);
    }
    /// `floor`: in a program that puts every item at a place of its own.
    bool got(Item* item, std::int64_t floor = 0) {
        if (item == nullptr) return false;
        const auto place = item - items_.data();
        model::expect(item >= items_.data() && place < static_cast<std::ptrdiff_t>(most), "no item of ours was taken");
        model::expect(place >= floor, "an item below the floor was taken");
        model::expect(++taken_[static_cast<std::size_t>(place)] == 1, "an item was taken twice");
        model::expect(item->value.get() == 1, "an item was seen without what was written to it");
        return true;
    }
    void steal(std::int64_t floor = 0) { got(deque_.steal(floor), floor); }
    void take(std::int64_t floor = 0) { got(deque_.take(floor), floor); }

    Deque deque_;

private:
    std::array<Item, most> items_;
    std::array<int, most> taken_{};
    std::size_t put_ = 0;
};

/// Two items, and a thief who tries twice.
struct OneThief : Base {
    static constexpr std::size_t threads = 2;
    OneThief() : Base{2} {}
    void run(std::size_t thread) {
        if (thread == 1) {
            put();
            put();
            take();
            take();
        } else {
            steal();
            steal();
        }
    }
};

/// Two items, and two thieves.
struct TwoThieves : Base {
    static constexpr std::size_t threads = 3;
    TwoThieves() : Base{2} {}
    void run(std::size_t thread) {
        if (thread == 1) {
            put();
            put();
            take();
            take();
        } else {
            steal();
            if (thread == 2) steal();
        }
    }
};

/// The ring grows twice while two thieves are at the old ones.
struct Growth : Base {
    static constexpr std::size_t threads = 3;
    Growth() : Base{1} {}
    void run(std::size_t thread) {
        if (thread == 1) {
            put();
            put();
            put();
            take();
        } else {
            steal();
        }
    }
};

/// Others are put where the last one was fought for.
struct Refill : Base {
    static constexpr std::size_t threads = 3;
    Refill() : Base{1} {}
    void run(std::size_t thread) {
        if (thread == 1) {
            put();
            take();
            put();
            take();
        } else {
            steal();
        }
    }
};

/// Who waits takes nothing from below its floor; neither does a thief who has one.
struct Floor : Base {
    static constexpr std::size_t threads = 3;
    Floor() : Base{2} {}
    void run(std::size_t thread) {
        if (thread == 1) {
            put();
            put();
            put();
            take(1);
            take(1);
        } else {
            steal(thread == 2 ? 0 : 1);
        }
    }
};

/// Room made for two in one growth.
struct Room : Base {
    static constexpr std::size_t threads = 2;
    Room() : Base{1} {}
    void run(std::size_t thread) {
        if (thread == 1) {
            put();
            model::expect(deque_.make_room(2), "no memory");
            put();
            put();
            take();
        } else {
            steal();
            steal();
        }
    }
};

/// The pool's workers in the small, as in pool_core.hpp: one thread submits a task for each of them, wakes one, which is to
/// wake the next; they search, sleep, are woken, and take one task each. Where a wake-up is lost, a worker waits for
/// ever. `asleep` of the workers sleep from the beginning.
template <std::size_t workers, std::size_t asleep>
struct Sleep : Base {
    static constexpr std::size_t threads = 1 + workers;

    Sleep() : Base{2} { asleep_.set((std::size_t{1} << asleep) - 1); }

    void run(std::size_t thread) {
        if (thread == 1) {
            for (std::size_t i = 0; i < workers; ++i) put();
            return wake_for_work();
        }
        const std::size_t self = thread - 2;
        if (self < asleep) woken_[self].wait_and_clear();
        while (!got(deque_.steal())) {
            searching_.fetch_sub(1, std::memory_order_seq_cst);
            if (!sleep(self)) searching_.fetch_add(1, std::memory_order_seq_cst);
        }
        if (searching_.fetch_sub(1, std::memory_order_seq_cst) == 1 && !deque_.empty()) wake_for_work();
    }

private:
    void wake_for_work() {
        if (searching_.load(std::memory_order_seq_cst) != 0 || sleepers_.load(std::memory_order_seq_cst) == 0) return;
        bucket_.lock();
        for (std::size_t i = 0; i < workers; ++i) {
            if ((asleep_.get() >> i & 1) == 0) continue;
            searching_.fetch_add(1, std::memory_order_seq_cst);
            sleepers_.fetch_sub(1, std::memory_order_seq_cst);
            asleep_.set(asleep_.get() & ~(std::size_t{1} << i));
            woken_[i].store(1, std::memory_order_release);
            break;
        }
        bucket_.unlock();
    }
    /// Whether it slept, and was woken.
    bool sleep(std::size_t self) {
        bucket_.lock();
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        const bool work = !deque_.empty();
        if (work)
            sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        else
            asleep_.set(asleep_.get() | std::size_t{1} << self);
        bucket_.unlock();
        if (!work) woken_[self].wait_and_clear();
        return !work;
    }

    model::Atomic<int> sleepers_{static_cast<int>(asleep)};
    model::Atomic<int> searching_{static_cast<int>(workers - asleep)};
    model::Mutex bucket_;
    std::array<model::Atomic<int>, workers> woken_{};
    model::Plain<std::size_t> asleep_;  // as bits; under the bucket
};

const char* const load_buffering =
    "the owner overwrites a slot only after it has seen `begin_` beyond it: only a load that reads what is written "
    "later, "
    "which the model has not, would tell";
const char* const exchange_decides =
    "that one exchange of a place succeeds is the exchange's, whatever its order; what was put comes with `end_`, and "
    "that "
    "`begin_` and `end_` are read in an order that fits is their loads'. The release pairs with the acquire in put, "
    "see "
    "there; the rest costs nothing where an exchange is a locked instruction";
const char* const old_begin = "an old `begin_` only makes the deque seem to have something";
const char* const too_many = "who counts a sleeper too many looks for one in vain";
const char* const not_waited_for =
    "who reads it late wakes one too many; who must not miss it meets it at the deque or at the bucket";

/// The mutants of the deque that no program finds, each with the reason.
const std::map<std::string, const char*> harmless_in_deque{
    {"put: begin_.load acquire -> relaxed", load_buffering},
    {"make_room: begin_.load acquire -> relaxed", load_buffering},
    {"take: begin_.compare_exchange seq_cst -> acq_rel", exchange_decides},
    {"take: begin_.compare_exchange seq_cst -> acquire", exchange_decides},
    {"take: begin_.compare_exchange seq_cst -> release", exchange_decides},
    {"take: begin_.compare_exchange seq_cst -> relaxed", exchange_decides},
    {"steal: begin_.compare_exchange seq_cst -> acq_rel", exchange_decides},
    {"steal: begin_.compare_exchange seq_cst -> acquire", exchange_decides},
    {"steal: begin_.compare_exchange seq_cst -> release", exchange_decides},
    {"steal: begin_.compare_exchange seq_cst -> relaxed", exchange_decides},
    {"empty: begin_.load seq_cst -> acquire", old_begin},
    {"empty: begin_.load seq_cst -> relaxed", old_begin},
};
/// The same of the sleep.
const std::map<std::string, const char*> harmless_in_sleep{
    {"run: searching_.fetch_add seq_cst -> acq_rel", not_waited_for},
    {"run: searching_.fetch_add seq_cst -> acquire", not_waited_for},
    {"run: searching_.fetch_add seq_cst -> relaxed", not_waited_for},
    {"run: searching_.fetch_add seq_cst -> release", not_waited_for},
    {"sleep: sleepers_.fetch_sub seq_cst -> acq_rel", too_many},
    {"sleep: sleepers_.fetch_sub seq_cst -> acquire", too_many},
    {"sleep: sleepers_.fetch_sub seq_cst -> nothing", too_many},
    {"sleep: sleepers_.fetch_sub seq_cst -> relaxed", too_many},
    {"sleep: sleepers_.fetch_sub seq_cst -> release", too_many},
    {"wake_for_work: searching_.fetch_add seq_cst -> acq_rel", not_waited_for},
    {"wake_for_work: searching_.fetch_add seq_cst -> acquire", not_waited_for},
    {"wake_for_work: searching_.fetch_add seq_cst -> relaxed", not_waited_for},
    {"wake_for_work: searching_.fetch_add seq_cst -> release", not_waited_for},
    {"wake_for_work: sleepers_.fetch_sub seq_cst -> acq_rel", too_many},
    {"wake_for_work: sleepers_.fetch_sub seq_cst -> acquire", too_many},
    {"wake_for_work: sleepers_.fetch_sub seq_cst -> nothing", too_many},
    {"wake_for_work: sleepers_.fetch_sub seq_cst -> relaxed", too_many},
    {"wake_for_work: sleepers_.fetch_sub seq_cst -> release", too_many},
    {"wake_for_work: woken_.store release -> relaxed", "what the woken one needs comes with the deque"},
};

}  // namespace deque_models

using namespace deque_models;

namespace {

template <class Program>
void passes() {
    const model::Report report = model::search<Program>();
    INFO(report.failure << '\n' << report.trace);
    CHECK(report.passed());
    std::cout << "executions: " << report.executions << ", and begun in another order: " << report.redundant << '\n';
}

std::set<std::string> names(const std::map<std::string, const char*>& mutants) {
    std::set<std::string> result;
    for (const auto& [name, reason] : mutants) result.insert(name);
    return result;
}

}  // namespace

TEST_CASE("a stealing deque gives each item once, in every order of two or three threads") {
    passes<OneThief>();
    passes<TwoThieves>();
    passes<Growth>();
    passes<Refill>();
    passes<Floor>();
    passes<Room>();
}

TEST_CASE("no worker of a pool sleeps beside a task, in every order") {
    passes<Sleep<1, 0>>();
    passes<Sleep<2, 1>>();
}

TEST_CASE("a stealing deque with a weaker order, or without a write, is found out") {
    model::Mutants mutants{"/stealing_deque.hpp", {"begin_", "end_", "ring_", "slot"}};
    const auto left = mutants.not_found_by<Sleep<1, 0>, OneThief, Room, Floor, Growth, Refill, TwoThieves>();
    CHECK(left == names(harmless_in_deque));
    std::cout << "mutants found: " << mutants.count() - left.size() << " of " << mutants.count() << '\n';
}

TEST_CASE("a pool's sleep with a weaker order, or without a write, is found out") {
    model::Mutants mutants{"/stealing_deque_test.cpp",
                           {"begin_", "end_", "ring_", "slot", "slot", "sleepers_", "searching_", "bucket_", "woken_"}};
    const auto left = mutants.not_found_by<Sleep<1, 0>, Sleep<2, 1>>();
    CHECK(left == names(harmless_in_sleep));
    std::cout << "mutants found: " << mutants.count() - left.size() << " of " << mutants.count() << '\n';
}
