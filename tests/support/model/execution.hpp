// SPDX-License-Identifier: MIT
#pragma once

#include "support/model/fiber.hpp"
#include "support/model/memory.hpp"
#include "support/model/mutant.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace model {

/// What a thread is about to do at a location.
struct Operation {
    enum Kind : std::uint8_t { load, store, exchange, compare_exchange, wait };

    Kind kind = load;
    std::uint8_t location = 0;
    std::memory_order order = std::memory_order_relaxed;
    std::memory_order failure = std::memory_order_relaxed;  // of a compare-exchange
    bool dropped = false;                                   // by a mutant: nothing is written

    [[nodiscard]] bool only_reads() const noexcept { return kind == load; }
};

/// All executions of a small program with threads, one after the other: each runs it from its beginning, by the list of
/// choices that the one before has left, of which the last was changed.
///
/// Two kinds of choice: which thread makes its next operation, and which write a load reads.
///
/// Sleep sets (Godefroid) leave out orders that differ only in operations that commute: a thread whose next operation
/// has been tried at a choice sleeps below the other branches of it until one of them makes an operation that does not
/// commute with its own. Operations at different locations commute, and so does a load with a write that it does not
/// read; so a load that a write wakes has only the writes to read that are newer than its sleep.
class Execution {
public:
    static Execution*& current() noexcept {
        static Execution* execution = nullptr;
        return execution;
    }

    // --- For the search ---

    void begin() {
        // The vectors keep their memory.
        location_count_ = 0;
        sequentials_.clear();
        threads_running_ = 0;
        running_ = 0;
        depth_ = 0;
        over_ = false;
        redundant_ = false;
        completed_ = false;
        failure_.clear();
        trace_.clear();
        for (Thread& thread : threads_) thread.reset();
        current() = this;
    }
    /// Runs `body(thread)` for threads 1 to `count` until all have ended, or none gets on.
    template <class Body>
    void run(std::size_t count, Body& body) {
        body_ = &body;
        call_body_ = [](void* what, std::size_t thread) { (*static_cast<Body*>(what))(thread); };
        ++threads_[0].view.clock[0];
        for (std::size_t i = 1; i <= count; ++i) {
            Thread& thread = threads_[i];
            thread.view = threads_[0].view;  // its start
            thread.unfinished = true;
        }
        // To their first operations, one by one.
        threads_running_ = count;
        starting_ = true;
        for (std::size_t i = 1; i <= count; ++i) {
            threads_[i].fiber.begin(&run_fiber);
            running_ = i;
            threads_[i].fiber.enter(main_);
        }
        starting_ = false;
        running_ = 0;
        const std::size_t first = schedule();
        if (first != 0) {
            running_ = first;
            threads_[first].fiber.enter(main_);
        }
        running_ = 0;
        threads_running_ = 0;
        completed_ = failure_.empty() && !redundant_;
        if (!completed_) return;
        over_ = false;
        for (std::size_t i = 1; i <= count; ++i) threads_[0].view.join(threads_[i].view);  // their end
    }
    /// Whether all threads came to their end.
    [[nodiscard]] bool completed() const noexcept { return completed_; }
    /// Changes the last choice that has another branch; false where there is none left.
    bool next() {
        while (!choices_.empty()) {
            Choice& last = choices_.back();
            if (last.is_read) {
                if (++last.chosen < last.count) return true;
            } else {
                // What was tried sleeps below the others.
                last.sleep[last.chosen] = last.chosen_only_reads ? last.chosen_writes : asleep;
                last.chosen = candidate(last);
                if (last.chosen != 0) {
                    note_choice(last);
                    return true;
                }
            }
            choices_.pop_back();
        }
        return false;
    }
    /// Without the reduction every order is tried: to show that the reduction leaves no outcome out.
    void forget_choices(bool reduce = true) noexcept {
        choices_.clear();
        reduce_ = reduce;
    }
    [[nodiscard]] bool redundant() const noexcept { return redundant_; }
    [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
    [[nodiscard]] std::string trace() const;

    // --- For the program's threads ---

    /// Ends the execution: it has shown an error.
    void fail(const std::string& text) {
        if (over_) return;
        failure_ = text;
        over_ = true;
        if (running_ != 0) leave_for_good();
    }

    std::uint8_t add_location(std::uint64_t value) {
        if (location_count_ == max_locations) {
            fail("more locations than the model has room for");
            return 0;
        }
        if (locations_.size() == location_count_) locations_.emplace_back();
        Location& location = locations_[location_count_];
        location.writes.clear();
        location.writes.emplace_back().value = value;
        location.born = now();
        return static_cast<std::uint8_t>(location_count_++);
    }

    std::uint64_t load(Operation operation, const Site& site) {
        Location& location = meet(operation, site);
        std::size_t from = own().view.oldest[operation.location];
        if (from < own_sleep_) from = own_sleep_;
        Branches branches;
        for (std::size_t which = location.writes.size(); which-- > from;)
            if (may_read(operation, which, operation.order)) branches.add(which);
        const std::size_t which = choose(branches);
        const std::uint64_t value = read(operation, location, which, operation.order);
        note(site, operation.order, value, which != location.newest() ? "old" : "");
        done(operation, false);
        return value;
    }
    void store(Operation operation, std::uint64_t value, const Site& site) {
        Location& location = meet(operation, site);
        if (!operation.dropped) append(operation, location, value, operation.order, false);
        note(site, operation.order, value, operation.dropped ? "dropped" : "");
        done(operation, !operation.dropped);
    }
    /// `change(old)` gives the new value.
    template <class Change>
    std::uint64_t exchange(Operation operation, Change change, const Site& site) {
        Location& location = meet(operation, site);
        const std::uint64_t old = read(operation, location, location.newest(), operation.order, !operation.dropped);
        const std::uint64_t value = change(old);
        if (!operation.dropped) append(operation, location, value, operation.order, true);
        note(site, operation.order, value, operation.dropped ? "dropped" : "");
        done(operation, !operation.dropped);
        return old;
    }
    bool compare_exchange(Operation operation, std::uint64_t& expected, std::uint64_t value, const Site& site) {
        Location& location = meet(operation, site);
        // The newest, if it is the expected one: success. Any that may be read and is not: failure.
        Branches branches;
        for (std::size_t which = location.writes.size(); which-- > own().view.oldest[operation.location];) {
            const bool expected_one = location.writes[which].value == expected;
            if (expected_one ? which == location.newest() : may_read(operation, which, operation.failure))
                branches.add(which);
        }
        const std::size_t which = choose(branches);
        const bool success = location.writes[which].value == expected;
        const std::memory_order order = success ? operation.order : operation.failure;
        const bool writes = success && !operation.dropped;
        const std::uint64_t old = read(operation, location, which, order, writes);
        if (writes) append(operation, location, value, order, true);
        note(site, order, success ? value : old, success ? "success" : "failure");
        done(operation, writes);
        if (!success) expected = old;
        return success;
    }
    /// Until the location holds something but 0; then it holds 0. An acquire.
    void wait(Operation operation, const Site& site) {
        Location& location = meet(operation, site);
        static_cast<void>(read(operation, location, location.newest(), std::memory_order_acquire, true));
        append(operation, location, 0, std::memory_order_relaxed, true);
        note(site, std::memory_order_acquire, 0, "");
        done(operation, true);
    }

    /// The running thread's next moment.
    [[nodiscard]] Moment now() noexcept {
        return {static_cast<std::uint8_t>(running_), static_cast<std::uint16_t>(own().view.clock[running_] + 1)};
    }
    [[nodiscard]] const View& view() noexcept { return own().view; }

private:
    static constexpr std::uint8_t asleep = 255;
    static constexpr std::size_t max_depth = 4000;

    /// For each thread: 0 awake, `asleep`, or, of one whose load sleeps, the first write that it has not tried to read.
    using Sleep = std::array<std::uint8_t, max_threads>;

    struct Thread {
        Fiber fiber;
        View view;
        Operation next;
        bool unfinished = false;

        void reset() {
            view = View{};
            unfinished = false;
        }
    };
    struct Choice {
        bool is_read = false;
        std::size_t chosen = 0;
        std::size_t count = 0;  // of a read: how many writes there are to choose from
        Sleep sleep{};          // of a schedule: who slept here
        bool chosen_only_reads = false;
        std::uint8_t chosen_writes = 0;  // at its location, here
        std::uint8_t enabled = 0;        // which threads could go on here, as bits; and, of those, which only read
        std::uint8_t only_reads = 0;
        Sleep writes{};  // at their locations
    };
    /// The writes that may be read, the newest first.
    struct Branches {
        std::array<std::uint8_t, 256> writes;
        std::size_t count = 0;
        void add(std::size_t which) noexcept { writes[count++] = static_cast<std::uint8_t>(which); }
    };
    struct Line {
        std::size_t thread;
        Site site;
        std::memory_order order;
        std::uint64_t value;
        const char* remark;
        std::uint8_t location;
    };

    Thread& own() noexcept { return threads_[running_]; }

    static void run_fiber() {
        Execution& execution = *current();
        execution.call_body_(execution.body_, execution.running_);
        execution.own().unfinished = false;
        if (execution.starting_) execution.leave_for_good();
        execution.go_on_with(execution.schedule());
    }
    void leave_for_good() {
        const std::size_t self = running_;
        running_ = 0;
        ::swapcontext(&threads_[self].fiber.context(), &main_);
    }
    void go_on_with(std::size_t next) {
        if (next == running_ && next != 0) return;
        const std::size_t self = running_;
        running_ = next;
        ucontext_t& to = next == 0 ? main_ : threads_[next].fiber.context();
        ::swapcontext(&threads_[self].fiber.context(), &to);
        running_ = self;
    }

    /// Announces the running thread's operation, and returns when it is its turn.
    Location& meet(Operation& operation, const Site& site) {
        mutate(operation, site);
        Thread& self = own();
        own_sleep_ = 0;
        if (running_ != 0) {
            self.next = operation;
            if (starting_) {
                const std::size_t number = running_;
                ::swapcontext(&self.fiber.context(), &main_);
                running_ = number;
            } else {
                go_on_with(schedule());
            }
            own_sleep_ = sleep_[running_];
            if (own_sleep_ == asleep) own_sleep_ = 0;
        }
        ++own().view.clock[running_];
        if (!locations_[operation.location].born.before_or_own(own().view, now()))
            fail("an atomic is used by a thread that does not know that it was made");
        return locations_[operation.location];
    }
    void mutate(Operation& operation, const Site& site);

    [[nodiscard]] bool enabled(const Thread& thread) const noexcept {
        if (!thread.unfinished) return false;
        return thread.next.kind != Operation::wait || locations_[thread.next.location].writes.back().value != 0;
    }

    /// Who goes on: a thread's number, or 0 where the execution ends.
    std::size_t schedule() {
        if (over_) return 0;
        if (depth_ < choices_.size()) {
            const Choice& choice = choices_[depth_++];
            sleep_ = choice.sleep;
            return choice.chosen;
        }
        Choice choice;
        choice.sleep = sleep_of_new_choice();
        bool unfinished = false;
        for (std::size_t i = 1; i <= threads_running_; ++i) {
            const Thread& thread = threads_[i];
            unfinished = unfinished || thread.unfinished;
            if (!enabled(thread)) continue;
            choice.enabled = static_cast<std::uint8_t>(choice.enabled | 1u << i);
            choice.writes[i] = static_cast<std::uint8_t>(locations_[thread.next.location].writes.size());
            if (thread.next.only_reads()) choice.only_reads = static_cast<std::uint8_t>(choice.only_reads | 1u << i);
        }
        if (choice.enabled == 0) {
            over_ = true;
            if (unfinished) failure_ = "deadlock: a thread waits for ever";
            return 0;
        }
        choice.chosen = candidate(choice);
        if (choice.chosen == 0) {
            redundant_ = over_ = true;  // all that is to come has been seen in another order
            return 0;
        }
        if (choices_.size() == max_depth) {
            failure_ = "the execution does not end";
            over_ = true;
            return 0;
        }
        note_choice(choice);
        sleep_ = choice.sleep;
        choices_.push_back(choice);
        ++depth_;
        return choice.chosen;
    }
    [[nodiscard]] Sleep sleep_of_new_choice() const noexcept { return depth_ == 0 ? Sleep{} : sleep_; }
    /// The running thread if it may, to switch seldom; else the first that may; 0 if none.
    [[nodiscard]] std::size_t candidate(const Choice& choice) const noexcept {
        const auto may = [&](std::size_t i) {
            if ((choice.enabled >> i & 1) == 0 || choice.sleep[i] == asleep) return false;
            return choice.sleep[i] == 0 || choice.sleep[i] < choice.writes[i];
        };
        if (running_ != 0 && may(running_)) return running_;
        for (std::size_t i = 1; i < max_threads; ++i)
            if (may(i)) return i;
        return 0;
    }
    static void note_choice(Choice& choice) noexcept {
        choice.chosen_only_reads = (choice.only_reads >> choice.chosen & 1) != 0;
        choice.chosen_writes = choice.writes[choice.chosen];
    }

    std::size_t choose(const Branches& branches) {
        if (branches.count == 1 || running_ == 0) return branches.writes[0];
        if (depth_ == choices_.size()) {
            Choice choice;
            choice.is_read = true;
            choice.count = branches.count;
            choices_.push_back(choice);
        }
        return branches.writes[choices_[depth_++].chosen];
    }

    /// What of the order S comes before a read by itself: of two seq_cst ones who synchronises with it.
    [[nodiscard]] Sequentials before_read(const Write& write) noexcept {
        Sequentials before = own().view.before;
        if (write.heads != 0) before |= write.heads | write.released.before;
        return before;
    }
    [[nodiscard]] bool may_read(const Operation& operation, std::size_t which, std::memory_order order) noexcept {
        if (order != std::memory_order_seq_cst) return true;
        const Write& write = locations_[operation.location].writes[which];
        return sequentials_.fits(operation.location, SequentialOrder::place_of_read(which), before_read(write));
    }
    std::uint64_t read(const Operation& operation, const Location& location, std::size_t which, std::memory_order order,
                       bool and_writes = false) {
        View& view = own().view;
        const Write& write = location.writes[which];
        std::uint8_t& oldest = view.oldest[operation.location];
        if (oldest < which) oldest = static_cast<std::uint8_t>(which);
        if (order == std::memory_order_seq_cst) {
            const Sequentials before = before_read(write);
            const std::size_t place =
                and_writes ? SequentialOrder::place_of_write(which + 1) : SequentialOrder::place_of_read(which);
            acting_ = add_sequential(operation, place, before);
            view.before = before;
        }
        if (acquires(order) && write.releases) view.join(write.released);
        if (!and_writes) acted();
        return write.value;
    }
    void append(const Operation& operation, Location& location, std::uint64_t value, std::memory_order order,
                bool continues) {
        if (location.writes.size() >= asleep - 1) return fail("more writes than the model has room for");
        View& view = own().view;
        const std::size_t which = location.writes.size();
        view.oldest[operation.location] = static_cast<std::uint8_t>(which);
        location.writes.emplace_back();
        Write& write = location.writes[which];
        const Write& before = location.writes[which - 1];
        if (order == std::memory_order_seq_cst && !continues)
            acting_ = add_sequential(operation, SequentialOrder::place_of_write(which), view.before);
        write.value = value;
        write.releases = releases(order) || (continues && before.releases);
        write.heads = acting_;
        // What it passes on strongly happened before it: not yet itself.
        if (releases(order)) write.released = view;
        if (continues && before.releases) {
            if (releases(order))
                write.released.join(before.released);
            else
                write.released = before.released;
            write.heads |= before.heads;
        }
        acted();
    }
    Sequentials add_sequential(const Operation& operation, std::size_t place, Sequentials before) {
        if (sequentials_.size() == max_sequentials) {
            fail("more seq_cst operations than the model has room for");
            return 0;
        }
        return SequentialOrder::one(sequentials_.add(operation.location, place, before));
    }
    /// From now on what the thread does comes after its seq_cst operation.
    void acted() noexcept { own().view.before |= std::exchange(acting_, 0); }

    /// Wakes those whose next operation does not commute with this one.
    void done(const Operation& operation, bool wrote) noexcept {
        if (running_ == 0) return;
        sleep_[running_] = 0;
        for (std::size_t i = 1; i <= threads_running_; ++i) {
            const Operation& other = threads_[i].next;
            const bool commutes = other.location != operation.location || !wrote || other.only_reads();
            if (!commutes || !reduce_) sleep_[i] = 0;
        }
    }
    void note(const Site& site, std::memory_order order, std::uint64_t value, const char* remark) {
        if (running_ != 0) trace_.push_back({running_, site, order, value, remark, own().next.location});
    }

    std::array<Thread, max_threads> threads_;
    std::vector<Location> locations_;
    std::size_t location_count_ = 0;
    SequentialOrder sequentials_;
    Sequentials acting_ = 0;  // the operation that is just made, if it is seq_cst
    std::vector<Choice> choices_;
    std::size_t depth_ = 0;
    Sleep sleep_{};
    std::uint8_t own_sleep_ = 0;  // from which write on the running thread's load reads
    std::size_t running_ = 0;
    std::size_t threads_running_ = 0;
    bool starting_ = false;
    bool over_ = false;
    bool redundant_ = false;
    bool completed_ = false;
    bool reduce_ = true;
    std::string failure_;
    std::vector<Line> trace_;
    void* body_ = nullptr;
    void (*call_body_)(void*, std::size_t) = nullptr;
    ucontext_t main_{};
};

inline std::string Execution::trace() const {
    std::string text;
    for (const Line& line : trace_) {
        text += "  thread " + std::to_string(line.thread) + "  " + line.site.name() + "  at " +
                std::to_string(line.location) + ", " + name_of(line.order) + ": " + std::to_string(line.value);
        if (*line.remark != 0) text += std::string{" ("} + line.remark + ')';
        text += '\n';
    }
    return text;
}

inline void Execution::mutate(Operation& operation, const Site& site) {
    Mutation& mutation = Mutation::current();
    if (mutation.collecting && running_ != 0) mutation.add(site, operation.location, operation.order);
    if (!mutation.mutant || !mutation.mutant->site.same_place(site)) return;
    operation.dropped = mutation.mutant->drops;
    if (operation.dropped) return;
    operation.order = mutation.mutant->order;
}

}  // namespace model
