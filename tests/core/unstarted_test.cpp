// SPDX-License-Identifier: MIT
#include <plait/core/generator.hpp>
#include <plait/core/unstarted.hpp>

#include "support/catch.hpp"

#include <string>
#include <utility>
#include <vector>

using plait::Generator;

namespace {

struct Witness {
    Witness(std::vector<int>& list, int n) : log{&list}, number{n} {}
    Witness(Witness&& other) noexcept : log{std::exchange(other.log, nullptr)}, number{other.number} {}
    ~Witness() {
        if (log != nullptr) log->push_back(number);
    }
    std::vector<int>* log;
    int number;
};

Generator<int> around(Generator<int> inner, Witness) { co_yield yield_from(inner); }
Generator<int> innermost() { co_yield 1; }

}  // namespace

TEST_CASE("coroutines that never began and are each other's arguments are all destroyed, however many") {
    for (const int depth : {0, 1, 63, 64, 65, 130, 100'000}) {
        std::vector<int> log;
        {
            auto chain = innermost();
            for (int i = 0; i < depth; ++i) chain = around(std::move(chain), Witness{log, i});
            CHECK(log.empty());
        }
        CHECK(log.size() == static_cast<std::size_t>(depth));
    }
}
