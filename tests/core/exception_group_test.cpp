// SPDX-License-Identifier: MIT
#include <plait/core/exception_group.hpp>

#include "support/catch.hpp"

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using plait::ExceptionGroup;

namespace {

std::exception_ptr error(const std::string& text) { return std::make_exception_ptr(std::runtime_error(text)); }

}  // namespace

TEST_CASE("an exception group gives its exceptions in order, and tells what they say") {
    const ExceptionGroup group("two downloads failed", {error("no route"), std::make_exception_ptr(7), error("reset")});
    REQUIRE(group.exceptions().size() == 3);
    CHECK_THROWS_WITH(std::rethrow_exception(group.exceptions()[0]), "no route");
    CHECK_THROWS_AS(std::rethrow_exception(group.exceptions()[1]), int);
    CHECK(std::string(group.what()) ==
          "two downloads failed (3 errors: no route; an exception that is no std::exception; reset)");
    CHECK(std::string(ExceptionGroup("one failed", {error("reset")}).what()) == "one failed (1 error: reset)");
    CHECK(std::string(ExceptionGroup("none failed", {}).what()) == "none failed (0 errors)");
}

TEST_CASE("an exception group is an Error") {
    try {
        throw ExceptionGroup("failed", {error("reset")});
    } catch (const plait::Error& caught) {
        CHECK_THAT(caught.what(), ContainsSubstring("reset"));
    }
}

TEST_CASE("the text of an exception group is bounded, however many and however long the texts in it are") {
    const ExceptionGroup group("failed", std::vector<std::exception_ptr>(10'000, error(std::string(100'000, 'x'))));
    CHECK(std::string(group.what()).size() < 2'000);
    CHECK_THAT(group.what(), ContainsSubstring("(10000 errors: xxx") && ContainsSubstring("x...; and 9995 more)"));
    CHECK(group.exceptions().size() == 10'000);
}

TEST_CASE("copies of an exception group share the exceptions") {
    const ExceptionGroup group("failed", {error("reset")});
    const ExceptionGroup copy = group;
    CHECK(copy.exceptions().data() == group.exceptions().data());
}

TEST_CASE("a hundred thousand exception groups in one another are destroyed without recursion") {
    std::exception_ptr all = error("innermost");
    for (int i = 0; i < 100'000; ++i)
        all = std::make_exception_ptr(
            ExceptionGroup("failed", std::vector<std::exception_ptr>{std::exchange(all, nullptr)}));
    CHECK(plait::detail::describe(all).size() < 2'000);
    all = nullptr;
}
