// SPDX-License-Identifier: MIT

// The main of every test program. Children that a test makes from a fresh start of this program begin here too, and
// leave in freeze_support.

#include "support/harness.hpp"

#if !defined(_WIN32) && __has_include(<plait/multiprocessing.hpp>)
#  include <plait/multiprocessing.hpp>
#endif

int main(int argc, char** argv) {
#if !defined(_WIN32) && __has_include(<plait/multiprocessing.hpp>)
    plait::multiprocessing::freeze_support(argc, argv);
#endif
    support::install_harness();
    const int failures = support::run_cases(argc, argv);
    return failures != 0 ? failures : support::harness_verdict();
}
