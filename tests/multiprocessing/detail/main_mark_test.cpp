// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/detail/main_mark.hpp>

#include "support/catch.hpp"

namespace detail = plait::multiprocessing::detail;

TEST_CASE("the executable's mark is found among all that the executable holds") {
    CHECK(plait::os::find_in_executable(detail::MainMark::words) == &detail::main_mark);
    auto others = detail::MainMark::words;
    others[1] ^= 1;
    CHECK(plait::os::find_in_executable(others) == nullptr);
}

TEST_CASE("a copy of the mark's words is no mark") {
    static detail::MainMark copy = detail::main_mark;
    copy.begin[0] ^= 1;
    CHECK(plait::os::find_in_executable(copy.begin) == nullptr);
    copy.self = &copy;
    CHECK(plait::os::find_in_executable(copy.begin) == &copy);
}

TEST_CASE("main is marked once it has called freeze_support") {
    CHECK(detail::main_is_marked());
    detail::freeze_support_called() = false;
    CHECK_FALSE(detail::main_is_marked());
    detail::mark_main();
    CHECK(detail::main_is_marked());
}
