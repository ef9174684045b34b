// SPDX-License-Identifier: MIT
#pragma once

// Everything: threads, processes, coroutines, and other programs.

#include <plait/asyncio/input_output.hpp>  // which asyncio.hpp includes only where there is POSIX

#include <plait/asyncio.hpp>
#include <plait/multiprocessing.hpp>
#include <plait/subprocess.hpp>
#include <plait/threading.hpp>
