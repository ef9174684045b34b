// expect: plait carries exceptions between threads, processes and coroutines: compile without -fno-exceptions
// flags: -fno-exceptions
// SPDX-License-Identifier: MIT
#include <plait/core/config.hpp>
