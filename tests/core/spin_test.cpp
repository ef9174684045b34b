// SPDX-License-Identifier: MIT
#include <plait/core/spin.hpp>

#include "support/catch.hpp"

using plait::detail::spin_until;
using plait::detail::spinning_helps;

TEST_CASE("a spin sees what comes while it lasts") {
    int looks = 0;
    CHECK(spin_until([&] { return ++looks == 3; }) == spinning_helps());
    CHECK(looks == (spinning_helps() ? 3 : 0));
}

TEST_CASE("a spin ends, and where it led to nothing the next is shorter") {
    int looks = 0;
    const auto never = [&] {
        ++looks;
        return false;
    };
    CHECK_FALSE(spin_until(never));
    const int first = looks;
    looks = 0;
    CHECK_FALSE(spin_until(never));
    CHECK(looks < first + (spinning_helps() ? 0 : 1));
}
