// SPDX-License-Identifier: MIT

// The main of every test program. Children that a test makes from a fresh start of this program begin here too, and
// leave in freeze_support.

#include "support/harness.hpp"

#if !defined(_WIN32) && __has_include(<plait/multiprocessing.hpp>)
#  include <plait/multiprocessing.hpp>

#  include "support/deadline.hpp"

#  include <chrono>
#endif

int main(int argc, char** argv) {
#if !defined(_WIN32) && __has_include(<plait/multiprocessing.hpp>)
    plait::multiprocessing::freeze_support(argc, argv);
#endif
    support::install_harness();
#if !defined(_WIN32) && __has_include(<plait/multiprocessing.hpp>)
    // It would outlive the case that first needed it; it ends when its children have, on a busy machine after a while.
    support::at_end_of_case([] {
        return support::within(std::chrono::seconds{20},
                               [] { return plait::multiprocessing::detail::ForkServer::of_this_program().stop(); });
    });
#endif
    const int failures = support::run_cases(argc, argv);
    return failures != 0 ? failures : support::harness_verdict();
}
