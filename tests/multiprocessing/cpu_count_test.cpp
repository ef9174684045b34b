// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/cpu_count.hpp>

#include "support/catch.hpp"
#include "support/disturbance.hpp"

#include <plait/os/process.hpp>

#include <sched.h>

TEST_CASE("the processors that are counted are those that this program may use") {
    CHECK(plait::multiprocessing::cpu_count() >= 1);
    if (!plait::os::children_die_with_parent) return;  // nobody tells of them in the portable way
    CHECK(support::in_a_child([] {
              cpu_set_t one;
              CPU_ZERO(&one);
              CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
              if (::sched_setaffinity(0, sizeof one, &one) != 0) return 1;
              return plait::multiprocessing::cpu_count() == 1 ? 0 : 2;
          }) == 0);
}
