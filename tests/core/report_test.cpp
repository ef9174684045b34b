// SPDX-License-Identifier: MIT
#include <plait/core/report.hpp>

#include "support/catch.hpp"

#include <exception>
#include <stdexcept>
#include <string>

using plait::set_unraisable_hook;
using plait::detail::describe;
using plait::detail::report_unraisable;

namespace {

std::string told;

void remember(const std::string& where, std::exception_ptr exception) { told = where + ": " + describe(exception); }
void fail(const std::string&, std::exception_ptr) { throw std::runtime_error("the hook fails"); }

}  // namespace

TEST_CASE("any exception is described without knowing its type") {
    CHECK(describe(std::make_exception_ptr(std::runtime_error("broken"))) == "broken");
    CHECK(describe(std::make_exception_ptr(plait::CancelledError("enough"))) == "enough");
    CHECK(describe(std::make_exception_ptr(std::string("text"))) == "text");
    CHECK(describe(std::make_exception_ptr(42)) == "an exception that is no std::exception");
    CHECK(describe(nullptr) == "no exception");
    CHECK(describe(std::make_exception_ptr(static_cast<const char*>(nullptr))).empty());
}

TEST_CASE("an exception that says nothing is described by nothing") {
    struct Silent : std::exception {
        const char* what() const noexcept override { return nullptr; }
    };
    CHECK(describe(std::make_exception_ptr(Silent())).empty());
}

TEST_CASE("the hook is told where and what, and setting it gives back the one before") {
    const auto before = set_unraisable_hook(&remember);
    report_unraisable("here", std::make_exception_ptr(std::runtime_error("broken")));
    CHECK(told == "here: broken");
    CHECK(set_unraisable_hook(nullptr) == &remember);
    CHECK(set_unraisable_hook(before) == before);
}

TEST_CASE("a hook that throws harms nobody") {
    const auto before = set_unraisable_hook(&fail);
    report_unraisable("here", nullptr);
    set_unraisable_hook(before);
    SUCCEED();
}
