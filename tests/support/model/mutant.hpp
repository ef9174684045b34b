// SPDX-License-Identifier: MIT
#pragma once

#include "support/model/memory.hpp"

#include <atomic>
#include <cstring>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace model {

/// Where in the source an operation is called.
struct Site {
    std::source_location where;
    const char* operation = "";

    [[nodiscard]] bool same_place(const Site& other) const noexcept {
        return where.line() == other.where.line() && where.column() == other.where.column() &&
               std::strcmp(operation, other.operation) == 0 &&
               std::strcmp(where.file_name(), other.where.file_name()) == 0;
    }
    /// `take: exchange, line 77`
    [[nodiscard]] std::string name() const {
        return function() + ": " + operation + ", line " + std::to_string(where.line());
    }
    /// The function's bare name.
    [[nodiscard]] std::string function() const {
        std::string_view name = where.function_name();
        name = name.substr(0, name.find('('));
        const auto start = name.find_last_of(" :*&~");
        return std::string{start == std::string_view::npos ? name : name.substr(start + 1)};
    }
};

/// One operation made weaker by one step or more, or left out.
struct Mutant {
    Site site;
    std::string location;
    std::memory_order original;
    std::memory_order order;
    bool drops = false;

    /// `take: end_.exchange seq_cst -> acq_rel`
    [[nodiscard]] std::string name() const {
        return site.function() + ": " + location + '.' + site.operation + ' ' + name_of(original) + " -> " +
               (drops ? "nothing" : name_of(order));
    }
};

/// What is changed in the program that is searched, and, while `collecting`, what could be.
class Mutation {
public:
    struct Use {
        Site site;
        std::size_t location;
        std::memory_order order;
    };

    static Mutation& current() noexcept {
        static Mutation mutation;
        return mutation;
    }

    void add(const Site& site, std::size_t location, std::memory_order order) {
        for (const Use& use : uses)
            if (use.site.same_place(site)) return;
        uses.push_back({site, location, order});
    }

    std::optional<Mutant> mutant;
    bool collecting = false;
    std::vector<Use> uses;
};

/// The orders weaker than `order` that an operation of this name can have, the weakest first.
inline std::vector<std::memory_order> weaker_orders(std::string_view operation, std::memory_order order) {
    using enum std::memory_order;
    const bool reads = operation != "store";
    const bool writes = operation != "load";
    std::vector<std::memory_order> orders;
    if (order != relaxed) orders.push_back(relaxed);
    if ((order == seq_cst || order == acq_rel) && reads) orders.push_back(acquire);
    if ((order == seq_cst || order == acq_rel) && writes) orders.push_back(release);
    if (order == seq_cst && reads && writes) orders.push_back(acq_rel);
    return orders;
}

}  // namespace model
