// SPDX-License-Identifier: MIT
#pragma once

#include "support/model/environment.hpp"
#include "support/model/execution.hpp"
#include "support/model/mutant.hpp"

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace model {

// A program is a class: its constructor makes what the threads share, `run(thread)` is what thread 1, 2 … `threads`
// does, and `end()` looks at what they left.

struct Report {
    std::size_t executions = 0;  // seen to their end
    std::size_t redundant = 0;   // begun, and found to be one of those in another order
    std::string failure;         // of the last, if it failed
    std::string trace;           // what it did

    [[nodiscard]] bool passed() const noexcept { return failure.empty(); }
};

/// Runs every execution of the program, or until one fails.
template <class Program>
Report search(bool reduce = true) {
    static Execution execution;
    Report report;
    execution.forget_choices(reduce);
    do {
        execution.begin();
        Program program;
        auto body = [&program](std::size_t thread) { program.run(thread); };
        execution.run(Program::threads, body);
        if (execution.completed()) program.end();
        ++(execution.redundant() ? report.redundant : report.executions);
        if (!execution.failure().empty()) {
            report.failure = execution.failure();
            report.trace = execution.trace();
            break;
        }
    } while (execution.next());
    return report;
}

/// Makes mutants of a part that several programs use, and looks which of them no program finds.
///
///     Mutants mutants{"/stealing_deque.hpp", {"begin_", "end_", "ring_", "slot"}};
///     CHECK(mutants.not_found_by<OneThief, TwoThieves>() == equivalent);
class Mutants {
public:
    /// Of operations called in the file `file`. `locations` names the atomics in the order in which a program makes them;
    /// the last name is for all that come after.
    /// Without `drops` no write is left out: for a part that would then run into memory that is not its own.
    Mutants(std::string file, std::vector<std::string> locations, bool drops = true)
        : file_{std::move(file)}, locations_{std::move(locations)}, drops_{drops} {}

    /// The mutants that none of the programs finds, by name. The quick programs first.
    template <class... Programs>
    std::set<std::string> not_found_by() {
        (collect<Programs>(), ...);
        std::set<std::string> left;
        const Mutant* harmless = nullptr;
        for (const Mutant& mutant : mutants_) {
            // What a stronger order lets happen a weaker one does too: the weakest comes first, and speaks for the others.
            const bool like_another = harmless != nullptr && !mutant.drops && harmless->site.same_place(mutant.site);
            if (!like_another && (finds<Programs>(mutant) || ...)) continue;
            if (mutant.order == std::memory_order_relaxed && !mutant.drops) harmless = &mutant;
            left.insert(mutant.name());
        }
        return left;
    }
    /// How many were made.
    [[nodiscard]] std::size_t count() const noexcept { return mutants_.size(); }

private:
    /// Searches the program as it is, and notes its operations.
    template <class Program>
    void collect() {
        Mutation& mutation = Mutation::current();
        mutation.collecting = true;
        static_cast<void>(search<Program>());
        mutation.collecting = false;
        for (const Mutation::Use& use : mutation.uses) add(use);
        mutation.uses.clear();
    }
    template <class Program>
    [[nodiscard]] static bool finds(const Mutant& mutant) {
        Mutation& mutation = Mutation::current();
        mutation.mutant = mutant;
        const Report report = search<Program>();
        mutation.mutant.reset();
        return !report.passed();
    }
    void add(const Mutation::Use& use) {
        const std::string_view file = use.site.where.file_name();
        if (!file.ends_with(file_) || std::string_view{use.site.operation} == "wait") return;
        for (const Mutant& mutant : mutants_)
            if (mutant.site.same_place(use.site)) return;
        Mutant mutant;
        mutant.site = use.site;
        mutant.location = locations_[use.location < locations_.size() ? use.location : locations_.size() - 1];
        mutant.original = mutant.order = use.order;
        for (const std::memory_order order : weaker_orders(use.site.operation, use.order)) {
            mutant.order = order;
            mutants_.push_back(mutant);
        }
        if (drops_ && std::string_view{use.site.operation} != "load") {
            mutant.drops = true;
            mutants_.push_back(mutant);
        }
    }

    std::string file_;
    std::vector<std::string> locations_;
    bool drops_;
    std::vector<Mutant> mutants_;
};

}  // namespace model
