// SPDX-License-Identifier: MIT
#include <plait/core/spin.hpp>

#include "support/catch.hpp"

#include <chrono>

using plait::detail::spin_until;
using plait::detail::spinning_helps;
using plait::detail::yield_until;

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

TEST_CASE("letting others run sees what comes while it lasts, and gives up sooner where it led to nothing") {
    int looks = 0;
    bool come = true;
    const auto third_look = [&] { return ++looks == 3 && come; };
    CHECK(yield_until(third_look));
    CHECK(looks == 3);
    come = false;
    looks = 0;
    CHECK_FALSE(yield_until(third_look));
    const int first = looks;
    looks = 0;
    CHECK_FALSE(yield_until(third_look));
    CHECK(looks < first);
}

TEST_CASE("a spin for a time sees what comes, and ends when the time is over, each time") {
    int looks = 0;
    CHECK(plait::detail::spin_for(std::chrono::hours{1}, [&] { return ++looks == 1; }));
    for (int round = 0; round < 3; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        CHECK_FALSE(plait::detail::spin_for(std::chrono::milliseconds{2}, [] { return false; }));
        if (spinning_helps()) CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds{2});
    }
}
