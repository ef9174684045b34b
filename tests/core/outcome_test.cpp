// SPDX-License-Identifier: MIT
#include <plait/core/outcome.hpp>

#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

using plait::Outcome;

namespace {

/// Counts how many of it live; has no default.
struct Counted {
    explicit Counted(int& count) : count_{&count} { ++*count_; }
    Counted(const Counted& other) : count_{other.count_} { ++*count_; }
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --*count_; }

private:
    int* count_;
};

}  // namespace

TEST_CASE("an outcome holds nothing, a value, or an exception") {
    Outcome<int> outcome;
    CHECK(outcome.empty());
    CHECK_THROWS_AS(outcome.value(), plait::UsageError);
    outcome.set_value(7);
    CHECK(outcome.has_value());
    CHECK(outcome.value() == 7);
    CHECK(outcome.exception() == nullptr);
    outcome.set_exception(std::make_exception_ptr(std::runtime_error("broken")));
    CHECK(outcome.has_exception());
    CHECK_THROWS_AS(outcome.value(), std::runtime_error);
}

TEST_CASE("an outcome is made of a call, whatever comes of it") {
    CHECK(Outcome<int>::of([](int x) { return x + 1; }, 6).value() == 7);
    CHECK(Outcome<void>::of([] {}).has_value());
    CHECK(Outcome<int>::of([]() -> int { throw std::runtime_error("broken"); }).has_exception());
    CHECK(Outcome<void>::of([] { throw 42; }).has_exception());
}

TEST_CASE("an outcome holds references, move-only values and values without a default") {
    int place = 1;
    auto reference = Outcome<int&>::of([&]() -> int& { return place; });
    reference.value() = 2;
    CHECK(place == 2);
    auto owner = Outcome<std::unique_ptr<int>>::of([] { return std::make_unique<int>(7); });
    CHECK(*owner.value() == 7);
    CHECK(*std::move(owner).value() == 7);
}

TEST_CASE("an outcome destroys what it held, once") {
    int count = 0;
    {
        auto outcome = Outcome<Counted>::of([&] { return Counted(count); });
        CHECK(count == 1);
        Outcome<Counted> moved = std::move(outcome);
        CHECK(count == 2);
        moved.set_exception(std::make_exception_ptr(1));
        CHECK(count == 1);
        outcome = std::move(moved);
        CHECK(count == 0);
        CHECK(outcome.has_exception());
    }
    CHECK(count == 0);
}

TEST_CASE("a value whose construction throws leaves the exception") {
    struct Thrower {
        Thrower() = default;
        Thrower(const Thrower&) { throw std::runtime_error("no copies"); }
    };
    const Thrower original;
    auto outcome = Outcome<Thrower>::of([&]() -> const Thrower& { return original; });
    CHECK(outcome.has_exception());
}
