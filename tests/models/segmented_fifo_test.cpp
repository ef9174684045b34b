// SPDX-License-Identifier: MIT
#include <plait/threading/detail/segmented_fifo.hpp>

#include "support/catch.hpp"
#include "support/model/search.hpp"

#include <cstddef>
#include <iostream>
#include <map>
#include <set>
#include <string>

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

TEST_CASE("a segmented row with a weaker order, or without a write, is found out") {
    model::Mutants counters{"/segmented_fifo.hpp", {"spare_", "put", "taken"}};
    const auto left = counters.not_found_by<Program<3, 3>, Program<5, 4>>();
    for (const auto& l : left) std::cout << l << '\n';
    std::cout << "mutants found: " << counters.count() - left.size() << " of " << counters.count() << '\n';
    model::Mutants chain{"/segment_chain.hpp", {"spare_", "put", "taken"}};
    const auto left2 = chain.not_found_by<Program<3, 3>, Program<5, 4>>();
    for (const auto& l : left2) std::cout << l << '\n';
    std::cout << "mutants found: " << chain.count() - left2.size() << " of " << chain.count() << '\n';
}
