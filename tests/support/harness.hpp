// SPDX-License-Identifier: MIT
#pragma once

namespace support {

/// What surrounds each test case: a deadline (watchdog.hpp) and a leak check (leak_check.hpp). On Linux; elsewhere there
/// is neither.
void install_harness();

/// Has `function` called at the end of each case, before the leak check: what a library keeps for the next case goes.
/// Where it returns false that is a leak, too.
void at_end_of_case(bool (*function)());

/// Runs the cases that the command line asks for; returns the exit status that their assertions ask for.
int run_cases(int argc, char** argv);

/// The exit status that the leak checks of all cases ask for: 0 if none found anything.
[[nodiscard]] int harness_verdict();

}  // namespace support
