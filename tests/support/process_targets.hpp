// SPDX-License-Identifier: MIT
#pragma once

#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/misbehaviour.hpp"

#include <plait/multiprocessing/start_method.hpp>

#include <fstream>
#include <iterator>
#include <string>

namespace support {

// What a Process of a test runs where it matters little, and what the tests of processes have in common.

inline void do_nothing() {}
inline void run_exit_with(int code) { exit_with(code); }
inline void stand_at(const std::string& gate) { pass_gate(gate); }

/// The test case runs once with each.
inline plait::multiprocessing::StartMethod any_start_method() {
    using plait::multiprocessing::StartMethod;
    return GENERATE(StartMethod::forkserver, StartMethod::spawn, StartMethod::fork);
}

inline std::string contents(const std::string& file) {
    std::ifstream in{file};
    return {std::istreambuf_iterator<char>{in}, {}};
}

}  // namespace support
