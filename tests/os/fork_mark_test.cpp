// SPDX-License-Identifier: MIT
#include <plait/os/fork_mark.hpp>

#include "support/catch.hpp"
#include "support/forked_child.hpp"

#include <unistd.h>

#include <chrono>
#include <type_traits>

using namespace std::chrono_literals;
using plait::os::ForkMark;
using support::ForkedChild;

static_assert(!std::is_copy_constructible_v<ForkMark> && !std::is_move_constructible_v<ForkMark>);

TEST_CASE("a process is no copy of itself, and its forks and theirs are") {
    const ForkMark mark;
    CHECK_FALSE(mark.is_copy());
    ForkedChild child{[&] {
        if (!mark.is_copy()) return 1;
        ForkedChild grandchild{[&] { return mark.is_copy() ? 0 : 1; }};
        return grandchild.join();
    }};
    CHECK(child.join(30s) == 0);
    CHECK_FALSE(mark.is_copy());
}

TEST_CASE("a mark that is made in a copy is that copy's") {
    const ForkMark outer;
    ForkedChild child{[&] {
        const ForkMark mark;
        if (mark.is_copy() || !outer.is_copy()) return 1;
        ForkedChild grandchild{[&] { return mark.is_copy() && outer.is_copy() ? 0 : 1; }};
        return grandchild.join() == 0 && !mark.is_copy() ? 0 : 2;
    }};
    CHECK(child.join(30s) == 0);
}

TEST_CASE("a mark dies in a copy without harm") {
    ForkedChild child{[] {
        {
            const ForkMark mark;
            ForkedChild grandchild{[&] {
                mark.~ForkMark();
                return 0;
            }};
            if (grandchild.join() != 0 || mark.is_copy()) return 1;
        }
        return 0;
    }};
    CHECK(child.join(30s) == 0);
}
