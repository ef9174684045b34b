// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace support {

/// Turns a hang into a failure with a name: a case that takes longer than its deadline ends the whole tree of processes,
/// after `DEADLINE: <case>`, the stack of every thread of this process, and the state of every process under it.
///
/// The deadline is two minutes, twice that under a sanitizer, or PLAIT_TEST_DEADLINE seconds; 0 there is none at all, for
/// work in a debugger. It is a timer, not a thread, so that a test of a single-threaded program has one.
namespace watchdog {

/// Once, before the first case: this process leads a group of its own from here, which is what a deadline ends.
void install();

void start(const std::string& case_name);
void stop();

}  // namespace watchdog
}  // namespace support
