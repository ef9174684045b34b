// SPDX-License-Identifier: MIT
#include <plait/core/function.hpp>

#include "support/catch.hpp"

#include <array>
#include <memory>
#include <stdexcept>
#include <utility>

using plait::detail::MoveOnlyFunction;

TEST_CASE("a function owns a callable, small or large, move-only too") {
    MoveOnlyFunction<int(int)> small = [](int x) { return x + 1; };
    CHECK(small(1) == 2);
    const std::array<int, 100> many{7};
    MoveOnlyFunction<int()> large = [many] { return many[0]; };
    CHECK(large() == 7);
    MoveOnlyFunction<int()> owner = [p = std::make_unique<int>(7)] { return *p; };
    CHECK(owner() == 7);
}

TEST_CASE("an empty function says so, and a moved-from one is empty") {
    MoveOnlyFunction<void()> empty;
    CHECK_FALSE(empty);
    CHECK_FALSE(MoveOnlyFunction<void()>(nullptr));
    MoveOnlyFunction<int()> full = [] { return 1; };
    MoveOnlyFunction<int()> taken = std::move(full);
    CHECK_FALSE(full);
    CHECK(taken() == 1);
}

TEST_CASE("a function destroys its callable once, also when it is assigned to") {
    const auto witness = std::make_shared<int>(0);
    const std::array<int, 100> padding{};
    {
        MoveOnlyFunction<void()> f = [witness] {};
        MoveOnlyFunction<void()> g = [witness, padding] { static_cast<void>(padding); };
        CHECK(witness.use_count() == 3);
        f = std::move(g);
        CHECK(witness.use_count() == 2);
        f = nullptr;
        CHECK(witness.use_count() == 1);
        f = [witness] {};
    }
    CHECK(witness.use_count() == 1);
}

TEST_CASE("arguments are passed on, and what the callable throws comes out") {
    MoveOnlyFunction<int(std::unique_ptr<int>)> take = [](std::unique_ptr<int> p) { return *p; };
    CHECK(take(std::make_unique<int>(5)) == 5);
    MoveOnlyFunction<void()> thrower = [] { throw std::runtime_error("broken"); };
    CHECK_THROWS_AS(thrower(), std::runtime_error);
    MoveOnlyFunction<void()> drops = [] { return 7; };
    drops();
}
