// SPDX-License-Identifier: MIT
#include <plait/core/config.hpp>

#include "support/catch.hpp"

TEST_CASE("the version is one number and three") {
    STATIC_REQUIRE(PLAIT_VERSION == 10000 * PLAIT_VERSION_MAJOR + 100 * PLAIT_VERSION_MINOR + PLAIT_VERSION_PATCH);
    STATIC_REQUIRE(PLAIT_VERSION_MINOR < 100);
    STATIC_REQUIRE(PLAIT_VERSION_PATCH < 100);
}

TEST_CASE("telling the processor that one spins does nothing else") {
    plait::detail::relax_processor();
    SUCCEED();
}
