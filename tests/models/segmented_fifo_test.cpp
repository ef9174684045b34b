// SPDX-License-Identifier: MIT
#include <plait/threading/detail/segmented_fifo.hpp>

#include "support/catch.hpp"
#include "support/model/search.hpp"

#include <cstddef>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace fifo_models {

/// An item, and beside it what the model knows of the place where it stands: who makes or destroys one there must know
/// of what was there before, who reads it of its making.
class Item {
public:
    explicit Item(int value) : value_{value} { place().set(value); }
    Item(const Item&) = delete;
    Item& operator=(const Item&) = delete;
    ~Item() { place().set(0); }

    [[nodiscard]] int value() const {
        model::expect(place().get() == value_, "an item was overwritten");
        return value_;
    }
    /// Before each execution.
    static void forget_places() { places().clear(); }

private:
    static std::map<const void*, model::Plain<int>>& places() {
        static std::map<const void*, model::Plain<int>> all;
        return all;
    }
    [[nodiscard]] model::Plain<int>& place() const { return places()[this]; }

    int value_;
};

using Fifo = plait::threading::detail::SegmentedFifo<Item, model::Environment>;

/// One puts, another takes what it finds, by `looks` looks; the segments, of two items each, go round.
template <int items, int looks>
struct Program {
    static constexpr std::size_t threads = 2;

    Program() { Item::forget_places(); }

    void run(std::size_t thread) {
        if (thread == 1)
            for (int i = 1; i <= items; ++i) fifo.emplace(i);
        else
            for (int i = 0; i < looks; ++i) take();
    }
    void end() {
        while (take()) {
        }
        model::expect(taken == items, "an item was lost");
        model::expect(fifo.put_count() == fifo.taken_count(), "the counts differ");
    }
    bool take() {
        const Item* const item = fifo.front();
        if (item == nullptr) return false;
        model::expect(item->value() == ++taken, "an item came out of turn");
        fifo.pop();
        return true;
    }

    Fifo fifo;
    int taken = 0;
};

template <class P>
void passes() {
    const model::Report report = model::search<P>();
    INFO(report.failure << '\n' << report.trace);
    CHECK(report.passed());
    std::cout << "executions: " << report.executions << ", and begun in another order: " << report.redundant << '\n';
}

}  // namespace fifo_models

using namespace fifo_models;

TEST_CASE("a segmented row gives each item once and in turn, in every order of one that puts and one that takes") {
    passes<Program<3, 3>>();
    passes<Program<5, 4>>();
}

TEST_CASE("a segmented row with a weaker order is found out") {
    const std::vector<std::string> locations{"spare_", "put", "taken"};
    model::Mutants counters{"/segmented_fifo.hpp", locations, false};
    model::Mutants chain{"/segment_chain.hpp", locations, false};
    // Room comes to the putting end by `spare_`; that count is released for users who give room by it.
    CHECK(counters.not_found_by<Program<3, 3>, Program<5, 4>>() ==
          std::set<std::string>{"pop: taken.store release -> relaxed"});
    // Here one thread takes; of several, the lock by which they take turns says the same.
    CHECK(chain.not_found_by<Program<3, 3>, Program<5, 4>>() ==
          std::set<std::string>{"proceed: spare_.exchange acq_rel -> release"});
    std::cout << "mutants made: " << counters.count() + chain.count() << ", not found: 2\n";
}
