// SPDX-License-Identifier: MIT
#include <plait/os/exception_type.hpp>

#include "support/catch.hpp"

#include <exception>
#include <stdexcept>
#include <string>

using plait::os::current_exception_type;
using plait::os::readable_type;

namespace {

struct Derived : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class T>
std::string thrown(const T& value) {
    try {
        throw value;
    } catch (...) {
        return readable_type(current_exception_type());
    }
}

}  // namespace

TEST_CASE("an exception's exact type is known where it is caught, whatever it is") {
    CHECK(thrown(std::runtime_error("")) == "std::runtime_error");
    CHECK(thrown(42) == "int");
    CHECK_THAT(thrown(Derived("")), Catch::Matchers::ContainsSubstring("Derived"));
    CHECK(current_exception_type() == nullptr);
}

TEST_CASE("an exception that others are nested in has the name that the program gave it") {
    try {
        std::throw_with_nested(std::runtime_error(""));
    } catch (...) {
        CHECK(readable_type(current_exception_type()) == "std::runtime_error");
    }
}

TEST_CASE("what is no mangled name is given as it is") {
    CHECK(readable_type(nullptr) == "an unknown type");
    CHECK(readable_type("!?") == "!?");
}
