// SPDX-License-Identifier: MIT
#include "support/harness.hpp"

// All of Catch2, where it is version 2: the file that takes longest to compile, and changes least.
#if __has_include(<catch2/catch_session.hpp>)
#  include <catch2/catch_session.hpp>
#else
#  define CATCH_CONFIG_RUNNER
#  include <catch2/catch.hpp>
#endif

int support::run_cases(int argc, char** argv) { return Catch::Session().run(argc, argv); }
