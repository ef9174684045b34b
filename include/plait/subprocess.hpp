// SPDX-License-Identifier: MIT
#pragma once

// Other programs, run to their end, with the names of Python's subprocess.

#include <plait/subprocess/completed_process.hpp>
#include <plait/subprocess/run.hpp>
