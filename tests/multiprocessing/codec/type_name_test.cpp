// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec/type_name.hpp>

#include "support/catch.hpp"

#include <string>

using plait::multiprocessing::detail::type_name;

namespace {

template <class...>
struct List {};
struct Plain {};

}  // namespace

TEST_CASE("a type's name is how the compiler spells it, brackets and all") {
    CHECK(type_name<int>() == "int");
    CHECK(std::string(type_name<Plain>()).find("Plain") != std::string::npos);
    CHECK(std::string(type_name<List<int[3], void (*)(int)>>()).find("List<int") != std::string::npos);
    CHECK(type_name<List<int[3], List<Plain>>>().back() == '>');
}
